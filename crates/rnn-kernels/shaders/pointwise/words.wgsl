// Copies between arrays of the same 32-bit elements, whatever they are. Defines: From, To.

alias From = u32;
alias To = u32;
