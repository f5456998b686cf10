// The arrays of a layer in memory: values of every step in f32.
// Defines: Stored, Stored4.

alias Stored = f32;
alias Stored4 = vec4<f32>;
