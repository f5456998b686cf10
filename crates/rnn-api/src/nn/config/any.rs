//! [`AnyRnnConfig`]: the configuration of a layer whose cell is chosen at run time.

use crate::nn::config::common::{CellOptions, RecurrentCell, RecurrentConfig, sealed};
use crate::nn::config::parts::Parts;
use crate::nn::state::AnyRnnState;

/// Settings of an [`AnyRnn`](crate::nn::AnyRnn), converted from those of a specific layer.
#[derive(Clone, Debug)]
pub struct AnyRnnConfig(Parts);

impl AnyRnnConfig {
    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

impl<C: CellOptions> From<RecurrentConfig<C>> for AnyRnnConfig {
    fn from(config: RecurrentConfig<C>) -> Self {
        AnyRnnConfig(config.parts())
    }
}

/// A cell chosen at run time.
#[derive(Clone, Copy, Debug)]
pub enum AnyCell {}

impl sealed::Sealed for AnyCell {}

impl RecurrentCell for AnyCell {
    type State = AnyRnnState;
    const LAYER: &'static str = "AnyRnn";
}
