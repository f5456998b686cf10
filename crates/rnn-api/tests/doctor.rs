//! The doctor: what it measures against closed forms and naive sums, every rule on a network built to be sick in that way,
//! and healthy runs, which raise nothing.

#[path = "doctor/healthy.rs"]
mod healthy;
#[path = "doctor/measures.rs"]
mod measures;
#[path = "doctor/sick.rs"]
mod sick;
#[path = "doctor/task.rs"]
mod task;
