//! Why a network does or does not learn: [`GradientFlow`] by time step, [`GateStatistics`], [`MemoryHorizon`], and the
//! [`Doctor`], whose rules draw [`Finding`]s from them and from the course of the run.
//!
//! Every result is plain data that can be serialised. Nothing here costs anything while it is not asked for.

mod examine;
mod finding;
mod flow;
mod gates;
mod history;
mod memory;
mod rules;
mod symptoms;

pub use examine::Doctor;
pub use finding::{Finding, Rule, Severity};
pub use flow::{GradientFlow, LayerFlow, SkippedLayer};
pub use gates::{GateStatistics, GateSummary, LayerGates, UnitSummary};
pub use history::{History, Part, Scored};
pub use memory::MemoryHorizon;
pub use symptoms::{LabelCounts, LayerSeen, Symptoms};
