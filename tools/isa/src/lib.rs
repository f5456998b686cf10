//! What real GPU compilers make of the kernels: registers, spills, scratch and workgroup memory, occupancy,
//! instructions and static latency.
//!
//! `kernels` takes the kernels of every case of `benches/grid.json` from the planner, `spirv` compiles them as wgpu does,
//! `vulkan` opens a device without wgpu, `pipeline` creates pipelines and reads what the driver says of them, and
//! `statistics` finds the common figures under each driver's names. `report` measures a list of kernels and prints it,
//! and `budget` compares it with the table in `budget/`.
//!
//! The devices that `family` names do not exist: Mesa's radeon driver then compiles for a GPU that is not there. wgpu
//! refuses such a device, because it has no queue that runs anything, and therefore this tool uses `ash`.

pub mod budget;
pub mod family;
pub mod kernels;
mod pipeline;
pub mod report;
mod spirv;
mod statistics;
mod vulkan;

pub use statistics::Figures;
pub use vulkan::Gpu;
