//! The weights of one layer in the order of the GPU's kernels.

use super::CellWeights;
use crate::array::{Array, DType};
use crate::device::Device;
use crate::dims::Shape;
use crate::error::Result;
use crate::gpu::rnn::{Interleave, Matrix, Order, interleave, last_gate_apart, padded};
use crate::gpu::rnn_options::unit_parameters;
use crate::gpu::{self, GpuBuffer, GpuDevice};
use crate::ops::copy::{StridedCopy, copy_into};
use crate::ops::f32_array;
use crate::ops::pointwise::cast;
use rnn_kernels::cell::{CellKind, StackSpec};
use std::sync::{Arc, Mutex, PoisonError};

/// The weights of one layer.
pub(super) struct LayerWeights {
    /// [D*P*G, Q]
    pub(super) w_ih: Array,
    /// [D*P*G]
    pub(super) bias: Option<Array>,
    /// [D, K, P]: what a cell has per unit: b_hn of a GRU (zeros without biases), peepholes, u
    pub(super) per_unit: Option<Array>,
    /// U of both directions for the forward recurrence, then what a step's second product takes
    pub(super) forward: Array,
    /// W and U rounded to f16, made at the first pass that asks for them.
    half: Mutex<Option<HalfWeights>>,
    /// U for the backward recurrence: packed at the first backward pass, because inference never needs
    /// it. Packing lets go of the weights as given, so that the optimizer's step that follows finds them
    /// unshared and need not copy them.
    backward: Mutex<Later>,
}

/// Weights rounded to f16.
#[derive(Clone)]
pub(super) struct HalfWeights {
    /// [D*P*G, Q], f32 again: the products read f32
    pub(super) w_ih: Array,
    /// U, two to a word
    pub(super) forward: Array,
}

enum Later {
    Given(Recurrent),
    Packed(Arc<GpuBuffer>),
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
        let w_ih = Array::alloc(&device, OP, &[directions * rows, width])?;
        for (direction, cell) in cells.iter().enumerate() {
            interleave(
                gpu,
                &Interleave {
                    order: Order::Interleaved,
                    hidden,
                    gates,
                    columns: inputs,
                    stride: width,
                    offset: direction * rows * width,
                    source: cell.w_ih.gpu(),
                    result: w_ih.gpu(),
                },
            )?;
        }
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
                    let apart = per_unit.as_ref().filter(|_| last_gate_apart(spec)).map(Array::gpu);
                    gpu::rnn::pack_bias(gpu, spec, direction, biases, sum.gpu(), apart)?;
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
        let shape = Shape::new(OP, &[gpu::rnn::packed_len(&matrices)])?;
        let forward = f32_array(&device, shape, gpu::rnn::pack_recurrent(gpu, &matrices, false)?);
        drop(matrices);
        let backward = Mutex::new(Later::Given(recurrent));
        Ok(LayerWeights { w_ih, bias, per_unit, forward, half: Mutex::default(), backward })
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

    /// W and U rounded to f16, made at first use.
    pub(super) fn half(&self) -> Result<HalfWeights> {
        // Whole or absent, whatever happened to another thread.
        let mut half = self.half.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = &*half {
            return Ok(ready.clone());
        }
        let rounded = HalfWeights {
            w_ih: cast(&cast(&self.w_ih, DType::F16)?, DType::F32)?,
            forward: cast(&self.forward, DType::F16)?,
        };
        Ok(half.insert(rounded).clone())
    }

    /// U arranged for the backward recurrence, made at first use.
    pub(super) fn backward(&self, gpu: &GpuDevice, spec: &StackSpec) -> Result<Arc<GpuBuffer>> {
        // A panic while packing leaves the weights as given: nothing is lost.
        let mut later = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        let given = match &*later {
            Later::Packed(ready) => return Ok(ready.clone()),
            Later::Given(given) => given,
        };
        let packed = Arc::new(gpu::rnn::pack_recurrent(gpu, &given.matrices(spec, true), true)?);
        *later = Later::Packed(packed.clone());
        Ok(packed)
    }
}

/// `[D, K, P]`: peepholes of i, f and o, or u; zeros where pack_bias will write b_hn.
fn per_unit(
    op: &'static str,
    spec: &StackSpec,
    device: &Device,
    count: usize,
    cells: &[CellWeights],
) -> Result<Array> {
    let (hidden, width) = (spec.hidden_size, padded(spec.hidden_size));
    let mut out = Array::alloc_zeroed(device, op, &[cells.len(), count, width])?;
    for (direction, cell) in cells.iter().enumerate() {
        // Coupled gates have no f: the middle row stays zero.
        let (source, rows, apart) = match (&cell.peephole, spec.cell.independent) {
            (Some(peephole), _) if spec.cell.coupled => (peephole, 2, 2),
            (Some(peephole), _) => (peephole, 3, 1),
            (None, true) => (&cell.w_hh, 1, 1),
            (None, false) => continue,
        };
        copy_into(
            &StridedCopy {
                dims: vec![rows, hidden],
                src_strides: vec![hidden, 1],
                src_offset: 0,
                dst_strides: vec![apart * width, 1],
                dst_offset: direction * count * width,
            },
            source,
            &mut out,
        )?;
    }
    Ok(out)
}
