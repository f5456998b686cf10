// The arrays of a layer in memory: values of every step in f16, which halves the bytes to move. The arithmetic stays
// f32. Needs the extension f16, because the two values of a word belong to different invocations.
// Defines: Stored, Stored4.

alias Stored = f16;
alias Stored4 = vec4<f16>;
