//! Gradients of a layer's weights on the GPU, from those of its gates. Twin of `cpu/rnn/weight_grads.rs`.

use super::backward::Collected;
use super::{whole, with_width};
use crate::array::Array;
use crate::error::Result;
use crate::gpu::GpuDevice;
use crate::gpu::gemm::gemm_grouped;
use crate::gpu::rnn_pack::{Interleave, Order, interleave, padded};
use crate::ops::copy::{StridedCopy, copy_into, slice};
use crate::ops::gemm::{GemmArgs, Operand, gemm};
use crate::ops::pointwise::cast;
use crate::ops::reduce::sum_axis;
use crate::ops::rnn::gpu_weights::resets_before;
use crate::ops::rnn::{Dims, State};

impl Collected<'_> {
    /// Gradients of parameters per unit, summed over the batch: `[K, D, P]`.
    pub(super) fn unit_sums(&self, flow: &Array, count: usize) -> Result<Array> {
        let Dims { b, h, d, .. } = self.pass.dims;
        let p = padded(h);
        let own = slice(&flow.reshape(&[flow.len() / (d * b * p), d * b * p])?, 0, 3, 3 + count)?;
        sum_axis(&own.reshape(&[count * d, b, p])?, 1)?.reshape(&[count, d, p])
    }

    /// Some of them of one direction, one after the other: `[rows*H]`.
    pub(super) fn unit_rows(&self, sums: &Array, direction: usize, planes: &[usize]) -> Result<Array> {
        let Dims { h, d, .. } = self.pass.dims;
        let p = padded(h);
        let mut out = Array::alloc(sums.device(), self.pass.op, &[planes.len() * h])?;
        for (n, plane) in planes.iter().enumerate() {
            copy_into(
                &StridedCopy {
                    dims: vec![h],
                    src_strides: vec![1],
                    src_offset: (plane * d + direction) * p,
                    dst_strides: vec![1],
                    dst_offset: n * h,
                },
                sums,
                &mut out,
            )?;
        }
        Ok(out)
    }

    /// `dW_hr = dh^T h~` of one direction: gradients of projected h, which the recurrence left in the ring, and
    /// what was projected, which it left in aux. `[P, H]`.
    pub(super) fn projection_weights(&self, ring: &Array, third: usize, direction: usize) -> Result<Array> {
        let Dims { h, p: state, d, n, .. } = self.pass.dims;
        let (p, s) = (padded(h), padded(state));
        let Some(aux) = &self.kept.aux else { unreachable!("only an LSTM has a projection") };
        let mut out = Array::alloc(ring.device(), self.pass.op, &[s, p])?;
        let args = GemmArgs {
            batch: 1,
            m: s,
            n: p,
            k: n,
            a: Operand::rows(ring, d * s).at(4 * third + direction * s).t(),
            b: Operand::rows(aux, d * p).at(direction * p),
            bias: None,
            accumulate: false,
        };
        gemm(&args, whole(&mut out, p))?;
        match (p == h, s == state) {
            (true, true) => Ok(out),
            _ => with_width(self.pass.op, &out, 0, state, [p, h]),
        }
    }

    /// A gradient with rows in the recurrence's order, in PyTorch's.
    pub(super) fn blocked(
        &self,
        gpu: &GpuDevice,
        source: &Array,
        offset: usize,
        [stride, columns]: [usize; 2],
        dims: &[usize],
    ) -> Result<Array> {
        let out = Array::alloc(source.device(), self.pass.op, dims)?;
        interleave(
            gpu,
            &Interleave {
                order: Order::Blocked,
                hidden: self.pass.dims.h,
                gates: self.pass.dims.g,
                columns,
                stride,
                offset,
                source: source.gpu(),
                result: out.gpu(),
            },
        )?;
        Ok(out)
    }

    /// `dW = dgates^T x` of one direction, x being `[N, Q]` of `inputs` features.
    pub(super) fn input_weights(
        &self,
        gpu: &GpuDevice,
        gates: &Array,
        (x, inputs): (Operand<'_>, usize),
        direction: usize,
    ) -> Result<Array> {
        let Dims { h, d, g, n, .. } = self.pass.dims;
        let (p, q) = (padded(h), padded(inputs));
        let direct = p == h && q == inputs;
        let mut sum = Array::alloc(gates.device(), self.pass.op, &[p * g, q])?;
        let args = GemmArgs {
            batch: 1,
            m: p * g,
            n: q,
            k: n,
            a: Operand::rows(gates, d * p * g).at(direction * p * g).t(),
            b: x,
            bias: None,
            accumulate: false,
        };
        gemm_grouped(gpu, &args, whole(&mut sum, q), if direct { g } else { 1 })?;
        if direct {
            return Ok(sum);
        }
        self.blocked(gpu, &sum, 0, [q, inputs], &[g * h, inputs])
    }

    /// `dU = dgates^T h` of one direction, with h before every step as the product saw it, `[N, D, P]`.
    pub(super) fn recurrent_product(
        &self,
        gpu: &GpuDevice,
        (gates, offset): (&Array, usize),
        h_prev: &Array,
        direction: usize,
    ) -> Result<Array> {
        let Dims { h, p: state, d, g, n, .. } = self.pass.dims;
        let (p, s) = (padded(h), padded(state));
        let direct = p == h && s == state;
        let mut sum = Array::alloc(h_prev.device(), self.pass.op, &[p * g, s])?;
        let args = GemmArgs {
            batch: 1,
            m: p * g,
            n: s,
            k: n,
            a: Operand::rows(gates, d * p * g).at(offset + direction * p * g).t(),
            b: Operand::rows(h_prev, d * s).at(direction * s),
            bias: None,
            accumulate: false,
        };
        gemm_grouped(gpu, &args, whole(&mut sum, s), if direct { g } else { 1 })?;
        let sum = if direct { sum } else { self.blocked(gpu, &sum, 0, [s, state], &[g * h, state])? };
        self.replace_candidate(sum, direction)
    }

    /// Where the reset gate acts before the product, the candidate's rows of dU are a product with r*h.
    fn replace_candidate(&self, mut sum: Array, direction: usize) -> Result<Array> {
        let Dims { h, d, g, n, .. } = self.pass.dims;
        let (p, op) = (padded(h), self.pass.op);
        let Some(aux) = self.kept.aux.as_ref().filter(|_| resets_before(self.pass.spec)) else {
            return Ok(sum);
        };
        let mut dn = Array::alloc(aux.device(), op, &[n, p])?;
        copy_into(
            &StridedCopy {
                dims: vec![n, p],
                src_strides: vec![d * p * g, g],
                src_offset: direction * p * g + g - 1,
                dst_strides: vec![p, 1],
                dst_offset: 0,
            },
            &self.kept.gates,
            &mut dn,
        )?;
        let mut own = Array::alloc(aux.device(), op, &[p, p])?;
        let args = GemmArgs {
            batch: 1,
            m: p,
            n: p,
            k: n,
            a: Operand::rows(&dn, p).t(),
            b: Operand::rows(aux, d * p).at(direction * p),
            bias: None,
            accumulate: false,
        };
        gemm(&args, whole(&mut own, p))?;
        copy_into(
            &StridedCopy {
                dims: vec![h, h],
                src_strides: vec![p, 1],
                src_offset: 0,
                dst_strides: vec![h, 1],
                dst_offset: (g - 1) * h * h,
            },
            &own,
            &mut sum,
        )?;
        Ok(sum)
    }

    /// `dU = sum over t of dgates_t^T h_{t-1}` of one direction: one product over all steps but the first,
    /// whose earlier state is h0.
    pub(super) fn recurrent_weights(
        &self,
        gpu: &GpuDevice,
        h0: &State,
        direction: usize,
        reversed: bool,
    ) -> Result<Array> {
        let Dims { t, b, h, p: state, d, g, .. } = self.pass.dims;
        let (rows, p, kept) = (padded(h) * g, padded(state), &self.kept);
        let op = self.pass.op;
        if self.zero_h0 && t == 1 {
            return Array::alloc_zeroed(h0.array.device(), op, &[g * h, state]);
        }
        let direct = padded(h) == h && p == state;
        let groups = if direct { g } else { 1 };
        let mut sum = Array::alloc(h0.array.device(), op, &[rows, p])?;
        let gates = Operand::rows(&kept.gates, d * rows).at(direction * rows);
        // In its own time a direction's step s is preceded by s - 1; the first step by h0.
        let (first, later, before) = if reversed { (t - 1, 0, 1) } else { (0, 1, 0) };
        let y = Operand::rows(&kept.y, d * p).at(direction * p);
        let h0_array = cast(&h0.array, kept.y.dtype())?;
        let h0 = Operand::rows(&h0_array, p).at(h0.offset + direction * b * p);
        let step = |s: usize| gates.at(gates.offset + s * b * gates.row_stride).t();
        let product =
            |k, a, b, accumulate| GemmArgs { batch: 1, m: rows, n: p, k, a, b, bias: None, accumulate };
        if !self.zero_h0 {
            gemm_grouped(gpu, &product(b, step(first), h0, false), whole(&mut sum, p), groups)?;
        }
        if t > 1 {
            let y = y.at(y.offset + before * b * y.row_stride);
            let args = product((t - 1) * b, step(later), y, !self.zero_h0);
            gemm_grouped(gpu, &args, whole(&mut sum, p), groups)?;
        }
        let sum = if direct { sum } else { self.blocked(gpu, &sum, 0, [p, state], &[g * h, state])? };
        self.replace_candidate(sum, direction)
    }
}
