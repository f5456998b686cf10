// Copies between arrays of 32-bit elements of the same type. Defines: From, To.

alias From = u32;
alias To = u32;
