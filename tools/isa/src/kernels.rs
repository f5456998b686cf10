//! The kernels of the grid, as the planner plans them for one adapter.

use anyhow::{Context, Result, bail};
use rnn_gpu::rnn::{AdapterFacts, PlannedKernel, Role, layer_kernels, persistent_kernels};
use rnn_kernels::Kernel;
use rnn_kernels::cell::{CellSpec, StackSpec};
use serde::Deserialize;
use std::fmt;

/// The grid of the benches.
pub const GRID: &str = include_str!("../../../benches/grid.json");

/// One recurrent layer and the size of its input, as grid files have them.
#[derive(Clone, Debug, Deserialize)]
#[allow(non_snake_case, reason = "the letters of docs/notation.md, as grid files have them")]
struct Case {
    name: String,
    cell: String,
    T: usize,
    B: usize,
    I: usize,
    H: usize,
}

/// One use of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Use {
    /// The case of the grid.
    pub case: String,
    /// What the kernel does; the products of a layer that share a role are numbered.
    pub role: String,
    /// `f32` or `f16`.
    pub storage: &'static str,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.case, self.role, self.storage)
    }
}

/// A kernel with its constants, and every use of it in the grid.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The kernel in the catalogue.
    pub kernel: &'static Kernel,
    /// Values for [`Kernel::source`] and [`Kernel::overrides`].
    pub constants: Vec<(&'static str, f64)>,
    /// At least one.
    pub uses: Vec<Use>,
}

impl Listed {
    /// The constants that a plan chooses, in short: `r8 w256 s16 training`.
    pub fn plan(&self) -> String {
        let value = |name: &str| self.constants.iter().find(|(n, _)| *n == name).map(|&(_, value)| value);
        let mut words = Vec::new();
        for (name, letter) in [("ROWS", "r"), ("WORKGROUP", "w"), ("SPLIT", "s")] {
            words.extend(value(name).map(|value| format!("{letter}{value}")));
        }
        for (name, [no, yes]) in [
            ("TRAINING", ["inference", "training"]),
            ("A_ALONG_K", ["a across k", "a along k"]),
            ("B_ALONG_K", ["b across k", "b along k"]),
        ] {
            words.extend(value(name).map(|value| if value == 0.0 { no } else { yes }.to_string()));
        }
        words.join(" ")
    }
}

/// A role's name in tables.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Inference => "inference",
        Role::Forward => "forward",
        Role::Persistent => "persistent",
        Role::PersistentBackward => "persistent back",
        Role::Backward => "backward",
        Role::InputProduct => "input-product",
        Role::InputGradient => "input-gradient",
        Role::WeightGradient => "weight-gradient",
    }
}

/// The kernels of every case of the grid, inference, forward and backward, in f32 and in f16 where the adapter has it.
/// Kernels with the same constants are listed once.
///
/// # Errors
/// A grid that is not one, with the case at fault.
pub fn grid_kernels(adapter: &AdapterFacts, half: bool, grid: &str) -> Result<Vec<Listed>> {
    let cases: Vec<Case> = serde_json::from_str(grid).context("the grid")?;
    let mut all: Vec<Listed> = Vec::new();
    for case in &cases {
        let cell = match case.cell.as_str() {
            "lstm" => CellSpec::lstm(),
            "gru" => CellSpec::gru(),
            "rnn" => CellSpec::rnn_tanh(),
            other => bail!("case {}: unknown cell {other:?}", case.name),
        };
        let spec = StackSpec::new(cell, case.I, case.H);
        spec.check().map_err(|problem| anyhow::anyhow!("case {}: {problem:?}", case.name))?;
        if case.T == 0 || case.B == 0 {
            bail!("case {}: T and B must be at least 1, got {} and {}", case.name, case.T, case.B);
        }
        for storage in if half { &["f32", "f16"][..] } else { &["f32"] } {
            let (steps_rows, half) = ([case.T, case.B], *storage == "f16");
            let mut planned = layer_kernels(adapter, &spec, steps_rows, half)
                .with_context(|| format!("case {}", case.name))?;
            planned.extend(
                persistent_kernels(adapter, &spec, steps_rows, half)
                    .with_context(|| format!("case {}", case.name))?,
            );
            add(&mut all, &case.name, storage, planned);
        }
    }
    Ok(all)
}

/// Adds the kernels of one layer to the list.
fn add(all: &mut Vec<Listed>, case: &str, storage: &'static str, planned: Vec<PlannedKernel>) {
    let mut seen: Vec<Role> = Vec::new();
    for PlannedKernel { role, kernel, constants } in planned {
        let before = seen.iter().filter(|&&other| other == role).count();
        seen.push(role);
        let role = match before {
            0 => role_name(role).to_string(),
            n => format!("{}-{}", role_name(role), n + 1),
        };
        let this = Use { case: case.to_string(), role, storage };
        let same =
            |listed: &&mut Listed| listed.kernel.label == kernel.label && listed.constants == constants;
        match all.iter_mut().find(same) {
            Some(listed) => listed.uses.push(this),
            None => all.push(Listed { kernel, constants, uses: vec![this] }),
        }
    }
}
