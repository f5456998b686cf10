//! The common figures of a kernel, under the names that drivers give them.

use serde::Serialize;
use std::collections::BTreeMap;

/// What a driver says of one kernel. A figure that it does not report is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Registers per lane: VGPRs of AMD, 32-bit registers of NVIDIA.
    pub registers: Option<u64>,
    /// Values kept elsewhere for lack of registers; a driver may count writes and reads.
    pub spills: Option<u64>,
    /// Bytes of global memory that do the work of registers: of a lane, or with Mesa's radeon driver of a subgroup.
    pub scratch: Option<u64>,
    /// Bytes of workgroup memory.
    pub workgroup: Option<u64>,
    /// Subgroups that a unit of the hardware holds at a time: of a SIMD on AMD, of an SM on NVIDIA.
    pub waves: Option<u64>,
    /// Static number of instructions.
    pub instructions: Option<u64>,
    /// The compiler's estimate of cycles, loops counted once or by guess: it compares variants of a kernel only.
    pub latency: Option<u64>,
    /// Bytes of machine code.
    pub code: Option<u64>,
    /// Lanes of a subgroup.
    pub subgroup: u32,
    /// Everything that the driver reports, by its names.
    pub all: BTreeMap<String, f64>,
}

// Names of Mesa's radeon driver, then of NVK and other Mesa drivers, then of NVIDIA's and AMD's own.
const REGISTERS: &[&str] = &["VGPRs", "Number of GPRs", "GPRs", "Register Count", "Max live registers"];
const SPILLS: &[&str] =
    &["Spilled VGPRs", "Spilled SGPRs", "Spills to memory", "Spills to reg", "Spill Count", "Spills"];
const SCRATCH: &[&str] = &[
    "Scratch size",
    "SLM Size",
    "SLM size",
    "Scratch Memory Size",
    "Scratch",
    "Local Memory Size",
    "Stack Size",
];
const WORKGROUP: &[&str] =
    &["LDS size", "Shared memory size", "Workgroup Memory Size", "Shared Memory Size", "SMEM Size"];
const WAVES: &[&str] = &["Subgroups per SIMD", "Max warps/SM", "Max Waves"];
const INSTRUCTIONS: &[&str] = &["Instructions", "Instruction count", "Instruction Count", "Instrs"];
const LATENCY: &[&str] = &["Latency", "Static cycle count", "Cycle Count", "Cycle count"];
const CODE: &[&str] = &["Code size", "Code Size", "Binary Size"];

impl Figures {
    /// From the statistics of a driver.
    pub fn new(all: BTreeMap<String, f64>, subgroup: u32) -> Self {
        let first =
            |names: &[&str]| names.iter().find_map(|name| all.get(*name)).map(|&value| value.max(0.0) as u64);
        let spilled: Vec<u64> =
            SPILLS.iter().filter_map(|name| all.get(*name)).map(|&value| value.max(0.0) as u64).collect();
        Figures {
            registers: first(REGISTERS),
            spills: (!spilled.is_empty()).then(|| spilled.iter().sum()),
            // NVIDIA's driver writes 32 of the 64 bits.
            scratch: first(SCRATCH).map(|bytes| bytes & 0xffff_ffff),
            workgroup: first(WORKGROUP),
            waves: first(WAVES),
            instructions: first(INSTRUCTIONS),
            latency: first(LATENCY),
            code: first(CODE),
            subgroup,
            all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(all: &[(&str, f64)]) -> Figures {
        Figures::new(all.iter().map(|&(name, value)| (name.to_string(), value)).collect(), 32)
    }

    #[test]
    fn spills_of_every_kind_count_and_an_absent_figure_is_not_zero() {
        let radeon = figures(&[("VGPRs", 48.0), ("Spilled VGPRs", 2.0), ("Spilled SGPRs", 3.0)]);
        assert_eq!([radeon.registers, radeon.spills, radeon.scratch], [Some(48), Some(5), None]);
        let silent = figures(&[("Binary Size", 640.0)]);
        assert_eq!([silent.registers, silent.spills, silent.code], [None, None, Some(640)]);
    }
}
