// Copies from f16 to f32, which is exact. Defines: From, To.

alias From = f16;
alias To = f32;
