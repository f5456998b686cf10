//! The backward pass of a stack.

use super::forward::cpu_slice;
use super::{
    CellWeights, Dims, LayerGrads, Packed, PackedLayer, Saved, SavedLayer, StackCotangents, StackGrads,
    Wanted, layer_mask,
};
use crate::array::Array;
use crate::cpu;
use crate::device::{Device, on_device};
use crate::error::{Error, Result};
use crate::ops::copy::{StridedCopy, copy_into};
use crate::ops::dropout::dropout;
use crate::ops::widen;
use rnn_kernels::cell::StackSpec;

/// Runs the stack backwards. Consumes what the forward pass saved: the gradients overwrite the
/// saved gates.
///
/// # Errors
/// Cotangents of the wrong shape or device, a `dc_n` for a cell without a cell state.
pub fn backward(
    spec: &StackSpec,
    packed: &Packed,
    saved: Saved,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
) -> Result<StackGrads> {
    const OP: &str = "rnn::backward";
    let Saved { layers, h0, zero_h0, c0, dims, dropout: mask } = saved;
    let Dims { t, b, h, d, .. } = dims;
    let device = h0.device().clone();
    check_cotangents(OP, spec, dims, &device, cotangents)?;
    let state = |of: Option<&Array>| match of.filter(|_| wanted.states) {
        Some(of) => Array::alloc(&device, OP, of.dims()).map(Some),
        None => Ok(None),
    };
    let (mut dh0, mut dc0) = (state(Some(&h0))?, state(c0.as_ref())?);
    let mut dy = match cotangents.dy {
        Some(dy) => widen(OP, "dy", dy)?.into_owned(),
        None => Array::alloc_zeroed(&device, OP, &[t, b, d * h])?,
    };
    let mut weights = Vec::with_capacity(spec.num_states());
    let mut dx = None;
    for (layer, kept) in layers.into_iter().enumerate().rev() {
        if let Some(mask) = layer_mask(spec, mask, layer, dims) {
            dy = dropout(&dy, &mask)?;
        }
        let (c0, want_dx) = (c0.as_ref(), wanted.dx || layer > 0);
        let args = LayerArgs { op: OP, spec, dims, layer, dy: &dy, h0: &h0, zero_h0, c0, want_dx };
        let state = args.final_cotangents(cotangents)?;
        let grads = args.run(&packed.layers[layer], kept, state)?;
        if let Some(dh0) = &mut dh0 {
            copy_state(dims, &grads.state, 0, dh0, layer)?;
        }
        if let Some(dc0) = &mut dc0 {
            copy_state(dims, &grads.state, dims.state(), dc0, layer)?;
        }
        // Built from the last cell to the first and reversed below.
        weights.extend(grads.weights.into_iter().rev());
        match grads.dx {
            Some(below) if layer > 0 => dy = below,
            below => dx = below,
        }
    }
    weights.reverse();
    Ok(StackGrads { dx, dh0, dc0, weights })
}

fn check_cotangents(
    op: &'static str,
    spec: &StackSpec,
    dims: Dims,
    device: &Device,
    cotangents: &StackCotangents<'_>,
) -> Result<()> {
    let Dims { t, b, h, d, .. } = dims;
    let states = [spec.num_states(), b, h];
    let given = [
        ("dy", cotangents.dy, "[T, B, D*H]", [t, b, d * h]),
        ("dh_n", cotangents.dh_n, "[L*D, B, H]", states),
        ("dc_n", cotangents.dc_n, "[L*D, B, H]", states),
    ];
    for (name, array, axes, dims) in given {
        if let Some(array) = array {
            array.expect_device(op, name, device)?;
            array.expect_dims(op, name, axes, &dims)?;
        }
    }
    if cotangents.dc_n.is_some() && !spec.cell.kind.has_cell_state() {
        return Err(Error::Value {
            op,
            arg: "dc_n",
            expected: "absent: only an LSTM has a cell state".into(),
            got: "present".into(),
        });
    }
    Ok(())
}

/// Copies one half of `[2, D, B, H]`, starting at `offset`, to the states of `layer`.
fn copy_state(dims: Dims, state: &Array, offset: usize, to: &mut Array, layer: usize) -> Result<()> {
    copy_into(
        &StridedCopy {
            dims: vec![dims.state()],
            src_strides: vec![1],
            src_offset: offset,
            dst_strides: vec![1],
            dst_offset: layer * dims.state(),
        },
        state,
        to,
    )
}

/// The arguments of one layer's backward pass.
pub(super) struct LayerArgs<'a> {
    pub(super) op: &'static str,
    pub(super) spec: &'a StackSpec,
    pub(super) dims: Dims,
    pub(super) layer: usize,
    /// [T, B, D*H]
    pub(super) dy: &'a Array,
    /// [L*D, B, H]
    pub(super) h0: &'a Array,
    /// Whether h0 is zero because none was given.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "a product that the GPU saves"))]
    pub(super) zero_h0: bool,
    /// [L*D, B, H]
    pub(super) c0: Option<&'a Array>,
    pub(super) want_dx: bool,
}

impl LayerArgs<'_> {
    fn run(&self, packed: &PackedLayer, kept: SavedLayer, state: Array) -> Result<LayerGrads> {
        on_device!(
            self.dy.device(),
            Cpu(cpu) => self.run_cpu(cpu, packed.cpu(), kept, state),
            Gpu(gpu) => self.run_gpu(gpu, packed.gpu(), kept, state),
        )
    }

    /// The cotangents of the layer's final states, `[2, D, B, H]`.
    fn final_cotangents(&self, cotangents: &StackCotangents<'_>) -> Result<Array> {
        let Dims { b, h, d, .. } = self.dims;
        let size = self.dims.state();
        let mut state = Array::alloc_zeroed(self.dy.device(), self.op, &[2, d, b, h])?;
        for (half, (name, given)) in
            [("dh_n", cotangents.dh_n), ("dc_n", cotangents.dc_n)].into_iter().enumerate()
        {
            if let Some(given) = given {
                let given = widen(self.op, name, given)?;
                copy_into(
                    &StridedCopy {
                        dims: vec![size],
                        src_strides: vec![1],
                        src_offset: self.layer * size,
                        dst_strides: vec![1],
                        dst_offset: half * size,
                    },
                    &given,
                    &mut state,
                )?;
            }
        }
        Ok(state)
    }

    fn run_cpu(
        &self,
        cpu: &cpu::CpuDevice,
        packed: &cpu::rnn::LayerWeights,
        mut kept: SavedLayer,
        mut state: Array,
    ) -> Result<LayerGrads> {
        let Dims { t, b, h, d, g, .. } = self.dims;
        let (device, size) = (self.dy.device(), self.dims.state());
        let inputs = self.spec.layer_input_size(self.layer);
        let (dims, first) = (self.dims.layer(inputs), self.layer * size);
        let h0 = &self.h0.cpu()[first..][..size];
        let weights = packed.backward(cpu)?;
        let (dh, carry) = state.cpu_mut().make_mut()?.split_at_mut(size);
        cpu::rnn::backward(
            cpu.threads(),
            cpu::rnn::Backward {
                dims,
                spec: &self.spec.cell,
                weights: &weights,
                gates: kept.gates.cpu_mut().make_mut()?,
                aux: cpu_slice(&mut kept.aux)?,
                y: kept.y.cpu(),
                dy: self.dy.cpu(),
                h0,
                c0: self.c0.map_or(&[], |c0| &c0.cpu()[first..][..size]),
                dh,
                carry,
            },
        );
        let gates = kept.gates.cpu();
        let mut dx = None;
        if self.want_dx {
            let mut array = Array::alloc(device, self.op, &[t, b, inputs])?;
            cpu::rnn::input_grads(cpu.threads(), dims, gates, &weights, array.cpu_mut().make_mut()?);
            dx = Some(array);
        }
        let mut grads = Vec::with_capacity(d);
        for direction in 0..d {
            let alloc = |dims: &[usize]| Array::alloc(device, self.op, dims);
            let (mut w_ih, mut w_hh) = (alloc(&[g * h, inputs])?, alloc(&[g * h, h])?);
            let bias = || if self.spec.bias { alloc(&[g * h]).map(Some) } else { Ok(None) };
            let (mut b_ih, mut b_hh) = (bias()?, bias()?);
            cpu::rnn::weight_grads(
                cpu.threads(),
                cpu::rnn::WeightGrads {
                    dims,
                    spec: &self.spec.cell,
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
            grads.push(CellWeights { w_ih, w_hh, b_ih, b_hh });
        }
        Ok(LayerGrads { state, dx, weights: grads })
    }
}
