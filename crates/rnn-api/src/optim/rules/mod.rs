//! The update rules, one file each. All exports of this module are also exported from [`optim`](crate::optim)
//! and from the prelude.

mod adadelta;
mod adagrad;
mod adam;
mod lion;
mod nadam;
mod rmsprop;
mod sgd;

pub use adadelta::{AdaDelta, AdaDeltaConfig, AdaDeltaRule};
pub use adagrad::{AdaGrad, AdaGradConfig, AdaGradRule};
pub use adam::{Adam, AdamConfig, AdamRule, AdamW, AdamWConfig};
pub use lion::{Lion, LionConfig, LionRule};
pub use nadam::{Nadam, NadamConfig, NadamRule};
pub use rmsprop::{RmsProp, RmsPropConfig, RmsPropRule};
pub use sgd::{Sgd, SgdConfig, SgdRule};
