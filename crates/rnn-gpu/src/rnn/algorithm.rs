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
    /// As many steps per dispatch as fit in 20 ms, by workgroups that share the units and wait for each other's values. The
    /// planner chooses it on discrete GPUs, unless `GpuOptions::persistent` is off. The weights must fit in the
    /// registers of workgroups that all run at the same time, and the estimate must be better.
    ///
    /// Workgroups give up after they have waited for 0.1 s. The device then repeats the recurrence without the host, by
    /// workgroups that each hold all units of some rows. After the host has read this, recurrences run one dispatch per step.
    ///
    /// What cannot be persistent runs one dispatch per step: steps of several phases, ragged rows, inference in pieces,
    /// stacks with a wavefront lag, and layers too large for one workgroup per core.
    Persistent,
}

impl Algorithm {
    /// The algorithm for recurrences that cannot be persistent.
    pub(super) fn without_waiting(self) -> Algorithm {
        match self {
            Algorithm::Persistent => Algorithm::Step,
            other => other,
        }
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "step" => Ok(Algorithm::Step),
            "sequence" => Ok(Algorithm::Sequence),
            "persistent" => Ok(Algorithm::Persistent),
            other => Err(Error::Value {
                op: "Device::gpu",
                arg: "RNN_GPU_ALGO",
                expected: "step, sequence or persistent".into(),
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
            Algorithm::Persistent => "persistent",
        })
    }
}
