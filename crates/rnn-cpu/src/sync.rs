//! What the barrier and the hand-over of jobs take from the standard library. The model check in `tests/loom.rs` compiles
//! both files with loom's counterparts in place of these.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::thread::{Thread, park, yield_now};

/// Turns of a waiting thread before it gives its core away: a helper parks, a member of a barrier yields. Some 20 to 100
/// microseconds, longer than the gap between two ops of a training step and than the imbalance of a step. Pure spinning
/// would stall a machine that is busy with something else.
pub(crate) const SPINS: usize = 4_000;
