//! Optimizers: one configuration and one driver, generic over the update rule, and a small file per rule.
//! Further tools for training loops: learning-rate schedules, an [`LrRangeTest`], gradient accumulation,
//! moving averages of weights.

mod accumulate;
mod check;
mod config;
mod driver;
mod ema;
mod group;
mod ledger;
mod loss_scale;
mod optimizer;
mod plateau;
mod range_plot;
mod range_test;
mod restore;
mod rule;
pub(crate) mod rules;
mod schedule;
mod slot;
mod state;

pub use accumulate::GradAccumulator;
pub(crate) use check::{MAX_COUNT, count_problem};
pub use config::OptimConfig;
pub use driver::Optim;
pub use ema::{Ema, EmaConfig, EmaState};
pub use group::{ParamGroup, ParamRole};
pub use loss_scale::{LossScale, LossScaleState};
pub use optimizer::Optimizer;
pub use plateau::{Goal, ReduceOnPlateau};
pub use range_test::{LrRange, LrRangeTest, LrTrial};
pub use rules::*;
pub use schedule::{OneCycle, Schedule};
pub use state::OptimizerState;
pub(crate) use state::{move_arrays, state_problem};
