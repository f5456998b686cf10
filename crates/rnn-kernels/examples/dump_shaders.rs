//! Writes every kernel of the catalogue as JSON, for checks by other shader compilers than naga:
//!
//!     cargo run -p rnn-kernels --example dump_shaders > shaders.json
//!
//! An array of `{ label, source, parts: [{ path, lines }], entry, bindings: ["read" | "read_write"],
//! variants: [{ NAME: value }], step: "none" | "immediate" | "uniform", twin }`. `parts` lead from a line of
//! the source back to a file. `twin` is the label of the kernel that does the same without immediates, or
//! null.

use rnn_kernels::{Access, Kernel, StepSource, catalogue};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

fn main() -> io::Result<()> {
    let all = catalogue::all();
    let kernels: Vec<Value> = all.iter().map(|kernel| describe(kernel, &all)).collect();
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &kernels)?;
    writeln!(out)
}

fn describe(kernel: &Kernel, all: &[&Kernel]) -> Value {
    let parts: Vec<Value> = kernel
        .parts
        .iter()
        .map(|part| json!({ "path": part.path, "lines": part.text.lines().count() }))
        .collect();
    let bindings: Vec<&str> = kernel
        .bindings
        .iter()
        .map(|access| match access {
            Access::Read => "read",
            Access::ReadWrite => "read_write",
        })
        .collect();
    let variants: Vec<Map<String, Value>> = kernel
        .variants
        .iter()
        .map(|constants| constants.iter().map(|&(name, value)| (name.to_string(), json!(value))).collect())
        .collect();
    json!({
        "label": kernel.label,
        "source": kernel.source(),
        "parts": parts,
        "entry": kernel.entry,
        "bindings": bindings,
        "variants": variants,
        "step": match kernel.step {
            StepSource::None => "none",
            StepSource::Immediate => "immediate",
            StepSource::Uniform => "uniform",
        },
        "twin": twin(kernel, all).map(|twin| twin.label),
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
