// How the arrays of a layer lie in memory: values of every step in f16, half the bytes to move. The arithmetic stays
// f32. Needs the extension f16, because neighbours of a value in one word belong to other invocations.
// Defines: Stored, Stored4.

alias Stored = f16;
alias Stored4 = vec4<f16>;
