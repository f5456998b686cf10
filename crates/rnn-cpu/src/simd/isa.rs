//! The instruction sets, and which one this machine uses.

use std::sync::OnceLock;

/// An instruction set the kernels are compiled for, and that this machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(super) Set);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// What every machine of the architecture has: SSE2 on x86-64, else vectors of plain Rust.
    Baseline,
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Isa {
    /// The one with vectors of half the length, if there is one with the same bits.
    pub(crate) fn halved(self) -> Option<Isa> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Some(Isa(Set::Avx2)),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Baseline if cfg!(target_arch = "x86_64") => "sse2",
            Set::Baseline => "scalar",
        }
    }

    /// Everything this machine can run, best first.
    pub fn available() -> Vec<Isa> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                sets.push(Set::Avx512);
            }
            if avx2 {
                sets.push(Set::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Set::Neon);
        sets.push(Set::Baseline);
        sets.into_iter().map(Isa).collect()
    }
}

/// The instruction set in use: the best one, or the one `RNN_SIMD` names.
pub(crate) fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let sets = Isa::available();
        let Ok(wanted) = std::env::var("RNN_SIMD") else { return sets[0] };
        match sets.iter().find(|isa| isa.name() == wanted) {
            Some(isa) => *isa,
            None => {
                tracing::warn!(%wanted, using = sets[0].name(), "RNN_SIMD is not available here");
                sets[0]
            }
        }
    })
}
