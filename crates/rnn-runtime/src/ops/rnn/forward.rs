//! The forward pass of a stack.

use super::{Dims, PackedLayer, Saved, SavedLayer, StackArgs, StackOutput, layer_mask};
use crate::array::Array;
use crate::cpu;
use crate::device::on_device;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::ops::copy::{StridedCopy, copy_into};
use crate::ops::dropout::dropout;
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::widen;

/// Runs the stack over the whole sequence.
///
/// # Errors
/// Shapes that do not fit `spec`, a `c0` for a cell without one, different devices, index arrays.
pub fn forward(args: &StackArgs<'_>) -> Result<StackOutput> {
    const OP: &str = "rnn::forward";
    let spec = args.spec;
    let x = widen(OP, "x", args.x)?.into_owned();
    let device = x.device().clone();
    let dims = check_forward(OP, args)?;
    let states = [spec.num_states(), dims.b, dims.h];
    let state = |given: Option<&Array>, name| match given {
        Some(given) => Ok(widen(OP, name, given)?.into_owned()),
        None => Array::alloc_zeroed(&device, OP, &states),
    };
    let h0 = state(args.h0, "h0")?;
    let has_c = spec.cell.kind.has_cell_state();
    let c0 = if has_c { Some(state(args.c0, "c0")?) } else { None };
    let mut h_n = Array::alloc(&device, OP, &states)?;
    let mut c_n = if has_c { Some(Array::alloc(&device, OP, &states)?) } else { None };

    let mut input = x;
    let mut saved = Vec::with_capacity(spec.num_layers);
    for (layer, packed) in args.packed.0.iter().enumerate() {
        let run = layer_forward(OP, args, dims, layer, packed, &input, &h0, c0.as_ref())?;
        copy_final(dims, layer, &run.y, true, &mut h_n)?;
        if let (Some(c_n), Some(aux)) = (&mut c_n, &run.aux) {
            copy_final(dims, layer, aux, args.training, c_n)?;
        }
        let next = match layer_mask(spec, args.dropout, layer, dims) {
            Some(mask) => dropout(&run.y, &mask)?,
            None => run.y.clone(),
        };
        let x = std::mem::replace(&mut input, next);
        if args.training {
            saved.push(SavedLayer { x, gates: run.gates, aux: run.aux, y: run.y });
        }
    }
    let saved = args.training.then(|| Saved { layers: saved, h0, c0, dims, dropout: args.dropout });
    Ok(StackOutput { y: input, h_n, c_n, saved })
}

fn check_forward(op: &'static str, args: &StackArgs<'_>) -> Result<Dims> {
    let spec = args.spec;
    let [t, b, inputs] = *args.x.dims() else {
        return Err(Error::Shape {
            op,
            arg: "x".into(),
            expected: format!("[T, B, I] with I = {}", spec.input_size),
            got: args.x.shape().clone(),
        });
    };
    args.x.expect_dims(op, "x", "[T, B, I]", &[t, b, spec.input_size])?;
    debug_assert_eq!(inputs, spec.input_size);
    let states = [spec.num_states(), b, spec.hidden_size];
    for (name, given) in [("h0", args.h0), ("c0", args.c0)] {
        if let Some(given) = given {
            given.expect_device(op, name, args.x.device())?;
            given.expect_dims(op, name, "[L*D, B, H]", &states)?;
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
    let packed = &args.packed.0;
    if packed.len() != spec.num_layers {
        return Err(Error::Value {
            op,
            arg: "packed",
            expected: format!("L = {} layers", spec.num_layers),
            got: packed.len().to_string(),
        });
    }
    packed[0].w_ih.expect_device(op, "packed", args.x.device())?;
    Ok(Dims { t, b, h: spec.hidden_size, d: spec.num_directions(), g: spec.cell.kind.gates() })
}

struct LayerRun {
    gates: Array,
    aux: Option<Array>,
    y: Array,
}

#[expect(clippy::too_many_arguments, reason = "one call, all of it the state of `forward`")]
fn layer_forward(
    op: &'static str,
    args: &StackArgs<'_>,
    dims: Dims,
    layer: usize,
    packed: &PackedLayer,
    x: &Array,
    h0: &Array,
    c0: Option<&Array>,
) -> Result<LayerRun> {
    let Dims { t, b, h, d, g } = dims;
    let device = x.device();
    let inputs = args.spec.layer_input_size(layer);
    let columns = d * g * h;
    let mut gates = Array::alloc(device, op, &[t, b, d, g, h])?;
    let project = GemmArgs {
        batch: 1,
        m: t * b,
        n: columns,
        k: inputs,
        a: Operand::rows(x, inputs),
        b: Operand::rows(&packed.w_ih, inputs).t(),
        bias: packed.bias.as_ref(),
        accumulate: false,
    };
    gemm(&project, Output { array: &mut gates, offset: 0, batch_stride: 0, ldc: columns })?;
    let mut aux = match args.spec.cell.kind.has_aux() {
        true => Some(Array::alloc(device, op, &[if args.training { t } else { 1 }, b, d, h])?),
        false => None,
    };
    let mut y = Array::alloc(device, op, &[t, b, d * h])?;
    let first = layer * dims.state();
    on_device!(
        device,
        Cpu(cpu) => {
            let state = |array: Option<&Array>| -> Vec<f32> {
                array.map_or(Vec::new(), |array| array.cpu()[first..][..dims.state()].to_vec())
            };
            let c0 = state(c0);
            cpu::rnn::forward(cpu.threads(), cpu::rnn::Forward {
                dims: dims.layer(),
                spec: &args.spec.cell,
                panels: packed.forward.cpu(),
                params: packed.params.as_ref().map_or(&[], |params| &params.cpu()[..]),
                gates: gates.cpu_mut().make_mut()?,
                aux: match &mut aux {
                    Some(aux) => aux.cpu_mut().make_mut()?,
                    None => &mut [],
                },
                y: y.cpu_mut().make_mut()?,
                h0: &h0.cpu()[first..][..dims.state()],
                c0: &c0,
                training: args.training,
            });
        },
        Gpu(gpu) => gpu::rnn::forward(gpu, &gpu::rnn::Forward {
            dims: dims.layer(),
            spec: &args.spec.cell,
            weights: packed.forward.gpu(),
            params: packed.params.as_ref().map(Array::gpu),
            gates: gates.gpu(),
            aux: aux.as_ref().map(Array::gpu),
            y: y.gpu(),
            h0: h0.gpu(),
            c0: c0.map(Array::gpu),
            state_offset: first,
            training: args.training,
        })?,
    );
    Ok(LayerRun { gates, aux, y })
}

/// Copies each direction's last step of `[T, B, D, H]` (or, unless `all_steps`, of `[1, B, D, H]`)
/// to the states `[L*D, B, H]` of `layer`.
fn copy_final(dims: Dims, layer: usize, from: &Array, all_steps: bool, to: &mut Array) -> Result<()> {
    let Dims { t, b, h, d, .. } = dims;
    for direction in 0..d {
        let time = if direction == 0 && all_steps { t - 1 } else { 0 };
        copy_into(
            &StridedCopy {
                dims: vec![b, h],
                src_strides: vec![d * h, 1],
                src_offset: (time * b * d + direction) * h,
                dst_strides: vec![h, 1],
                dst_offset: (layer * d + direction) * b * h,
            },
            from,
            to,
        )?;
    }
    Ok(())
}
