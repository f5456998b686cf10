//! The weights of one layer in the order of the GPU's kernels.

use super::options::{UnitPlanes, first_weights, padded, unit_parameters, unit_planes};
use super::pack::{Interleave, Matrix, Order, interleave, pack_bias, pack_recurrent};
use crate::array::cast;
use crate::copy::copy_into;
use crate::{GpuArray, GpuDevice};
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::error::Result;
use rnn_kernels::cell::{CellKind, Parameter, PerParameter, StackSpec};
use std::sync::{Mutex, MutexGuard, PoisonError};

const OP: &str = "rnn::pack";

/// Weights of one direction as given, in PyTorch's layout.
pub type CellWeights = PerParameter<GpuArray>;

/// The weights of one layer.
pub struct LayerWeights {
    /// `[D*H*G, I]`
    pub(super) w_ih: GpuArray,
    /// `[D*H*G]`
    pub(super) bias: Option<GpuArray>,
    /// `[D, K, H]`: a cell's parameters per unit: b_hn with linear before reset (zeros without biases),
    /// peepholes, u
    pub(super) per_unit: Option<GpuArray>,
    /// Layer normalisation only
    pub(super) norm: Option<NormWeights>,
    /// U of both directions for the forward recurrence, then the matrix of a step's second product
    pub(super) forward: GpuArray,
    half: Mutex<HalfWeights>,
    /// U for the backward recurrence. It is packed at the first backward pass, because inference never needs
    /// it. Packing drops the weights as given, so that the next optimizer step finds them unshared and need
    /// not copy them.
    backward: Mutex<Backward>,
}

/// The weights of layer normalisation besides the parameters per unit.
pub(super) struct NormWeights {
    /// `[D*H*G]`: gains of the input's product
    pub(super) norm_ih: GpuArray,
    /// `[D*H*G, P]`: U in the order of W, for the recurrent products of all steps at once
    pub(super) w_hh: GpuArray,
}

/// Weights rounded to f16, each made at the first pass that needs it.
#[derive(Default)]
struct HalfWeights {
    /// `[D*H*G, I]`, f16
    w_ih: Option<GpuArray>,
    /// `w_ih` in f32, for products in f32
    widened: Option<GpuArray>,
    /// U, two values per word
    forward: Option<GpuArray>,
}

/// U for the backward recurrence.
enum Backward {
    Unpacked(Recurrent),
    Packed {
        single: GpuArray,
        /// Rounded to f16; made at the first pass that needs it.
        half: Option<GpuArray>,
    },
}

/// The recurrent matrices as given, one per direction.
struct Recurrent {
    /// `[G*H, P]`; empty for an independent recurrence
    w_hh: Vec<GpuArray>,
    /// `[P, H]`; empty without a projection
    w_hr: Vec<GpuArray>,
}

impl Recurrent {
    fn new(spec: &StackSpec, cells: Vec<CellWeights>) -> Self {
        let mut recurrent = Recurrent { w_hh: Vec::new(), w_hr: Vec::new() };
        for mut cell in cells {
            if !spec.cell.independent {
                recurrent.w_hh.extend(cell.take(Parameter::WeightHh));
            }
            recurrent.w_hr.extend(cell.take(Parameter::WeightHr));
        }
        recurrent
    }

    fn matrices(&self, spec: &StackSpec, backward: bool) -> Vec<Matrix<'_>> {
        let (units, columns, gates) = (spec.hidden_size, spec.state_size(), spec.cell.gates());
        let first = Matrix { source: &self.w_hh, offset: 0, units, columns, gates };
        let second = match resets_before(spec) {
            // The second product of the forward pass reads its gate from U.
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

/// The array at `place`, made at the first call.
pub(super) fn once(
    place: &mut Option<GpuArray>,
    make: impl FnOnce() -> Result<GpuArray>,
) -> Result<GpuArray> {
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
    /// Packs the weights of one layer, one cell per direction. The first call for a cell tests its simplest kernels.
    ///
    /// # Errors
    /// No memory, a lost device, or an adapter that computes wrongly.
    pub fn new(spec: &StackSpec, inputs: usize, gpu: &GpuDevice, cells: Vec<CellWeights>) -> Result<Self> {
        gpu.test_cell(&spec.cell)?;
        let (hidden, state) = (spec.hidden_size, spec.state_size());
        let packing = Packing { spec, gpu, cells: &cells };
        let w_ih = packing.interleaved(Parameter::WeightIh, inputs, padded(inputs))?;
        let norm = match spec.cell.layer_norm {
            true => Some(NormWeights {
                norm_ih: packing.interleaved(Parameter::NormIh, 1, 1)?,
                w_hh: packing.interleaved(Parameter::WeightHh, state, padded(state))?,
            }),
            false => None,
        };
        let per_unit = match unit_parameters(spec) {
            0 => None,
            count => Some(packing.per_unit(count, padded(hidden))?),
        };
        let bias = match spec.bias {
            true => Some(packing.bias(per_unit.as_ref())?),
            false => None,
        };
        let recurrent = Recurrent::new(spec, cells);
        let forward = pack_recurrent(gpu, &recurrent.matrices(spec, false), false)?;
        let backward = Mutex::new(Backward::Unpacked(recurrent));
        Ok(LayerWeights { w_ih, bias, per_unit, norm, forward, half: Mutex::default(), backward })
    }

    /// Floats of the weights for the forward pass.
    #[expect(clippy::len_without_is_empty, reason = "a layer has weights")]
    pub fn len(&self) -> usize {
        let norms = self.norm.iter().flat_map(|norm| [&norm.norm_ih, &norm.w_hh]);
        let optional = self.bias.iter().chain(&self.per_unit).chain(norms);
        self.w_ih.len() + self.forward.len() + optional.map(GpuArray::len).sum::<usize>()
    }

    /// [`LayerWeights::len`] of a layer of `inputs` features.
    pub fn len_of(spec: &StackSpec, inputs: usize) -> usize {
        let (hidden, state) = (padded(spec.hidden_size), padded(spec.state_size()));
        let rows = spec.cell.gates() * hidden;
        let mut len = rows * (padded(inputs) + usize::from(spec.bias)) + unit_parameters(spec) * hidden;
        if spec.cell.layer_norm {
            len += rows * (1 + state);
        }
        let first = if spec.cell.independent { 0 } else { rows * state };
        let second = if spec.proj_size > 0 { hidden * state } else { 0 };
        // A buffer has at least one vector of four.
        spec.num_directions() * len + (spec.num_directions() * (first + second)).max(4)
    }

    /// The first vector of four of a step's second matrix: in [`LayerWeights::forward`], or if `backward` in the result
    /// of [`LayerWeights::backward`].
    pub(super) fn second(spec: &StackSpec, backward: bool) -> u32 {
        let first = spec.num_directions() * first_weights(spec);
        match resets_before(spec) && !backward {
            true => spec.cell.gates() as u32 - 1,
            false => first as u32,
        }
    }

    fn half(&self) -> MutexGuard<'_, HalfWeights> {
        // A panic in another thread leaves each array either complete or absent.
        self.half.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// W in f16.
    pub(super) fn half_w_ih(&self) -> Result<GpuArray> {
        once(&mut self.half().w_ih, || cast(&self.w_ih, DType::F16))
    }

    /// W rounded to f16, stored in f32.
    pub(super) fn rounded_w_ih(&self) -> Result<GpuArray> {
        let half = self.half_w_ih()?;
        once(&mut self.half().widened, || cast(&half, DType::F32))
    }

    /// U in f16 for the forward recurrence.
    pub(super) fn half_forward(&self) -> Result<GpuArray> {
        once(&mut self.half().forward, || cast(&self.forward, DType::F16))
    }

    /// U for the backward recurrence, in f32 or rounded to f16; made at first use.
    pub(super) fn backward(&self, gpu: &GpuDevice, spec: &StackSpec, want_half: bool) -> Result<GpuArray> {
        // A panic while packing leaves the weights as given, so no value is lost.
        let mut backward = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        if let Backward::Unpacked(given) = &*backward {
            let single = pack_recurrent(gpu, &given.matrices(spec, true), true)?;
            *backward = Backward::Packed { single, half: None };
        }
        let Backward::Packed { single, half } = &mut *backward else { unreachable!("packed above") };
        if !want_half {
            return Ok(single.clone());
        }
        once(half, || cast(single, DType::F16))
    }
}

/// The weights of a layer while they are packed.
struct Packing<'a> {
    spec: &'a StackSpec,
    gpu: &'a GpuDevice,
    /// One per direction.
    cells: &'a [CellWeights],
}

impl Packing<'_> {
    /// H*G: rows of a matrix of one direction.
    fn rows(&self) -> usize {
        self.spec.cell.gates() * padded(self.spec.hidden_size)
    }

    /// A matrix `[G*H, columns]` of every direction with interleaved gates: `[D*H*G, stride]`.
    fn interleaved(&self, parameter: Parameter, columns: usize, stride: usize) -> Result<GpuArray> {
        let rows = self.rows();
        let out = self.gpu.array(OP, &[self.cells.len() * rows, stride])?;
        for (direction, cell) in self.cells.iter().enumerate() {
            let Some(source) = cell.get(parameter) else { continue };
            interleave(
                self.gpu,
                &Interleave {
                    order: Order::Interleaved,
                    hidden: self.spec.hidden_size,
                    gates: self.spec.cell.gates(),
                    columns,
                    stride,
                    offset: direction * rows * stride,
                    source: &source.buffer,
                    result: &out.buffer,
                },
            )?;
        }
        Ok(out)
    }

    /// The sum of both biases, `[D*H*G]`; with linear before reset, b_hn goes to `per_unit` instead.
    fn bias(&self, per_unit: Option<&GpuArray>) -> Result<GpuArray> {
        let sum = self.gpu.array(OP, &[self.cells.len() * self.rows()])?;
        let apart = per_unit.filter(|_| self.spec.cell.linear_before_reset()).map(GpuArray::buffer);
        for (direction, cell) in self.cells.iter().enumerate() {
            if let (Some(b_ih), Some(b_hh)) = (cell.get(Parameter::BiasIh), cell.get(Parameter::BiasHh)) {
                let biases = [&b_ih.buffer, &b_hh.buffer];
                pack_bias(self.gpu, self.spec, direction, biases, &sum.buffer, apart)?;
            }
        }
        Ok(sum)
    }

    /// `[D, K, H]` with K = `count` and H = `width`: peepholes of i, f and o, or u, or zeros where
    /// [`Packing::bias`] writes b_hn; then the parameters per unit of layer normalisation.
    fn per_unit(&self, count: usize, width: usize) -> Result<GpuArray> {
        let hidden = self.spec.hidden_size;
        let mut out = self.gpu.zeroed_array(OP, &[self.cells.len(), count, width])?;
        for (direction, cell) in self.cells.iter().enumerate() {
            for UnitPlanes { parameter, first, apart, count: rows } in unit_planes(self.spec) {
                let Some(source) = cell.get(parameter) else { continue };
                let to = (direction * count + first) * width;
                let copy = StridedCopy::rows(rows, hidden, [hidden, apart * width], [0, to]);
                copy_into(&copy, source, &mut out)?;
            }
        }
        Ok(out)
    }
}
