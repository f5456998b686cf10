//! Why a network does or does not learn: [`GradientFlow`] by time step, [`GateStatistics`], [`MemoryHorizon`], and the
//! [`Finding`]s that rules draw from them.
//!
//! Every result is plain data that can be serialised. Nothing here costs anything while it is not asked for.

mod finding;
mod flow;
mod gates;
mod memory;

pub use finding::{Finding, Rule, Severity};
pub use flow::{GradientFlow, LayerFlow, SkippedLayer};
pub use gates::{GateStatistics, GateSummary, LayerGates, UnitSummary};
pub use memory::MemoryHorizon;
