//! A layer's pass: allocates its memory, runs the loops, collects the gradients. `rnn-gpu` has a file of the same name
//! for the GPU.

use super::args::{BackwardArgs, ForwardArgs};
use super::backward::run_backward;
use super::forward::run_forward;
use super::pack::LayerWeights;
use super::pass::Layer;
use super::phases::weights::in_phases;
use super::phases::{self, NormGrads, input_norm_grads};
use super::weight_grads::{WeightGrads, weight_grads};
use super::weights::{Sizes, unit_blocks, unit_parameters};
use super::{input_grads, projection_grads, sum_rows};
use crate::memory::{CpuArray, CpuDevice};
use rnn_base::args::layer::{
    BackwardPass, Dims, ForwardPass, LayerGrads, LayerPass, LayerRun, SavedLayer, State,
};
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{CellSpec, Parameter, PerParameter, WeightFormat};

/// Floats that an inference pass allocates beside its arrays and tiles.
pub fn working_len(spec: &CellSpec, dims: LayerDims) -> usize {
    let sizes = Sizes { inputs: dims.inputs, hidden: dims.hidden, state: dims.state };
    if in_phases(spec, &sizes) { phases::working_len(&dims, spec.gates()) } else { 0 }
}

/// A layer's forward pass.
///
/// # Errors
/// No memory, or rounded weights for a layer that runs in phases.
pub fn forward(
    device: &CpuDevice,
    args: &ForwardPass<'_, CpuArray, LayerWeights>,
) -> Result<LayerRun<CpuArray>> {
    let ForwardPass { pass, x, training, .. } = args;
    let Dims { b, h, p, d, g, n, .. } = pass.dims;
    let (op, cell, weights) = (pass.op, &pass.spec.cell, pass.weights);
    let when = |wanted: bool, dims: &[usize]| match wanted {
        true => device.array(op, dims).map(Some),
        false => Ok(None),
    };
    let mut gates = when(*training, &[n, d, g, h])?;
    let mut aux = when(cell.kind.has_aux(), &[if *training { n } else { b }, d, h])?;
    let mut y = device.array(op, &pass.rows(d * p))?;
    let bf16 = match args.format {
        WeightFormat::Bf16 => {
            let unsupported = || Error::Unsupported {
                op,
                what: "Bf16 weights with layer_norm, proj_size or reset_after = false".into(),
                why: "only the fused loop reads rounded weights".into(),
            };
            Some(weights.bf16(device)?.ok_or_else(unsupported)?)
        }
        _ => None,
    };
    run_forward(
        device.threads(),
        ForwardArgs {
            layer: layer_of(pass),
            spec: cell,
            weights,
            bf16: bf16.as_ref().map(|panels| &panels[..]),
            x: &x.buffer,
            gates: values_mut(&mut gates)?,
            aux: values_mut(&mut aux)?,
            y: y.buffer.make_mut()?,
            h0: values_of(&args.h0, pass.dims.state()),
            c0: args.c0.as_ref().map_or(&[], |c0| values_of(c0, pass.dims.cells())),
            training: *training,
        },
    );
    let (x, of_aux) = (|| args.x.clone(), aux.clone());
    let kept = gates.map(|gates| SavedLayer { x: x(), gates, aux: of_aux, y: y.clone(), stats: None });
    Ok(LayerRun { kept, aux, y, width: h })
}

/// A layer's backward pass.
///
/// # Errors
/// No memory.
pub fn backward(
    device: &CpuDevice,
    args: BackwardPass<'_, CpuArray, LayerWeights>,
) -> Result<LayerGrads<CpuArray>> {
    let BackwardPass { pass, mut kept, h0, c0, dy, mut state, want_dx, .. } = args;
    let Dims { h, p, d, b, g, n, .. } = pass.dims;
    let (op, cell, layer) = (pass.op, &pass.spec.cell, layer_of(&pass));
    let h0 = values_of(&h0, pass.dims.state());
    let weights = pass.weights.backward(device)?;
    let when = |wanted: bool, dims: &[usize]| match wanted {
        true => device.array(op, dims).map(Some),
        false => Ok(None),
    };
    let blocks = unit_blocks(cell);
    let mut sums = match blocks {
        0 => None,
        _ => Some(device.zeroed_array(op, &[d, b, blocks * h])?),
    };
    let mut projected = when(pass.spec.proj_size > 0, &[n, d, p])?;
    let mut products = when(cell.layer_norm, &[n, d, g, h])?;
    let (dh, carry) = state.buffer.make_mut()?.split_at_mut(pass.dims.state());
    run_backward(
        device.threads(),
        BackwardArgs {
            layer,
            spec: cell,
            weights: &weights,
            forward: pass.weights,
            gates: kept.gates.buffer.make_mut()?,
            aux: values_mut(&mut kept.aux)?,
            y: &kept.y.buffer,
            dy: &dy.buffer,
            h0,
            c0: c0.as_ref().map_or(&[], |c0| values_of(c0, pass.dims.cells())),
            dh,
            carry,
            sums: values_mut(&mut sums)?,
            projected: values_mut(&mut projected)?,
            products: values_mut(&mut products)?,
        },
    );
    let made = Made { layer, pass, h0, sums, projected, products };
    let mut grads = (0..d).map(|_| empty_grads(device, &pass)).collect::<Result<Vec<_>>>()?;
    // This comes first: it turns the gradients of the gates into those of the input's products, which dx and dW need.
    for (direction, own) in grads.iter_mut().enumerate() {
        made.input_norm(direction, &mut kept, own)?;
    }
    let mut dx = None;
    if want_dx {
        let mut array = device.array(op, &pass.rows(pass.inputs))?;
        input_grads(device.threads(), layer, &kept.gates.buffer, &weights, array.buffer.make_mut()?);
        dx = Some(array);
    }
    for (direction, own) in grads.iter_mut().enumerate() {
        made.weights(device, direction, &kept, own)?;
        made.per_unit(direction, own)?;
    }
    Ok(LayerGrads { state, dx, weights: grads, kept })
}

/// Results of the backward loops other than the gradients of gates and states.
struct Made<'a> {
    layer: Layer<'a>,
    pass: LayerPass<'a, LayerWeights>,
    h0: &'a [f32],
    /// [D, B, K*H]: gradients per unit of every batch row
    sums: Option<CpuArray>,
    /// [N, D, P]: gradients of projected h
    projected: Option<CpuArray>,
    /// [N, D, G, H]: gradients of the recurrent products, in layer normalisation
    products: Option<CpuArray>,
}

impl Made<'_> {
    /// Backward of the normalisation of the input's products, for one direction: overwrites the gradients of its gates.
    /// Does nothing for a layer without.
    fn input_norm(
        &self,
        direction: usize,
        kept: &mut SavedLayer<CpuArray>,
        own: &mut PerParameter<CpuArray>,
    ) -> Result<()> {
        let [gain, b_ih, b_hh] =
            own.get_disjoint_mut([Parameter::NormIh, Parameter::BiasIh, Parameter::BiasHh]);
        let Some(gain) = gain else { return Ok(()) };
        input_norm_grads(NormGrads {
            layer: self.layer,
            spec: &self.pass.spec.cell,
            weights: self.pass.weights,
            d: direction,
            x: &kept.x.buffer,
            gates: kept.gates.buffer.make_mut()?,
            aux: values(&kept.aux),
            gain: gain.buffer.make_mut()?,
            biases: pair(b_ih, b_hh)?,
        });
        Ok(())
    }

    /// Gradients of the matrices of one direction, and of its biases unless [`Made::input_norm`] has written them.
    fn weights(
        &self,
        device: &CpuDevice,
        direction: usize,
        kept: &SavedLayer<CpuArray>,
        own: &mut PerParameter<CpuArray>,
    ) -> Result<()> {
        let cell = &self.pass.spec.cell;
        let [w_ih, w_hh, b_ih, b_hh, w_hr] = own.get_disjoint_mut([
            Parameter::WeightIh,
            Parameter::WeightHh,
            Parameter::BiasIh,
            Parameter::BiasHh,
            Parameter::WeightHr,
        ]);
        let dbiases = if cell.layer_norm { None } else { pair(b_ih, b_hh)? };
        let (Some(w_ih), Some(w_hh)) = (w_ih, w_hh) else { unreachable!("every cell has two matrices") };
        let aux = values(&kept.aux);
        weight_grads(
            device.threads(),
            WeightGrads {
                layer: self.layer,
                spec: cell,
                d: direction,
                x: &kept.x.buffer,
                y: &kept.y.buffer,
                h0: self.h0,
                gates: &kept.gates.buffer,
                aux,
                products: values(&self.products),
                dw_ih: w_ih.buffer.make_mut()?,
                dw_hh: w_hh.buffer.make_mut()?,
                dbiases,
            },
        );
        if let (Some(w_hr), Some(projected)) = (w_hr, &self.projected) {
            let out = w_hr.buffer.make_mut()?;
            projection_grads(device.threads(), self.layer, direction, [&projected.buffer, aux], out);
        }
        Ok(())
    }

    /// Gradients of one direction's weights per unit: the sums over the batch.
    fn per_unit(&self, direction: usize, own: &mut PerParameter<CpuArray>) -> Result<()> {
        let Some(sums) = &self.sums else { return Ok(()) };
        let cell = &self.pass.spec.cell;
        let mut of_units = vec![0.0; unit_blocks(cell) * self.pass.dims.h];
        sum_rows(self.layer, direction, &sums.buffer, &mut of_units);
        let mut rest = &of_units[..];
        for (parameter, _) in unit_parameters(cell) {
            let grad = &mut own[parameter];
            let (values, others) = rest.split_at(grad.len());
            grad.buffer.make_mut()?.copy_from_slice(values);
            rest = others;
        }
        Ok(())
    }
}

/// Arrays for the gradients of one direction's parameters.
fn empty_grads(device: &CpuDevice, pass: &LayerPass<'_, LayerWeights>) -> Result<PerParameter<CpuArray>> {
    let mut grads = PerParameter::default();
    for parameter in Parameter::ALL {
        let dims = match parameter {
            Parameter::WeightIh => Some(vec![pass.spec.gate_rows(), pass.inputs]),
            // All other shapes are the same in all layers.
            _ => pass.spec.parameter_dims(0, parameter),
        };
        if let Some(dims) = dims {
            grads.set(parameter, device.array(pass.op, &dims)?);
        }
    }
    Ok(grads)
}

/// The part of a pass that the loops need.
fn layer_of<'a>(pass: &LayerPass<'a, LayerWeights>) -> Layer<'a> {
    let LayerPass { spec, ragged, direction, noise, .. } = *pass;
    Layer { dims: pass.dims.layer(pass.inputs), order: spec.direction, ragged, direction, noise }
}

/// `len` values of a state.
fn values_of<'a>(state: &State<&'a CpuArray>, len: usize) -> &'a [f32] {
    &state.array.buffer[state.offset..][..len]
}

/// The values of an array; empty without an array.
fn values(array: &Option<CpuArray>) -> &[f32] {
    array.as_ref().map_or(&[], |array| &array.buffer)
}

/// The values of an array, to be written; empty without an array.
fn values_mut(array: &mut Option<CpuArray>) -> Result<&mut [f32]> {
    match array {
        Some(array) => array.buffer.make_mut(),
        None => Ok(&mut []),
    }
}

/// The values of two arrays, to be written, if both exist.
fn pair<'a>(
    first: Option<&'a mut CpuArray>,
    second: Option<&'a mut CpuArray>,
) -> Result<Option<[&'a mut [f32]; 2]>> {
    match (first, second) {
        (Some(first), Some(second)) => Ok(Some([first.buffer.make_mut()?, second.buffer.make_mut()?])),
        _ => Ok(None),
    }
}
