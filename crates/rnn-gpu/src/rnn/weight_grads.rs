//! Gradients of a layer's weights, from the gradients of its gates. Twin of
//! `rnn-cpu/src/rnn/weight_grads.rs`.

use super::backward::{BackwardRun, InputProducts, RecurrenceRun};
use super::layer::{Widths, with_width};
use super::options::{UnitPlanes, padded, unit_planes};
use super::pack::{Interleave, Order, interleave};
use super::weights::resets_before;
use crate::GpuArray;
use crate::array::cast;
use crate::copy::{copy_into, slice};
use crate::gemm::{GemmArgs, gemm, gemm_grouped};
use crate::reduce::{sum_array, sum_grouped};
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::gemm::{Operand, Output};
use rnn_base::args::layer::Dims;
use rnn_base::error::Result;
use rnn_kernels::cell::{Parameter, PerParameter};

impl BackwardRun<'_> {
    /// The gradients of all weights, per direction, once the gradients of the gates are known. `inputs` has
    /// each direction's input `[N, I]` and its I without padding.
    pub(super) fn weight_gradients(
        &self,
        run: &RecurrenceRun,
        products: &InputProducts,
        inputs: &[(Operand<&GpuArray>, usize)],
    ) -> Result<Vec<PerParameter<GpuArray>>> {
        let pass = &self.layer.pass;
        let (spec, d) = (pass.spec, pass.dims.d);
        let of_input = self.bias_sums()?;
        let each = inputs.iter().enumerate();
        let w_ih: Vec<GpuArray> =
            each.map(|(n, &x)| self.input_weights(&products.gates, x, n)).collect::<Result<_>>()?;
        let of_recurrence = match self.take_recurrent_gate()? {
            true => self.bias_sums()?,
            false => of_input.clone(),
        };
        let per_unit = match self.has_unit_gradients() {
            true => Some(self.unit_sums(&run.flow, run.planes - 3)?),
            false => None,
        };
        let mut grads = Vec::with_capacity(d);
        for (direction, w_ih) in w_ih.into_iter().enumerate() {
            let mut cell = PerParameter::from_iter([(Parameter::WeightIh, w_ih)]);
            // The vector of an independent recurrence is a parameter per unit.
            if !spec.cell.independent {
                cell.set(Parameter::WeightHh, self.recurrent_matrix(run, direction)?);
            }
            if let (Some(of_input), Some(of_recurrence)) = (&of_input, &of_recurrence) {
                cell.set(Parameter::BiasIh, of_input[direction].clone());
                cell.set(Parameter::BiasHh, of_recurrence[direction].clone());
            }
            if let Some(sums) = &per_unit {
                self.unit_gradients(&mut cell, sums, direction)?;
            }
            if let Some(gain) = &products.gain {
                cell.set(Parameter::NormIh, self.blocked_gates(gain, direction)?);
            }
            if run.setup.projected {
                let w_hr = self.projection_weights(&run.ring, run.setup.params.third as usize, direction)?;
                cell.set(Parameter::WeightHr, w_hr);
            }
            grads.push(cell);
        }
        Ok(grads)
    }

    /// dU of one direction.
    fn recurrent_matrix(&self, run: &RecurrenceRun, direction: usize) -> Result<GpuArray> {
        let spec = self.layer.pass.spec;
        let Some(h_prev) = &run.h_prev else {
            return self.recurrent_weights(direction, spec.direction.runs_backwards(direction));
        };
        let of_product = match spec.cell.layer_norm {
            true => (&run.ring, 4 * run.setup.params.raw as usize),
            false => (&self.kept.gates, 0),
        };
        self.recurrent_product(of_product, h_prev, direction)
    }

    /// The gradients of the gates summed over all rows, in PyTorch's order: `[G*H]` of every direction; `None` without
    /// biases.
    fn bias_sums(&self) -> Result<Option<Vec<GpuArray>>> {
        let pass = &self.layer.pass;
        if !pass.spec.bias {
            return Ok(None);
        }
        let rows = self.kept.gates.reshape(&[pass.dims.n, self.layer.gate_width()])?;
        if pass.dims.d == 1 && self.layer.is_aligned() {
            return sum_grouped(pass.op, &rows, 0, pass.dims.g).map(|sums| Some(vec![sums]));
        }
        let sums = sum_array(pass.op, &rows, 0)?;
        (0..pass.dims.d)
            .map(|direction| self.blocked_gates(&sums, direction))
            .collect::<Result<_>>()
            .map(Some)
    }

    /// The gradients of one direction's parameters per unit, from the sums over the batch.
    fn unit_gradients(
        &self,
        cell: &mut PerParameter<GpuArray>,
        sums: &GpuArray,
        direction: usize,
    ) -> Result<()> {
        for planes in unit_planes(self.layer.pass.spec) {
            cell.set(planes.parameter, self.unit_rows(sums, direction, planes)?);
        }
        Ok(())
    }

    /// The gradients of the parameters per unit, summed over the batch: `[K, D, H]`.
    fn unit_sums(&self, flow: &GpuArray, count: usize) -> Result<GpuArray> {
        let (op, Dims { b, d, .. }) = (self.layer.pass.op, self.layer.pass.dims);
        let hidden = self.layer.widths().hidden;
        let planes = flow.reshape(&[flow.len() / (d * b * hidden), d * b * hidden])?;
        let own = slice(op, &planes, 3..3 + count)?.into_shape(&[count * d, b, hidden])?;
        sum_array(op, &own, 1)?.into_shape(&[count, d, hidden])
    }

    /// Some planes of these sums for one direction, one after the other: `[count*H]` without padding.
    fn unit_rows(&self, sums: &GpuArray, direction: usize, planes: UnitPlanes) -> Result<GpuArray> {
        let Dims { h, d, .. } = self.layer.pass.dims;
        let (hidden, UnitPlanes { first, apart, count, .. }) = (self.layer.widths().hidden, planes);
        let mut out = self.layer.gpu.array(self.layer.pass.op, &[count * h])?;
        let from = (first * d + direction) * hidden;
        copy_into(&StridedCopy::rows(count, h, [apart * d * hidden, h], [from, 0]), sums, &mut out)?;
        Ok(out)
    }

    /// `dW_hr = dh^T h~` of one direction. The recurrence left dh, the gradients of projected h, in the ring
    /// and h~, h before the projection, in aux. `[P, H]` without padding.
    fn projection_weights(&self, ring: &GpuArray, third: usize, direction: usize) -> Result<GpuArray> {
        let (op, Dims { h, p, d, n, .. }) = (self.layer.pass.op, self.layer.pass.dims);
        let Widths { hidden, state, .. } = self.layer.widths();
        let Some(aux) = &self.kept.aux else { unreachable!("only an LSTM has a projection") };
        let mut out = self.layer.gpu.array(op, &[state, hidden])?;
        let args = GemmArgs {
            batch: 1,
            m: state,
            n: hidden,
            k: n,
            a: Operand::rows(ring, d * state).at(4 * third + direction * state).t(),
            b: Operand::rows(aux, d * hidden).at(direction * hidden),
            bias: None,
            accumulate: false,
        };
        gemm(self.layer.gpu, &args, &mut out, Output::rows(hidden))?;
        if self.layer.is_aligned() { Ok(out) } else { with_width(op, &out, 0, p, [hidden, h]) }
    }

    /// One direction of `[D*H*G]` in PyTorch's order: `[G*H]` without padding.
    fn blocked_gates(&self, gates: &GpuArray, direction: usize) -> Result<GpuArray> {
        let Dims { h, g, .. } = self.layer.pass.dims;
        self.blocked(gates, direction * self.layer.widths().hidden * g, [1, 1], &[g * h])
    }

    /// Converts the rows of a gradient from the recurrence's order to PyTorch's.
    fn blocked(
        &self,
        source: &GpuArray,
        offset: usize,
        [stride, columns]: [usize; 2],
        dims: &[usize],
    ) -> Result<GpuArray> {
        let out = self.layer.gpu.array(self.layer.pass.op, dims)?;
        interleave(
            self.layer.gpu,
            &Interleave {
                order: Order::Blocked,
                hidden: self.layer.pass.dims.h,
                gates: self.layer.pass.dims.g,
                columns,
                stride,
                offset,
                source: &source.buffer,
                result: &out.buffer,
            },
        )?;
        Ok(out)
    }

    /// `dW = dgates^T x` of one direction, `[G*H, I]` without padding. x is `[N, I]` and has `inputs`
    /// features without padding.
    fn input_weights(
        &self,
        gates: &GpuArray,
        (x, inputs): (Operand<&GpuArray>, usize),
        direction: usize,
    ) -> Result<GpuArray> {
        let Dims { h, d, g, n, .. } = self.layer.pass.dims;
        let (rows, width) = (self.layer.widths().hidden * g, padded(inputs));
        let direct = rows == h * g && width == inputs;
        let mut sum = self.layer.gpu.array(self.layer.pass.op, &[rows, width])?;
        let args = GemmArgs {
            batch: 1,
            m: rows,
            n: width,
            k: n,
            a: Operand::rows(gates, d * rows).at(direction * rows).t(),
            b: x,
            bias: None,
            accumulate: false,
        };
        let groups = if direct { g } else { 1 };
        gemm_grouped(self.layer.gpu, &args, &mut sum, Output::rows(width), groups)?;
        if direct { Ok(sum) } else { self.blocked(&sum, 0, [width, inputs], &[g * h, inputs]) }
    }

    /// `dU = dgates^T h` of one direction; h is the recurrent product's operand at every step, `[N, D, P]`.
    fn recurrent_product(
        &self,
        (gates, offset): (&GpuArray, usize),
        h_prev: &GpuArray,
        direction: usize,
    ) -> Result<GpuArray> {
        let Dims { d, g, n, .. } = self.layer.pass.dims;
        let Widths { hidden, state, .. } = self.layer.widths();
        let rows = hidden * g;
        let mut sum = self.layer.gpu.array(self.layer.pass.op, &[rows, state])?;
        let args = GemmArgs {
            batch: 1,
            m: rows,
            n: state,
            k: n,
            a: Operand::rows(gates, d * rows).at(offset + direction * rows).t(),
            b: Operand::rows(h_prev, d * state).at(direction * state),
            bias: None,
            accumulate: false,
        };
        let groups = if self.layer.is_aligned() { g } else { 1 };
        gemm_grouped(self.layer.gpu, &args, &mut sum, Output::rows(state), groups)?;
        self.finish_recurrent(sum, direction)
    }

    /// `dU = sum over t of dgates_t^T h_{t-1}` of one direction: one product over all steps but the first,
    /// whose previous state is h0.
    fn recurrent_weights(&self, direction: usize, reversed: bool) -> Result<GpuArray> {
        let (gpu, op, kept) = (self.layer.gpu, self.layer.pass.op, &self.kept);
        let Dims { t, b, h, p, d, g, .. } = self.layer.pass.dims;
        let Widths { hidden, state, .. } = self.layer.widths();
        let rows = hidden * g;
        if self.zero_h0 && t == 1 {
            return gpu.zeroed_array(op, &[g * h, p]);
        }
        let groups = if self.layer.is_aligned() { g } else { 1 };
        let mut sum = gpu.array(op, &[rows, state])?;
        let gates = Operand::rows(&kept.gates, d * rows).at(direction * rows);
        // Step s of a direction, counted in its own order, follows step s - 1; the first step follows h0.
        let (first, later, before) = if reversed { (t - 1, 0, 1) } else { (0, 1, 0) };
        let y = Operand::rows(&kept.y, d * state).at(direction * state);
        let h0 = cast(&self.h0.array, kept.y.dtype)?;
        let h0 = Operand::rows(&h0, state).at(self.h0.offset + direction * b * state);
        let step = |s: usize| gates.at(gates.offset + s * b * gates.row_stride).t();
        let product =
            |k, a, b, accumulate| GemmArgs { batch: 1, m: rows, n: state, k, a, b, bias: None, accumulate };
        let place = Output::rows(state);
        if !self.zero_h0 {
            gemm_grouped(gpu, &product(b, step(first), h0, false), &mut sum, place, groups)?;
        }
        if t > 1 {
            let y = y.at(y.offset + before * b * y.row_stride);
            let args = product((t - 1) * b, step(later), y, !self.zero_h0);
            gemm_grouped(gpu, &args, &mut sum, place, groups)?;
        }
        self.finish_recurrent(sum, direction)
    }

    /// dU in PyTorch's order and without padding. Where the reset gate acts before the product, the
    /// candidate's rows come from a product with r*h.
    fn finish_recurrent(&self, sum: GpuArray, direction: usize) -> Result<GpuArray> {
        let Dims { h, p, g, .. } = self.layer.pass.dims;
        let sum = match self.layer.is_aligned() {
            true => sum,
            false => self.blocked(&sum, 0, [self.layer.widths().state, p], &[g * h, p])?,
        };
        match self.kept.aux.as_ref().filter(|_| resets_before(self.layer.pass.spec)) {
            Some(aux) => self.replace_candidate(sum, aux, direction),
            None => Ok(sum),
        }
    }

    /// Replaces the candidate's rows by `dn^T (r*h)`; r*h is in `aux`.
    fn replace_candidate(&self, mut sum: GpuArray, aux: &GpuArray, direction: usize) -> Result<GpuArray> {
        let (gpu, op) = (self.layer.gpu, self.layer.pass.op);
        let Dims { h, d, g, n, .. } = self.layer.pass.dims;
        let hidden = self.layer.widths().hidden;
        let mut dn = gpu.array(op, &[n, hidden])?;
        let copy = StridedCopy {
            dims: vec![n, hidden],
            src_strides: vec![d * hidden * g, g],
            src_offset: direction * hidden * g + g - 1,
            dst_strides: vec![hidden, 1],
            dst_offset: 0,
        };
        copy_into(&copy, &self.kept.gates, &mut dn)?;
        let mut own = gpu.array(op, &[hidden, hidden])?;
        let args = GemmArgs {
            batch: 1,
            m: hidden,
            n: hidden,
            k: n,
            a: Operand::rows(&dn, hidden).t(),
            b: Operand::rows(aux, d * hidden).at(direction * hidden),
            bias: None,
            accumulate: false,
        };
        gemm(gpu, &args, &mut own, Output::rows(hidden))?;
        copy_into(&StridedCopy::rows(h, h, [hidden, h], [0, (g - 1) * h * h]), &own, &mut sum)?;
        Ok(sum)
    }
}
