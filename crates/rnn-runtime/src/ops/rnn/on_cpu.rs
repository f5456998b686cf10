//! A layer on the CPU.

use super::{BackwardPass, CellWeights, Dims, ForwardPass, LayerGrads, LayerRun, SavedLayer};
use crate::array::Array;
use crate::cpu;
use crate::error::Result;
use rnn_kernels::cell::WeightFormat;

impl ForwardPass<'_> {
    pub(super) fn run_cpu(&self, cpu: &cpu::CpuDevice, weights: &cpu::rnn::LayerWeights) -> Result<LayerRun> {
        let Dims { b, h, p, d, g, n, .. } = self.pass.dims;
        let (device, op, cell) = (self.x.device(), self.pass.op, &self.pass.spec.cell);
        let mut gates = match self.training {
            true => Some(Array::alloc(device, op, &[n, d, g, h])?),
            false => None,
        };
        let mut aux = match cell.kind.has_aux() {
            true => Some(Array::alloc(device, op, &[if self.training { n } else { b }, d, h])?),
            false => None,
        };
        let mut y = match self.pass.walk {
            Some(_) => Array::alloc(device, op, &[n, d * p])?,
            None => Array::alloc(device, op, &[self.pass.dims.t, b, d * p])?,
        };
        let bf16 = match self.format {
            WeightFormat::Bf16 => Some(weights.bf16(cpu)?),
            _ => None,
        };
        cpu::rnn::forward(
            cpu.threads(),
            cpu::rnn::Forward {
                dims: self.pass.dims.layer(self.pass.inputs),
                spec: cell,
                weights,
                bf16: bf16.as_ref().map(|panels| &panels[..]),
                x: self.x.cpu(),
                gates: cpu_slice(&mut gates)?,
                aux: cpu_slice(&mut aux)?,
                y: y.cpu_mut().make_mut()?,
                h0: &self.h0.array.cpu()[self.h0.offset..][..self.pass.dims.state()],
                c0: self.c0.map_or(&[], |c0| &c0.array.cpu()[c0.offset..][..self.pass.dims.cells()]),
                training: self.training,
            },
        );
        let kept = gates.map(|gates| SavedLayer { x: self.x.clone(), gates, aux: aux.clone(), y: y.clone() });
        Ok(LayerRun { kept, aux, y, width: h })
    }
}

/// The memory of an array, or none.
fn cpu_slice(array: &mut Option<Array>) -> Result<&mut [f32]> {
    match array {
        Some(array) => array.cpu_mut().make_mut(),
        None => Ok(&mut []),
    }
}

impl BackwardPass<'_> {
    pub(super) fn run_cpu(self, cpu: &cpu::CpuDevice, packed: &cpu::rnn::LayerWeights) -> Result<LayerGrads> {
        let BackwardPass { pass, mut kept, mut state, dy, .. } = self;
        let Dims { t, b, h, p, d, g, n } = pass.dims;
        let (device, op) = (dy.device(), pass.op);
        let (dims, inputs) = (pass.dims.layer(pass.inputs), pass.inputs);
        let h0 = &self.h0.array.cpu()[self.h0.offset..][..pass.dims.state()];
        let weights = packed.backward(cpu)?;
        let (dh, carry) = state.cpu_mut().make_mut()?.split_at_mut(pass.dims.state());
        cpu::rnn::backward(
            cpu.threads(),
            cpu::rnn::Backward {
                dims,
                spec: &pass.spec.cell,
                weights: &weights,
                gates: kept.gates.cpu_mut().make_mut()?,
                aux: cpu_slice(&mut kept.aux)?,
                y: kept.y.cpu(),
                dy: dy.cpu(),
                h0,
                c0: self.c0.map_or(&[], |c0| &c0.array.cpu()[c0.offset..][..pass.dims.cells()]),
                dh,
                carry,
            },
        );
        let gates = kept.gates.cpu();
        let mut dx = None;
        if self.want_dx {
            let mut array = match pass.walk {
                Some(_) => Array::alloc(device, op, &[n, inputs])?,
                None => Array::alloc(device, op, &[t, b, inputs])?,
            };
            cpu::rnn::input_grads(cpu.threads(), dims, gates, &weights, array.cpu_mut().make_mut()?);
            dx = Some(array);
        }
        let mut grads = Vec::with_capacity(d);
        for direction in 0..d {
            let alloc = |dims: &[usize]| Array::alloc(device, op, dims);
            let (mut w_ih, mut w_hh) = (alloc(&[g * h, inputs])?, alloc(&[g * h, p])?);
            let bias = || if pass.spec.bias { alloc(&[g * h]).map(Some) } else { Ok(None) };
            let (mut b_ih, mut b_hh) = (bias()?, bias()?);
            cpu::rnn::weight_grads(
                cpu.threads(),
                cpu::rnn::WeightGrads {
                    dims,
                    spec: &pass.spec.cell,
                    direction,
                    x: kept.x.cpu(),
                    y: kept.y.cpu(),
                    h0,
                    gates,
                    aux: kept.aux.as_ref().map_or(&[], |aux| &aux.cpu()[..]),
                    dw_ih: w_ih.cpu_mut().make_mut()?,
                    dw_hh: w_hh.cpu_mut().make_mut()?,
                    dbiases: match (&mut b_ih, &mut b_hh) {
                        (Some(b_ih), Some(b_hh)) => {
                            Some([b_ih.cpu_mut().make_mut()?, b_hh.cpu_mut().make_mut()?])
                        }
                        _ => None,
                    },
                },
            );
            grads.push(CellWeights { b_ih, b_hh, ..CellWeights::new(w_ih, w_hh) });
        }
        Ok(LayerGrads { state, dx, weights: grads })
    }
}
