// The result of a product in f32. Defines: Result, Result4.

alias Result = f32;
alias Result4 = vec4<f32>;
