//! Reads a pickle as data (Python's `pickletools`, protocols 0 to 5). Nothing is executed: a class is a name with its
//! contents, and of all functions only those that torch.save calls to rebuild tensors have a meaning here.

mod arena;
mod call;
mod machine;

pub(super) use arena::{Arena, Id, Object, TensorData, Value};
pub(super) use machine::read;
