//! What the report on a GPU is made of: sections that run one by one, a folder for what they find, charts. The sections
//! are in `examples/gpu_report/`.

pub mod chart;
pub mod child;
pub mod folder;
pub mod runner;
