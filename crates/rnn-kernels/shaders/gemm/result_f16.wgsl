// The result of a product rounded to f16. Defines: Result, Result4.

alias Result = f16;
alias Result4 = vec4<f16>;
