//! A layer on the CPU.

use super::{BackwardPass, CellWeights, Dims, ForwardPass, LayerGrads, LayerRun, Pass, SavedLayer};
use crate::array::Array;
use crate::cpu;
use crate::device::Device;
use crate::error::{Error, Result};
use rnn_kernels::cell::{Parameter, WeightFormat};

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
            WeightFormat::Bf16 if weights.in_phases() => {
                return Err(Error::Unsupported {
                    op,
                    what: "Bf16 weights with layer_norm, proj_size or reset_after = false".into(),
                    why: "only the fused loop reads rounded weights".into(),
                });
            }
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
        let kept = gates.map(|gates| SavedLayer {
            x: self.x.clone(),
            gates,
            aux: aux.clone(),
            y: y.clone(),
            stats: None,
        });
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
        let Dims { t, b, h, p, d, g, n, .. } = pass.dims;
        let (device, op, cell) = (dy.device(), pass.op, &pass.spec.cell);
        let (layer, inputs) = (pass.layer(), pass.inputs);
        let h0 = &self.h0.array.cpu()[self.h0.offset..][..pass.dims.state()];
        let weights = packed.backward(cpu)?;
        let when = |wanted: bool, dims: &[usize]| match wanted {
            true => Array::alloc(device, op, dims).map(Some),
            false => Ok(None),
        };
        let blocks = cpu::rnn::unit_blocks(cell);
        let mut sums = match blocks {
            0 => None,
            _ => Some(Array::alloc_zeroed(device, op, &[d, b, blocks * h])?),
        };
        let mut projected = when(pass.spec.proj_size > 0, &[n, d, p])?;
        let mut products = when(cell.layer_norm, &[n, d, g, h])?;
        let (dh, carry) = state.cpu_mut().make_mut()?.split_at_mut(pass.dims.state());
        cpu::rnn::backward(
            cpu.threads(),
            cpu::rnn::Backward {
                layer,
                spec: cell,
                weights: &weights,
                forward: packed,
                gates: kept.gates.cpu_mut().make_mut()?,
                aux: cpu_slice(&mut kept.aux)?,
                y: kept.y.cpu(),
                dy: dy.cpu(),
                h0,
                c0: self.c0.map_or(&[], |c0| &c0.array.cpu()[c0.offset..][..pass.dims.cells()]),
                dh,
                carry,
                sums: cpu_slice(&mut sums)?,
                projected: cpu_slice(&mut projected)?,
                products: cpu_slice(&mut products)?,
            },
        );
        let aux = kept.aux.as_ref().map_or(&[][..], |aux| &aux.cpu()[..]);
        let mut grads = Vec::with_capacity(d);
        for direction in 0..d {
            let mut own = empty_grads(&pass, device)?;
            if let Some(gain) = &mut own.norm_ih {
                cpu::rnn::input_norm_grads(cpu::rnn::NormGrads {
                    layer,
                    spec: cell,
                    weights: packed,
                    d: direction,
                    x: kept.x.cpu(),
                    gates: kept.gates.cpu_mut().make_mut()?,
                    aux,
                    gain: gain.cpu_mut().make_mut()?,
                    biases: cpu_pair(&mut own.b_ih, &mut own.b_hh)?,
                });
            }
            grads.push(own);
        }
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
        for (direction, own) in grads.iter_mut().enumerate() {
            let dbiases = match cell.layer_norm {
                // They are done.
                true => None,
                false => cpu_pair(&mut own.b_ih, &mut own.b_hh)?,
            };
            cpu::rnn::weight_grads(
                cpu.threads(),
                cpu::rnn::WeightGrads {
                    layer,
                    spec: cell,
                    d: direction,
                    x: kept.x.cpu(),
                    y: kept.y.cpu(),
                    h0,
                    gates,
                    aux,
                    products: products.as_ref().map_or(&[], |products| &products.cpu()[..]),
                    dw_ih: own.w_ih.cpu_mut().make_mut()?,
                    dw_hh: own.w_hh.cpu_mut().make_mut()?,
                    dbiases,
                },
            );
            if let (Some(w_hr), Some(projected)) = (&mut own.w_hr, &projected) {
                let (sides, out) = ([&projected.cpu()[..], aux], w_hr.cpu_mut().make_mut()?);
                cpu::rnn::projection_grads(cpu.threads(), layer, direction, sides, out);
            }
            if let Some(sums) = &sums {
                let mut of_units = vec![0.0; blocks * h];
                cpu::rnn::sum_rows(layer, direction, sums.cpu(), &mut of_units);
                let mut rest = &of_units[..];
                let recurrent = if cell.independent { Some(&mut own.w_hh) } else { None };
                let per_unit = [
                    recurrent,
                    own.peephole.as_mut(),
                    own.norm_c.as_mut(),
                    own.norm_c_bias.as_mut(),
                    own.norm_hh.as_mut(),
                ];
                for grad in per_unit.into_iter().flatten() {
                    let (values, others) = rest.split_at(grad.len());
                    grad.cpu_mut().make_mut()?.copy_from_slice(values);
                    rest = others;
                }
            }
        }
        Ok(LayerGrads { state, dx, weights: grads })
    }
}

/// Arrays for the gradients of one direction's parameters.
fn empty_grads(pass: &Pass<'_>, device: &Device) -> Result<CellWeights> {
    let mut shapes = Parameter::ALL.into_iter().filter_map(|parameter| {
        let dims = match parameter {
            Parameter::WeightIh => Some(vec![pass.spec.gate_rows(), pass.inputs]),
            // The others' shapes are the same in all layers.
            _ => pass.spec.parameter_dims(0, parameter),
        };
        Some((parameter, dims?))
    });
    let mut matrix = || match shapes.next() {
        Some((_, dims)) => Array::alloc(device, pass.op, &dims),
        None => unreachable!("every cell has two matrices"),
    };
    let mut grads = CellWeights::new(matrix()?, matrix()?);
    for (parameter, dims) in shapes {
        grads.set(parameter, Array::alloc(device, pass.op, &dims)?);
    }
    Ok(grads)
}

/// The memory of two arrays, if they are there.
fn cpu_pair<'a>(
    first: &'a mut Option<Array>,
    second: &'a mut Option<Array>,
) -> Result<Option<[&'a mut [f32]; 2]>> {
    match (first, second) {
        (Some(first), Some(second)) => Ok(Some([first.cpu_mut().make_mut()?, second.cpu_mut().make_mut()?])),
        _ => Ok(None),
    }
}

impl<'a> Pass<'a> {
    /// The pass as the CPU's loops see it.
    fn layer(&self) -> cpu::rnn::Layer<'a> {
        let Pass { walk, direction, noise, .. } = *self;
        cpu::rnn::Layer { dims: self.dims.layer(self.inputs), walk, direction, noise }
    }
}
