//! [`AnyRnnConfig`]: the configuration of a layer whose cell is chosen while the program runs.

use super::{GruConfig, LstmConfig, MguConfig, Parts, RnnConfig};

/// Settings of an [`AnyRnn`](crate::nn::AnyRnn), made from those of a certain layer.
#[derive(Clone, Debug)]
pub struct AnyRnnConfig(Parts);

impl AnyRnnConfig {
    pub(crate) fn build(&self) -> Parts {
        self.0.clone()
    }
}

macro_rules! from_config {
    ($($config:ident),*) => {
        $(impl From<$config> for AnyRnnConfig {
            fn from(config: $config) -> Self {
                AnyRnnConfig(config.build())
            }
        })*
    };
}
from_config!(LstmConfig, GruConfig, MguConfig, RnnConfig);
