//! The facts about an adapter's speed and where they come from.

use crate::adapter::DeviceKind;
use std::fmt;
use std::sync::OnceLock;

/// How fast an adapter is. The planner estimates times from these numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Workgroups that run side by side without slowing each other down.
    pub cores: usize,
    /// Invocations of a workgroup that keep a core busy.
    pub lanes: usize,
    /// Fused multiply-adds per second and core, in a product with eight rows.
    pub fma: f64,
    /// Bytes per second that all cores together read from an array of 2 MiB, the size of a large layer's weights.
    pub memory: f64,
    /// Seconds of a barrier, in a workgroup of 64 and in one of 256 invocations.
    pub barrier: [f64; 2],
    /// Seconds of a small dispatch that depends on the one before.
    pub dispatch: f64,
}

/// Where a [`Speed`] comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpeedSource {
    /// Constants for this kind of adapter, with the reason why no measurement counts.
    Constants(&'static str),
    /// Measured by this device on this day, as YYYY-MM-DD.
    Measured(String),
    /// Measured earlier on this day; read from the cache directory.
    Kept(String),
}

/// A [`Speed`] and its source, as `Device::explain` prints them.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeedReport {
    /// The numbers.
    pub speed: Speed,
    /// Where they come from.
    pub source: SpeedSource,
}

/// Threads that the system gives this process, asked once: the answer takes files of the system.
pub(super) fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

impl Speed {
    /// Rough numbers for adapters of this kind.
    pub(crate) fn assumed(kind: DeviceKind) -> Self {
        // Memory: what weights of a usual size are read at, which is the rate of a cache.
        let (cores, lanes, fma, memory, barrier, dispatch) = match kind {
            DeviceKind::Discrete | DeviceKind::Virtual => (64, 512, 5e10, 3.2e12, [2e-8, 4e-8], 4e-6),
            DeviceKind::Integrated | DeviceKind::Other => (16, 256, 1e10, 1.6e11, [5e-8, 1e-7], 10e-6),
            // One invocation per vector lane is enough for a CPU; without shuffles it gets workgroups like
            // any other adapter.
            DeviceKind::Software => {
                let cores = threads();
                (cores, 256, 1e10, cores as f64 * 1e10, [2e-7, 8e-7], 40e-6)
            }
        };
        Speed { cores, lanes, fma, memory, barrier, dispatch }
    }

    /// Seconds of a barrier in a workgroup of any size.
    pub(crate) fn barrier_of(&self, workgroup: usize) -> f64 {
        let [small, usual] = self.barrier;
        let more = (workgroup as f64 - 64.0) / (256.0 - 64.0);
        (small + (usual - small) * more).max(small / 8.0)
    }

    /// The numbers rounded to powers of the square root of two. Repeated measurements of an adapter differ by a
    /// few percent. Rounded they are mostly equal, and so are the plans that follow from them.
    pub(crate) fn rounded(self) -> Self {
        let round = |x: f64| ((2.0 * x.log2()).round() / 2.0).exp2();
        Speed {
            cores: round(self.cores as f64).round() as usize,
            lanes: self.lanes,
            fma: round(self.fma),
            memory: round(self.memory),
            barrier: self.barrier.map(round),
            dispatch: round(self.dispatch),
        }
    }

    /// Workgroups that surely run side by side: rounding raised the measured number by the fourth root of two at most.
    pub(crate) fn sure_cores(&self) -> usize {
        (self.cores as f64 * (-0.25f64).exp2()) as usize
    }

    /// Whether an adapter can be like that: the slowest software and GPUs of the next decade are.
    pub(super) fn is_plausible(&self) -> bool {
        (1..=4096).contains(&self.cores)
            && (1..=1024).contains(&self.lanes)
            && (1e7..=1e14).contains(&self.fma)
            && (1e7..=1e15).contains(&self.memory)
            && self.barrier.iter().all(|seconds| (1e-10..=1e-2).contains(seconds))
            && (1e-8..=1e-2).contains(&self.dispatch)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} workgroups side by side, {} invocations keep one busy, {:.3e} multiply-adds/s each; \
             memory {:.3e} bytes/s; barrier {:.3} to {:.3} us; dispatch {:.3} us",
            self.cores,
            self.lanes,
            self.fma,
            self.memory,
            self.barrier[0] * 1e6,
            self.barrier[1] * 1e6,
            self.dispatch * 1e6
        )
    }
}

impl fmt::Display for SpeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpeedSource::Constants(reason) => write!(f, "constants for this kind of adapter: {reason}"),
            SpeedSource::Measured(day) => write!(f, "measured on {day}"),
            SpeedSource::Kept(day) => write!(f, "measured on {day} and kept in the cache directory"),
        }
    }
}

impl fmt::Display for SpeedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.speed, self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_that_differ_by_a_few_percent_round_to_the_same() {
        let speed = Speed {
            cores: 132,
            lanes: 256,
            fma: 2.0e11,
            memory: 4.4e12,
            barrier: [3e-8, 6e-8],
            dispatch: 1.9e-6,
        };
        let rounded = speed.rounded();
        assert_eq!(rounded.cores, 128);
        for factor in [0.95, 1.04] {
            let noisy = Speed {
                fma: speed.fma * factor,
                memory: speed.memory * factor,
                barrier: speed.barrier.map(|seconds| seconds * factor),
                dispatch: speed.dispatch * factor,
                ..speed
            };
            assert_eq!(noisy.rounded(), rounded, "{factor}");
        }
        assert_eq!(rounded.rounded(), rounded, "rounding twice changes nothing");
        for (got, of) in [(rounded.fma, speed.fma), (rounded.dispatch, speed.dispatch)] {
            assert!((got / of).log2().abs() <= 0.25 + 1e-9, "{got} for {of}");
        }
        for cores in [1, 2, 3, 4] {
            assert_eq!(Speed { cores, ..speed }.rounded().cores, cores);
        }
    }

    #[test]
    fn no_adapter_has_no_cores_or_rates_that_are_no_numbers() {
        let speed = Speed::assumed(DeviceKind::Discrete);
        for kind in [DeviceKind::Discrete, DeviceKind::Integrated, DeviceKind::Software] {
            assert!(Speed::assumed(kind).is_plausible(), "{kind:?}");
        }
        for bad in [
            Speed { cores: 0, ..speed },
            Speed { lanes: 2048, ..speed },
            Speed { fma: f64::NAN, ..speed },
            Speed { memory: f64::INFINITY, ..speed },
            Speed { barrier: [1e-7, -1e-7], ..speed },
            Speed { dispatch: 0.0, ..speed },
        ] {
            assert!(!bad.is_plausible(), "{bad}");
        }
    }
}
