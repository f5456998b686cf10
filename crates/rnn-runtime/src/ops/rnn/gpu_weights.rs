//! The weights of one layer in the order of the GPU's kernels.

use super::CellWeights;
use crate::array::{Array, DType};
use crate::device::Device;
use crate::dims::Shape;
use crate::error::Result;
use crate::gpu::rnn_options::{own_parameters, unit_parameters};
use crate::gpu::rnn_pack::{Interleave, Matrix, Order, interleave, padded};
use crate::gpu::{self, GpuDevice};
use crate::ops::copy::{StridedCopy, copy_into};
use crate::ops::f32_array;
use crate::ops::pointwise::cast;
use rnn_kernels::cell::{CellKind, StackSpec};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The weights of one layer.
pub(super) struct LayerWeights {
    /// [D*P*G, Q]
    pub(super) w_ih: Array,
    /// [D*P*G]
    pub(super) bias: Option<Array>,
    /// [D, K, P]: what a cell has per unit: b_hn where the last gate stays apart (zeros without biases), peepholes, u
    pub(super) per_unit: Option<Array>,
    /// Layer normalisation only
    pub(super) norm: Option<NormWeights>,
    /// U of both directions for the forward recurrence, then what a step's second product takes
    pub(super) forward: Array,
    half: Mutex<HalfWeights>,
    /// U for the backward recurrence: packed at the first backward pass, because inference never needs
    /// it. Packing lets go of the weights as given, so that the optimizer's step that follows finds them
    /// unshared and need not copy them.
    backward: Mutex<Later>,
}

/// What layer normalisation takes beside parameters per unit.
pub(super) struct NormWeights {
    /// [D*P*G]: gains of the input's product
    pub(super) norm_ih: Array,
    /// [D*P*G, S]: U in the order of W, for the raw products of all steps at once
    pub(super) w_hh: Array,
}

/// Weights rounded to f16, each made at the first pass that asks for it.
#[derive(Default)]
struct HalfWeights {
    /// [D*P*G, Q], f16
    w_ih: Option<Array>,
    /// The same in f32 again, for products of f32
    widened: Option<Array>,
    /// U, two to a word
    forward: Option<Array>,
}

enum Later {
    Given(Recurrent),
    Packed {
        single: Array,
        /// Rounded to f16, made at the first pass that asks for it.
        half: Option<Array>,
    },
}

/// The recurrent matrices as given, one per direction.
struct Recurrent {
    /// [G*H, P]; empty for an independent recurrence
    w_hh: Vec<Array>,
    /// [P, H]; empty without a projection
    w_hr: Vec<Array>,
}

impl Recurrent {
    fn matrices(&self, spec: &StackSpec, backward: bool) -> Vec<Matrix<'_>> {
        let (units, columns, gates) = (spec.hidden_size, spec.state_size(), spec.cell.gates());
        let first = Matrix { source: &self.w_hh, offset: 0, units, columns, gates };
        let second = match resets_before(spec) {
            // Forward, the second product finds its gate in U.
            true if backward => Some(Matrix { offset: (gates - 1) * units * columns, gates: 1, ..first }),
            _ => (spec.proj_size > 0).then_some(Matrix {
                source: &self.w_hr,
                offset: 0,
                units: columns,
                columns: units,
                gates: 1,
            }),
        };
        std::iter::once(first).chain(second).collect()
    }
}

/// What is there, or is made now.
pub(super) fn once(place: &mut Option<Array>, make: impl FnOnce() -> Result<Array>) -> Result<Array> {
    match place {
        Some(ready) => Ok(ready.clone()),
        None => Ok(place.insert(make()?).clone()),
    }
}

/// Whether a GRU's reset gate acts before the recurrent product.
pub(super) fn resets_before(spec: &StackSpec) -> bool {
    spec.cell.kind == CellKind::Gru && !spec.cell.reset_after
}

impl LayerWeights {
    /// Packs the weights of one layer, one cell per direction.
    pub(super) fn new(
        spec: &StackSpec,
        inputs: usize,
        gpu: &GpuDevice,
        cells: Vec<CellWeights>,
    ) -> Result<Self> {
        const OP: &str = "rnn::pack";
        let (hidden, gates, directions) = (spec.hidden_size, spec.cell.gates(), spec.num_directions());
        let (rows, width) = (gates * padded(hidden), padded(inputs));
        let device = Device::Gpu(gpu.clone());
        // A matrix [G*H, columns] of every direction with the gates of a unit side by side: [D*P*G, stride].
        let interleaved = |of: &dyn Fn(&CellWeights) -> Option<Array>, columns: usize, stride: usize| {
            let out = Array::alloc(&device, OP, &[directions * rows, stride])?;
            for (direction, cell) in cells.iter().enumerate() {
                let Some(source) = of(cell) else { continue };
                interleave(
                    gpu,
                    &Interleave {
                        order: Order::Interleaved,
                        hidden,
                        gates,
                        columns,
                        stride,
                        offset: direction * rows * stride,
                        source: source.gpu(),
                        result: out.gpu(),
                    },
                )?;
            }
            Ok::<_, crate::error::Error>(out)
        };
        let w_ih = interleaved(&|cell| Some(cell.w_ih.clone()), inputs, width)?;
        let norm = match spec.cell.layer_norm {
            true => Some(NormWeights {
                norm_ih: interleaved(&|cell| cell.norm_ih.clone(), 1, 1)?,
                w_hh: interleaved(
                    &|cell| Some(cell.w_hh.clone()),
                    spec.state_size(),
                    padded(spec.state_size()),
                )?,
            }),
            false => None,
        };
        let per_unit = match unit_parameters(spec) {
            0 => None,
            count => Some(per_unit(OP, spec, &device, count, &cells)?),
        };
        let mut bias = None;
        if spec.bias {
            let sum = Array::alloc(&device, OP, &[directions * rows])?;
            for (direction, cell) in cells.iter().enumerate() {
                if let (Some(b_ih), Some(b_hh)) = (&cell.b_ih, &cell.b_hh) {
                    let biases = [b_ih.gpu(), b_hh.gpu()];
                    let apart = per_unit.as_ref().filter(|_| spec.cell.last_gate_apart()).map(Array::gpu);
                    gpu::rnn_pack::pack_bias(gpu, spec, direction, biases, sum.gpu(), apart)?;
                }
            }
            bias = Some(sum);
        }
        let mut recurrent = Recurrent { w_hh: Vec::new(), w_hr: Vec::new() };
        for cell in cells {
            if !spec.cell.independent {
                recurrent.w_hh.push(cell.w_hh);
            }
            recurrent.w_hr.extend(cell.w_hr);
        }
        let matrices = recurrent.matrices(spec, false);
        let shape = Shape::new(OP, &[gpu::rnn_pack::packed_len(&matrices)])?;
        let forward = f32_array(&device, shape, gpu::rnn_pack::pack_recurrent(gpu, &matrices, false)?);
        drop(matrices);
        let backward = Mutex::new(Later::Given(recurrent));
        Ok(LayerWeights { w_ih, bias, per_unit, norm, forward, half: Mutex::default(), backward })
    }

    /// Floats of the weights for the forward pass.
    pub(super) fn len(&self) -> usize {
        let norms = self.norm.iter().flat_map(|norm| [&norm.norm_ih, &norm.w_hh]);
        let optional = self.bias.iter().chain(&self.per_unit).chain(norms);
        self.w_ih.len() + self.forward.len() + optional.map(Array::len).sum::<usize>()
    }

    /// What [`LayerWeights::len`] will be for a layer of `inputs` features.
    pub(super) fn len_of(spec: &StackSpec, inputs: usize) -> usize {
        let (hidden, state) = (padded(spec.hidden_size), padded(spec.state_size()));
        let rows = spec.cell.gates() * hidden;
        let mut len = rows * (padded(inputs) + usize::from(spec.bias)) + unit_parameters(spec) * hidden;
        if spec.cell.layer_norm {
            len += rows * (1 + state);
        }
        let first = if spec.cell.independent { 0 } else { rows * state };
        let second = if spec.proj_size > 0 { hidden * state } else { 0 };
        // A buffer is never empty.
        spec.num_directions() * len + (spec.num_directions() * (first + second)).max(4)
    }

    /// Where a step's second matrix starts in `forward`, and in what [`LayerWeights::backward`] gives, in vectors
    /// of four.
    pub(super) fn second(spec: &StackSpec, backward: bool) -> u32 {
        let first = spec.num_directions() * gpu::rnn_options::first_weights(spec);
        match resets_before(spec) && !backward {
            true => spec.cell.gates() as u32 - 1,
            false => first as u32,
        }
    }

    fn half(&self) -> MutexGuard<'_, HalfWeights> {
        // Each whole or absent, whatever happened to another thread.
        self.half.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// W in f16.
    pub(super) fn half_w_ih(&self) -> Result<Array> {
        once(&mut self.half().w_ih, || cast(&self.w_ih, DType::F16))
    }

    /// W rounded to f16, in f32.
    pub(super) fn rounded_w_ih(&self) -> Result<Array> {
        let half = self.half_w_ih()?;
        once(&mut self.half().widened, || cast(&half, DType::F32))
    }

    /// U in f16 for the forward recurrence.
    pub(super) fn half_forward(&self) -> Result<Array> {
        once(&mut self.half().forward, || cast(&self.forward, DType::F16))
    }

    /// U arranged for the backward recurrence, in f32 or rounded to f16, made at first use.
    pub(super) fn backward(&self, gpu: &GpuDevice, spec: &StackSpec, want_half: bool) -> Result<Array> {
        // A panic while packing leaves the weights as given: nothing is lost.
        let mut later = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        if let Later::Given(given) = &*later {
            let matrices = given.matrices(spec, true);
            let shape = Shape::new("rnn::pack", &[gpu::rnn_pack::packed_len(&matrices)])?;
            let packed = gpu::rnn_pack::pack_recurrent(gpu, &matrices, true)?;
            let single = f32_array(&Device::Gpu(gpu.clone()), shape, packed);
            *later = Later::Packed { single, half: None };
        }
        let Later::Packed { single, half } = &mut *later else { unreachable!("packed above") };
        if !want_half {
            return Ok(single.clone());
        }
        once(half, || cast(single, DType::F16))
    }
}

/// `[D, K, P]`: peepholes of i, f and o, or u, or zeros where pack_bias will write b_hn; then what layer
/// normalisation has per unit.
fn per_unit(
    op: &'static str,
    spec: &StackSpec,
    device: &Device,
    count: usize,
    cells: &[CellWeights],
) -> Result<Array> {
    let (hidden, width) = (spec.hidden_size, padded(spec.hidden_size));
    let own = own_parameters(spec);
    let mut out = Array::alloc_zeroed(device, op, &[cells.len(), count, width])?;
    for (direction, cell) in cells.iter().enumerate() {
        // `rows` rows of H of a source go to planes `plane`, `plane + apart`, ...
        let mut put = |source: &Array, rows: usize, plane: usize, apart: usize| {
            let copy = StridedCopy {
                dims: vec![rows, hidden],
                src_strides: vec![hidden, 1],
                src_offset: 0,
                dst_strides: vec![apart * width, 1],
                dst_offset: (direction * count + plane) * width,
            };
            copy_into(&copy, source, &mut out)
        };
        // Coupled gates have no f: the middle row stays zero.
        match (&cell.peephole, spec.cell.independent) {
            (Some(peephole), _) if spec.cell.coupled => put(peephole, 2, 0, 2)?,
            (Some(peephole), _) => put(peephole, 3, 0, 1)?,
            (None, true) => put(&cell.w_hh, 1, 0, 1)?,
            (None, false) => {}
        }
        let gates = spec.cell.gates();
        let norms = [(&cell.norm_hh, gates, 0), (&cell.norm_c, 1, gates), (&cell.norm_c_bias, 1, gates + 1)];
        for (source, rows, plane) in norms {
            if let Some(source) = source {
                put(source, rows, own + plane, 1)?;
            }
        }
    }
    Ok(out)
}
