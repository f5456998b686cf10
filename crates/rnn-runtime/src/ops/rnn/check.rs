//! Checks of the arguments of the passes over a stack.

use super::sequences::Sequences;
use super::types::{StackArgs, StackCotangents};
use crate::device::Device;
use rnn_base::args::layer::Dims;
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{StackSpec, WeightFormat};

/// The sizes of a forward pass; refuses arguments that do not fit `spec` or each other.
pub(super) fn check_forward(op: &'static str, args: &StackArgs<'_>) -> Result<Dims> {
    let spec = args.spec;
    let [t, b, inputs] = *args.x.dims() else {
        return Err(Error::Shape {
            op,
            arg: "x".into(),
            expected: format!("[T, B, I] with I = {}", spec.input_size),
            got: args.x.dims().to_vec(),
        });
    };
    args.x.expect_dims(op, "x", "[T, B, I]", &[t, b, spec.input_size])?;
    debug_assert_eq!(inputs, spec.input_size);
    let states =
        [("h0", args.h0, "[L*D, B, P]", spec.state_size()), ("c0", args.c0, "[L*D, B, H]", spec.hidden_size)];
    for (name, given, axes, width) in states {
        if let Some(given) = given {
            given.expect_device(op, name, args.x.device())?;
            given.expect_dims(op, name, axes, &[spec.num_states(), b, width])?;
        }
    }
    if let Some(sequences) = args.sequences {
        let got = [sequences.steps(), sequences.lengths().len()];
        if got != [t, b] {
            return Err(Error::Value {
                op,
                arg: "sequences",
                expected: format!("for [T, B] = [{t}, {b}]"),
                got: format!("for {got:?}"),
            });
        }
    }
    if args.c0.is_some() && !spec.cell.kind.has_cell_state() {
        return Err(Error::Value {
            op,
            arg: "c0",
            expected: "absent: only an LSTM has a cell state".into(),
            got: "present".into(),
        });
    }
    if args.weights != WeightFormat::F32 {
        if args.training {
            return Err(Error::Value {
                op,
                arg: "weights",
                expected: "F32 in training".into(),
                got: format!("{:?}", args.weights),
            });
        }
        let own = if args.x.device().is_cpu() { WeightFormat::Bf16 } else { WeightFormat::F16 };
        if args.weights != own {
            return Err(Error::Unsupported {
                op,
                what: format!("{:?} weights on {}", args.weights, args.x.device().name()),
                why: format!("this device supports {own:?}"),
            });
        }
    }
    if let Err(expected) = args.storage.check(spec) {
        let got = format!("{:?}", args.storage);
        return Err(Error::Value { op, arg: "storage", expected: expected.into(), got });
    }
    let layers = args.packed.num_layers();
    if layers != spec.num_layers {
        return Err(Error::Value {
            op,
            arg: "packed",
            expected: format!("L = {} layers", spec.num_layers),
            got: layers.to_string(),
        });
    }
    args.x.expect_device(op, "x", &args.packed.device)?;
    let (h, p) = (spec.hidden_size, spec.state_size());
    let first_row = args.sequences.map_or(0, Sequences::first_row);
    Ok(Dims { t, b, h, p, d: spec.num_directions(), g: spec.cell.gates(), n: t * b, first_row })
}

/// Refuses cotangents that do not fit a pass of T steps and B rows.
pub(super) fn check_cotangents(
    op: &'static str,
    spec: &StackSpec,
    [t, b]: [usize; 2],
    device: &Device,
    cotangents: &StackCotangents<'_>,
) -> Result<()> {
    let (h, p) = (spec.hidden_size, spec.state_size());
    let states = spec.num_states();
    let given = [
        ("dy", cotangents.dy, "[T, B, D*P]", [t, b, spec.output_size()]),
        ("dh_n", cotangents.dh_n, "[L*D, B, P]", [states, b, p]),
        ("dc_n", cotangents.dc_n, "[L*D, B, H]", [states, b, h]),
    ];
    for (name, array, axes, dims) in given {
        if let Some(array) = array {
            array.expect_device(op, name, device)?;
            array.expect_dims(op, name, axes, &dims)?;
        }
    }
    if cotangents.dc_n.is_some() && !spec.cell.kind.has_cell_state() {
        return Err(Error::Value {
            op,
            arg: "dc_n",
            expected: "absent: only an LSTM has a cell state".into(),
            got: "present".into(),
        });
    }
    Ok(())
}
