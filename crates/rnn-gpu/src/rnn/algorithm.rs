//! The algorithms of a recurrence and their names in options and the environment.

use rnn_base::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// How the time steps of a recurrence are spread over dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// One dispatch per time step.
    Step,
    /// As many steps per dispatch as fit in 20 ms.
    Sequence,
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "step" => Ok(Algorithm::Step),
            "sequence" => Ok(Algorithm::Sequence),
            other => Err(Error::Value {
                op: "Device::gpu",
                arg: "RNN_GPU_ALGO",
                expected: "step or sequence".into(),
                got: other.into(),
            }),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Step => "step",
            Algorithm::Sequence => "sequence",
        })
    }
}
