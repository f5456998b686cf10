//! A layer on the CPU.

use super::{BackwardPass, CellWeights, Dims, ForwardPass, LayerGrads, LayerRun, Pass, SavedLayer};
use crate::array::Array;
use crate::cpu;
use crate::error::{Error, Result};
use rnn_kernels::cell::WeightFormat;

impl ForwardPass<'_> {
    pub(super) fn run_cpu(&self, cpu: &cpu::CpuDevice, weights: &cpu::rnn::LayerWeights) -> Result<LayerRun> {
        let Dims { b, h, p, d, g, n, .. } = self.pass.dims;
        let (device, op, cell) = (self.x.device(), self.pass.op, &self.pass.spec.cell);
        supported(&self.pass)?;
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
                layer: self.pass.layer(),
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
        let (layer, inputs) = (pass.layer(), pass.inputs);
        let h0 = &self.h0.array.cpu()[self.h0.offset..][..pass.dims.state()];
        let weights = packed.backward(cpu)?;
        let unit_width = cpu::rnn::unit_sums(&pass.spec.cell) * h;
        let mut sums = match unit_width {
            0 => None,
            width => Some(Array::alloc_zeroed(device, op, &[d, b, width])?),
        };
        let (dh, carry) = state.cpu_mut().make_mut()?.split_at_mut(pass.dims.state());
        cpu::rnn::backward(
            cpu.threads(),
            cpu::rnn::Backward {
                layer,
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
                sums: cpu_slice(&mut sums)?,
            },
        );
        let gates = kept.gates.cpu();
        let mut dx = None;
        if self.want_dx {
            let mut array = match pass.walk {
                Some(_) => Array::alloc(device, op, &[n, inputs])?,
                None => Array::alloc(device, op, &[t, b, inputs])?,
            };
            cpu::rnn::input_grads(cpu.threads(), layer, gates, &weights, array.cpu_mut().make_mut()?);
            dx = Some(array);
        }
        let mut grads = Vec::with_capacity(d);
        for direction in 0..d {
            let alloc = |dims: &[usize]| Array::alloc(device, op, dims);
            let independent = pass.spec.cell.independent;
            let w_hh = if independent { alloc(&[h])? } else { alloc(&[g * h, p])? };
            let mut own = CellWeights::new(alloc(&[g * h, inputs])?, w_hh);
            if pass.spec.bias {
                (own.b_ih, own.b_hh) = (Some(alloc(&[g * h])?), Some(alloc(&[g * h])?));
            }
            let dbiases = match (&mut own.b_ih, &mut own.b_hh) {
                (Some(b_ih), Some(b_hh)) => Some([b_ih.cpu_mut().make_mut()?, b_hh.cpu_mut().make_mut()?]),
                _ => None,
            };
            cpu::rnn::weight_grads(
                cpu.threads(),
                cpu::rnn::WeightGrads {
                    layer,
                    spec: &pass.spec.cell,
                    d: direction,
                    x: kept.x.cpu(),
                    y: kept.y.cpu(),
                    h0,
                    gates,
                    aux: kept.aux.as_ref().map_or(&[], |aux| &aux.cpu()[..]),
                    dw_ih: own.w_ih.cpu_mut().make_mut()?,
                    dw_hh: own.w_hh.cpu_mut().make_mut()?,
                    dbiases,
                },
            );
            if let Some(sums) = &sums {
                let mut of_units = alloc(&[unit_width])?;
                cpu::rnn::sum_rows(layer, direction, sums.cpu(), of_units.cpu_mut().make_mut()?);
                match independent {
                    true => own.w_hh = of_units,
                    false => own.peephole = Some(of_units),
                }
            }
            grads.push(own);
        }
        Ok(LayerGrads { state, dx, weights: grads })
    }
}

impl<'a> Pass<'a> {
    /// The pass as the CPU's loops see it.
    fn layer(&self) -> cpu::rnn::Layer<'a> {
        let Pass { walk, direction, noise, .. } = *self;
        cpu::rnn::Layer { dims: self.dims.layer(self.inputs), walk, direction, noise }
    }
}

/// Refuses what the loops cannot do.
fn supported(pass: &Pass<'_>) -> Result<()> {
    let spec = pass.spec;
    let missing = [
        ("reset_after = false", !spec.cell.reset_after),
        ("proj_size", spec.proj_size > 0),
        ("layer_norm", spec.cell.layer_norm),
    ];
    match missing.into_iter().find(|(_, wanted)| *wanted) {
        Some((what, _)) => Err(Error::Unsupported {
            op: pass.op,
            what: format!("{what} on the CPU"),
            why: "its loops do not have it".into(),
        }),
        None => Ok(()),
    }
}
