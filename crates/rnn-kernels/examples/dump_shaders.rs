//! Writes every kernel of the catalogue as JSON, for checks by other shader compilers than naga:
//!
//!     cargo run -p rnn-kernels --example dump_shaders > shaders.json
//!
//! An array of `{ label, source, places: [[path, line]], entry, bindings: ["read" | "read_write"],
//! variants: [{ NAME: value }], step: "none" | "immediate" | "uniform", twin }`. `places` has the file and line
//! of every line of the source. A kernel whose lines are repeated comes once for every number of rows. `twin` is
//! the label of the kernel that does the same without immediates, or null.
//!
//! Kernels for matrix units are left out: their WGSL extension is wgpu's own.
//!
//! Where naga takes subgroup operations as they are, other compilers want them enabled, and refuse those whose control flow
//! they cannot prove to be uniform (`lib/stores_lanes.wgsl` says why it is): the text begins with directives for both.

use rnn_kernels::{Access, Constants, Kernel, ROWS, StepSource, catalogue};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

fn main() -> io::Result<()> {
    let all = catalogue::all();
    let mut kernels = Vec::new();
    for kernel in all.iter().filter(|kernel| !kernel.matrix_units) {
        let mut by_rows: Vec<(Option<u64>, Vec<Constants>)> = Vec::new();
        for &constants in kernel.variants {
            let rows = rows(constants);
            match by_rows.iter_mut().find(|(other, _)| *other == rows) {
                Some((_, variants)) => variants.push(constants),
                None => by_rows.push((rows, vec![constants])),
            }
        }
        kernels.extend(by_rows.into_iter().map(|(rows, variants)| describe(kernel, rows, &variants, &all)));
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &kernels)?;
    writeln!(out)
}

fn rows(constants: Constants) -> Option<u64> {
    constants.iter().find(|(name, _)| *name == ROWS).map(|&(_, rows)| rows as u64)
}

fn label(kernel: &Kernel, rows: Option<u64>) -> String {
    rows.map_or(kernel.label.to_string(), |rows| format!("{} of {rows} rows", kernel.label))
}

fn describe(kernel: &Kernel, rows: Option<u64>, variants: &[Constants], all: &[&Kernel]) -> Value {
    let mut source = String::new();
    let mut places = Vec::new();
    if kernel.subgroups {
        source.push_str("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n");
        places.extend([(kernel.label, 0); 2]);
    }
    let text = kernel.source(variants[0]);
    places.extend((1..=text.lines().count()).map(|line| kernel.locate(variants[0], line)));
    source.push_str(&text);
    let bindings: Vec<&str> = kernel
        .bindings
        .iter()
        .map(|access| match access {
            Access::Read => "read",
            Access::ReadWrite => "read_write",
        })
        .collect();
    let variants: Vec<Map<String, Value>> = variants
        .iter()
        .map(|constants| kernel.overrides(constants))
        .map(|overrides| overrides.iter().map(|&(name, value)| (name.to_string(), json!(value))).collect())
        .collect();
    json!({
        "label": label(kernel, rows),
        "source": source,
        "places": places,
        "entry": kernel.entry,
        "bindings": bindings,
        "variants": variants,
        "step": match kernel.step {
            StepSource::None => "none",
            StepSource::Immediate => "immediate",
            StepSource::Uniform => "uniform",
        },
        "twin": twin(kernel, all).map(|twin| label(twin, rows)),
    })
}

/// The kernel that differs from one with immediates in nothing but the file that the step number comes from.
fn twin<'a>(kernel: &Kernel, all: &[&'a Kernel]) -> Option<&'a Kernel> {
    let same = |other: &&&Kernel| {
        let others = kernel.parts.iter().zip(other.parts).filter(|(a, b)| a.path != b.path).count();
        other.step == StepSource::Uniform
            && (other.entry, other.bindings, other.variants)
                == (kernel.entry, kernel.bindings, kernel.variants)
            && other.parts.len() == kernel.parts.len()
            && others == 1
    };
    (kernel.step == StepSource::Immediate).then(|| all.iter().find(same).copied()).flatten()
}
