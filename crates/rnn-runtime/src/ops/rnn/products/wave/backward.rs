//! The backward pass of layers side by side.

use super::{SavedWave, Wave, column, into_column};
use crate::array::{Array, DType};
use crate::error::Result;
use crate::gpu;
use crate::gpu::rnn_options::RingParts;
use crate::gpu::rnn_pack::padded;
use crate::gpu::rnn_rows::replace_last_gate;
use crate::ops::copy::{copy_into, slice};
use crate::ops::dropout::dropout;
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::reduce::sum_axis;
use crate::ops::rnn::backward::OfLayer;
use crate::ops::rnn::products::backward::Collected;
use crate::ops::rnn::products::{whole, with_width};
use crate::ops::rnn::{
    CellWeights, Dims, StackCotangents, StackDraws, StackGrads, State, Wanted, input_mask, output_mask,
};
use crate::ops::widen;
use std::ops::Range;

const OP: &str = "rnn::backward";

impl Wave<'_> {
    /// The backward pass; [`backward`](crate::ops::rnn::backward()) has checked its arguments.
    pub(in crate::ops::rnn) fn backward(
        &self,
        saved: SavedWave,
        zero_h0: bool,
        draws: Option<StackDraws>,
        cotangents: &StackCotangents<'_>,
        wanted: Wanted,
    ) -> Result<StackGrads> {
        let Dims { t, b, h, n, .. } = self.dims;
        let (spec, layers, p) = (self.spec, self.spec.num_layers, padded(h));
        let SavedWave { kept, inputs, h0, c0, lag } = saved;
        // Kernels that stored y in f16 take the gates as they are.
        let half = kept.y.dtype() == DType::F16;
        let kept = if half { kept } else { kept.with_gates(DType::F32)? };
        let device = kept.gates.device().clone();
        let pass = self.pass(OP);
        let mut dy = Array::alloc_zeroed(&device, OP, &[n, layers, p])?;
        if let Some(given) = cotangents.dy {
            let mut given = widen(OP, "dy", given)?.into_owned();
            if let Some(mask) = output_mask(spec, draws, self.dims) {
                given = dropout(&given, &mask)?;
            }
            copy_into(&into_column(n, h, [layers * p, (layers - 1) * p]), &given, &mut dy)?;
        }
        let of_layers =
            OfLayer { spec, packed: self.packed, layer: 0, dims: pass.dims, zero_h0, want_dx: false };
        let state = of_layers.final_cotangents(cotangents, None)?;
        let mut setup = self.setup(&pass)?;
        let per_unit = self.per_unit()?;
        let sums = spec.cell.peephole || spec.cell.independent;
        let initial = c0.as_ref().unwrap_or(&h0);
        let initial = Some((initial, layers * b * p));
        let options = pass.options(&mut setup, &device, per_unit.as_ref(), initial, None)?;
        let Some(options) = options else { unreachable!("there is an initial state") };
        let parts = RingParts::backward(pass.padded_dims(), spec, n);
        let vectors = setup.place_ring(pass.padded_dims(), parts);
        let ring = Array::alloc(&device, OP, &[4 * vectors])?;
        let planes = if sums || setup.mixes { 3 + setup.params.cell_planes as usize } else { 2 };
        let of = Collected { pass, kept, zero_h0, state };
        let flow = of.padded_flow(planes)?;
        let recurrent = self.recurrent(true, half)?;
        let kept = &of.kept;
        // From T + (L-1) lag, where the last layer starts, down to 0.
        let ticks = t + (layers - 1) * lag + 1;
        for window in 0..ticks.div_ceil(lag) {
            let top = ticks - window * lag;
            gpu::rnn::backward(
                self.gpu,
                &gpu::rnn::Backward {
                    dims: pass.padded_dims(),
                    spec: &spec.cell,
                    setup: &setup,
                    half,
                    weights: recurrent.gpu(),
                    gates: kept.gates.gpu(),
                    aux: kept.aux.as_ref().map(Array::gpu),
                    y: kept.y.gpu(),
                    dy: dy.gpu(),
                    options: options.gpu(),
                    state: flow.gpu(),
                    ring: ring.gpu(),
                    ticks: Some(top.saturating_sub(lag)..top),
                },
            )?;
            for layer in 1..layers {
                // Tick k of a layer makes the gates' gradients of step k - 1; these ticks end below `end`.
                let Some(end) = top.checked_sub(layer * lag) else { continue };
                let steps = end.saturating_sub(lag).max(1) - 1..end.min(t + 1).max(1) - 1;
                if !steps.is_empty() {
                    self.input_gradient(draws, layer, &kept.gates, steps.start * b..steps.end * b, &mut dy)?;
                }
            }
        }
        let dx = match wanted.dx {
            true => Some(self.first_input_gradient(draws, &kept.gates)?),
            false => None,
        };
        let weights = self.weight_gradients(&of, &h0, &inputs, (&flow, planes))?;
        let states = of.cut_flow(&flow)?;
        let states = states.reshape(&[states.len()])?;
        let part = |wanted: bool, from: usize| match wanted {
            true => slice(&states, 0, from, from + layers * b * h)?.reshape(&[layers, b, h]).map(Some),
            false => Ok(None),
        };
        let dh0 = part(wanted.states, 0)?;
        let dc0 = part(wanted.states && spec.cell.kind.has_cell_state(), layers * b * h)?;
        Ok(StackGrads { dx, dh0, dc0, weights })
    }

    /// `dgates W` of some rows of a layer.
    fn product_with_weights(
        &self,
        layer: usize,
        gates: &Array,
        rows: Range<usize>,
        out: Output<'_>,
    ) -> Result<()> {
        let (columns, weights) = (padded(self.dims.h) * self.dims.g, self.layer(layer));
        let q = padded(self.spec.layer_input_size(layer));
        let w_ih = match gates.dtype() {
            DType::F16 => weights.half_w_ih()?,
            _ => weights.w_ih.clone(),
        };
        let row = self.spec.num_layers * columns;
        let args = GemmArgs {
            batch: 1,
            m: rows.len(),
            n: q,
            k: columns,
            a: Operand::rows(gates, row).at(rows.start * row + layer * columns),
            b: Operand::rows(&w_ih, q),
            bias: None,
            accumulate: false,
        };
        gemm(&args, out)
    }

    /// The gradient of some rows of what a layer was given, into the column of the layer below.
    fn input_gradient(
        &self,
        draws: Option<StackDraws>,
        layer: usize,
        gates: &Array,
        rows: Range<usize>,
        dy: &mut Array,
    ) -> Result<()> {
        let Dims { b, h, .. } = self.dims;
        let (p, row) = (padded(h), self.spec.num_layers * padded(h));
        let offset = rows.start * row + (layer - 1) * p;
        let masks = self.masks(draws, layer, rows.start / b);
        if masks.is_empty() {
            let out = Output { array: dy, offset, batch_stride: 0, ldc: row };
            return self.product_with_weights(layer, gates, rows, out);
        }
        let mut part = Array::alloc(gates.device(), OP, &[rows.len(), p])?;
        let out = Output { array: &mut part, offset: 0, batch_stride: 0, ldc: p };
        self.product_with_weights(layer, gates, rows.clone(), out)?;
        if p != h {
            let mut cut = Array::alloc(gates.device(), OP, &[rows.len(), h])?;
            copy_into(&column(rows.len(), [p, h], h, 0), &part, &mut cut)?;
            part = cut;
        }
        for mask in masks.iter().rev() {
            part = dropout(&part, mask)?;
        }
        copy_into(&into_column(rows.len(), h, [row, offset]), &part, dy)
    }

    /// The gradient of x, `[T, B, I]`.
    fn first_input_gradient(&self, draws: Option<StackDraws>, gates: &Array) -> Result<Array> {
        let Dims { t, b, n, .. } = self.dims;
        let (inputs, q) = (self.spec.input_size, padded(self.spec.input_size));
        let mut dx = Array::alloc(gates.device(), OP, &[n, q])?;
        self.product_with_weights(0, gates, 0..n, whole(&mut dx, q))?;
        if q != inputs {
            dx = with_width(OP, &dx, 0, n, [q, inputs])?;
        }
        let dx = dx.reshape(&[t, b, inputs])?;
        match input_mask(self.spec, draws, 0, self.dims) {
            Some(mask) => dropout(&dx, &mask),
            None => Ok(dx),
        }
    }

    /// The gradients of all weights, when those of the gates of all layers are there.
    fn weight_gradients(
        &self,
        of: &Collected<'_>,
        h0: &State,
        inputs: &[Option<Array>],
        (flow, planes): (&Array, usize),
    ) -> Result<Vec<CellWeights>> {
        let (gpu, spec, kept) = (self.gpu, self.spec, &of.kept);
        let Dims { h, g, n, .. } = self.dims;
        let (layers, p) = (spec.num_layers, padded(h));
        let sums_of = |gates: &Array| match spec.bias {
            true => sum_axis(&gates.reshape(&[n, layers * p * g])?, 0).map(Some),
            false => Ok(None),
        };
        let of_input = sums_of(&kept.gates)?;
        let mut w_ih = Vec::with_capacity(layers);
        for layer in 0..layers {
            let x = match layer.checked_sub(1).map(|below| (below, &inputs[below])) {
                None => Operand::rows(&kept.x, padded(spec.input_size)),
                Some((_, Some(own))) => Operand::rows(own, p),
                Some((below, None)) => Operand::rows(&kept.y, layers * p).at(below * p),
            };
            w_ih.push(of.input_weights(gpu, &kept.gates, (x, spec.layer_input_size(layer)), layer)?);
        }
        // A last gate that stays apart has its recurrent gradient in aux.
        let apart = spec.cell.last_gate_apart();
        let of_recurrence = match &kept.aux {
            Some(aux) if apart => {
                let half = kept.gates.dtype() == DType::F16;
                replace_last_gate(gpu, aux.gpu(), (kept.gates.gpu(), half), aux.len(), g)?;
                sums_of(&kept.gates)?
            }
            _ => of_input.clone(),
        };
        let sums = spec.cell.peephole || spec.cell.independent;
        let per_unit = if sums { Some(of.unit_sums(flow, planes - 3)?) } else { None };
        let mut grads = Vec::with_capacity(layers);
        for (layer, w_ih) in w_ih.into_iter().enumerate() {
            let bias = |sums: &Option<Array>| match sums {
                Some(sums) => of.blocked(gpu, sums, layer * p * g, [1, 1], &[g * h]).map(Some),
                None => Ok(None),
            };
            let w_hh = match &per_unit {
                Some(sums) if spec.cell.independent => of.unit_rows(sums, layer, &[0])?,
                _ => of.recurrent_weights(gpu, h0, layer, false)?,
            };
            let b_ih = bias(&of_input)?;
            let b_hh = if apart { bias(&of_recurrence)? } else { b_ih.clone() };
            let mut cell = CellWeights { b_ih, b_hh, ..CellWeights::new(w_ih, w_hh) };
            if let (Some(sums), true) = (&per_unit, spec.cell.peephole) {
                let planes: &[usize] = if spec.cell.coupled { &[0, 2] } else { &[0, 1, 2] };
                cell.peephole = Some(of.unit_rows(sums, layer, planes)?);
            }
            grads.push(cell);
        }
        Ok(grads)
    }
}
