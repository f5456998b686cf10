//! The forward pass of a stack.

use super::{Dims, LayerRun, PackedLayer, Saved, SavedLayer, StackArgs, StackOutput, layer_mask};
use crate::array::Array;
use crate::cpu;
use crate::device::on_device;
use crate::error::{Error, Result};
use crate::ops::copy::{StridedCopy, copy_into};
use crate::ops::dropout::dropout;
use crate::ops::widen;
use rnn_kernels::cell::{StackSpec, WeightFormat};

/// Runs the stack over the whole sequence.
///
/// # Errors
/// Shapes that do not fit `spec`, a `c0` for a cell without one, different devices, index arrays; weights
/// other than f32 in training, or in the format of the other backend.
pub fn forward(args: &StackArgs<'_>) -> Result<StackOutput> {
    const OP: &str = "rnn::forward";
    let spec = args.spec;
    let x = widen(OP, "x", args.x)?.into_owned();
    let dims = check_forward(OP, args)?;
    let states = [spec.num_states(), dims.b, dims.h];
    let state = |given: Option<&Array>, name| match given {
        Some(given) => Ok(widen(OP, name, given)?.into_owned()),
        None => args.packed.zeros(OP, &states),
    };
    let h0 = state(args.h0, "h0")?;
    let has_c = spec.cell.kind.has_cell_state();
    let c0 = if has_c { Some(state(args.c0, "c0")?) } else { None };
    let mut h_n = None;
    let mut c_n = None;

    let mut input = x;
    let mut saved = Vec::with_capacity(spec.num_layers);
    for (layer, packed) in args.packed.layers.iter().enumerate() {
        let (x, h0, c0, training, weights) = (&input, &h0, c0.as_ref(), args.training, args.weights);
        let run = LayerArgs { op: OP, spec, dims, layer, x, h0, c0, training, weights }.run(packed)?;
        copy_final(spec, dims, layer, &run.y, (dims.h, true), &mut h_n)?;
        if let (true, Some(aux)) = (has_c, &run.aux) {
            copy_final(spec, dims, layer, aux, (run.width, args.training), &mut c_n)?;
        }
        input = match layer_mask(spec, args.dropout, layer, dims) {
            Some(mask) => dropout(&run.y, &mask)?,
            None => run.y,
        };
        saved.extend(run.kept);
    }
    let zero_h0 = args.h0.is_none();
    let saved = args.training.then(|| Saved { layers: saved, h0, zero_h0, c0, dims, dropout: args.dropout });
    let Some(h_n) = h_n else { unreachable!("`pack` refuses a stack without layers") };
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
                why: format!("there it is {own:?}"),
            });
        }
    }
    let packed = &args.packed.layers;
    if packed.len() != spec.num_layers {
        return Err(Error::Value {
            op,
            arg: "packed",
            expected: format!("L = {} layers", spec.num_layers),
            got: packed.len().to_string(),
        });
    }
    args.x.expect_device(op, "x", &args.packed.device)?;
    Ok(Dims {
        t,
        b,
        h: spec.hidden_size,
        p: spec.state_size(),
        d: spec.num_directions(),
        g: spec.cell.gates(),
    })
}

/// The arguments of one layer's forward pass.
pub(super) struct LayerArgs<'a> {
    pub(super) op: &'static str,
    pub(super) spec: &'a StackSpec,
    pub(super) dims: Dims,
    pub(super) layer: usize,
    /// [T, B, I of the layer]
    pub(super) x: &'a Array,
    /// [L*D, B, H]
    pub(super) h0: &'a Array,
    /// [L*D, B, H]
    pub(super) c0: Option<&'a Array>,
    pub(super) training: bool,
    pub(super) weights: WeightFormat,
}

impl LayerArgs<'_> {
    fn run(&self, packed: &PackedLayer) -> Result<LayerRun> {
        on_device!(
            self.x.device(),
            Cpu(cpu) => self.run_cpu(cpu, packed.cpu()),
            Gpu(gpu) => self.run_gpu(gpu, packed.gpu()),
        )
    }

    fn run_cpu(&self, cpu: &cpu::CpuDevice, weights: &cpu::rnn::LayerWeights) -> Result<LayerRun> {
        let Dims { t, b, h, d, g, .. } = self.dims;
        let (device, cell) = (self.x.device(), &self.spec.cell);
        let mut gates = match self.training {
            true => Some(Array::alloc(device, self.op, &[t, b, d, g, h])?),
            false => None,
        };
        let mut aux = match cell.kind.has_aux() {
            true => Some(Array::alloc(device, self.op, &[if self.training { t } else { 1 }, b, d, h])?),
            false => None,
        };
        let mut y = Array::alloc(device, self.op, &[t, b, d * h])?;
        let (first, size) = (self.layer * self.dims.state(), self.dims.state());
        let bf16 = match self.weights {
            WeightFormat::Bf16 => Some(weights.bf16(cpu)?),
            _ => None,
        };
        cpu::rnn::forward(
            cpu.threads(),
            cpu::rnn::Forward {
                dims: self.dims.layer(self.spec.layer_input_size(self.layer)),
                spec: cell,
                weights,
                bf16: bf16.as_ref().map(|panels| &panels[..]),
                x: self.x.cpu(),
                gates: cpu_slice(&mut gates)?,
                aux: cpu_slice(&mut aux)?,
                y: y.cpu_mut().make_mut()?,
                h0: &self.h0.cpu()[first..][..size],
                c0: self.c0.map_or(&[], |c0| &c0.cpu()[first..][..size]),
                training: self.training,
            },
        );
        let kept = gates.map(|gates| SavedLayer { x: self.x.clone(), gates, aux: aux.clone(), y: y.clone() });
        Ok(LayerRun { kept, aux, y, width: h })
    }
}

/// The memory of an array, or none.
pub(super) fn cpu_slice(array: &mut Option<Array>) -> Result<&mut [f32]> {
    match array {
        Some(array) => array.cpu_mut().make_mut(),
        None => Ok(&mut []),
    }
}

/// Copies each direction's last step of `[T, B, D, width]` (or, unless `all_steps`, of `[1, B, D, width]`)
/// to the states `[L*D, B, H]` of `layer`, which are allocated for the first one. A single step of a single
/// layer is its state already.
fn copy_final(
    spec: &StackSpec,
    dims: Dims,
    layer: usize,
    steps: &Array,
    (width, all_steps): (usize, bool),
    states: &mut Option<Array>,
) -> Result<()> {
    let Dims { t, b, h, d, .. } = dims;
    let shape = [spec.num_states(), b, h];
    if spec.num_states() == 1 && width == h && (t == 1 || !all_steps) {
        *states = Some(steps.reshape(&shape)?);
        return Ok(());
    }
    if states.is_none() {
        *states = Some(Array::alloc(steps.device(), "rnn::forward", &shape)?);
    }
    let Some(states) = states else { unreachable!("allocated above") };
    for direction in 0..d {
        let time = if direction == 0 && all_steps { t - 1 } else { 0 };
        copy_into(
            &StridedCopy {
                dims: vec![b, h],
                src_strides: vec![d * width, 1],
                src_offset: (time * b * d + direction) * width,
                dst_strides: vec![h, 1],
                dst_offset: (layer * d + direction) * b * h,
            },
            steps,
            states,
        )?;
    }
    Ok(())
}
