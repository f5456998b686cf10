//! What runs in real time on the CPU: parts of a network that take memory at construction only. They check nothing;
//! `rnn-api` makes safe objects of them. [`live_stack`](crate::ops::rnn::live_stack) makes a [`LiveStack`] of packed weights.

pub use rnn_cpu::FlushSubnormals;
pub use rnn_cpu::live::{LiveDense, LiveStack, activate_in_place, softmax_in_place, unary_in_place};
