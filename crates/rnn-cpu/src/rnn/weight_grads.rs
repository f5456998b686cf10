//! Gradients of a layer's weights from those of its gates: dW, dU and the biases in one pass over the
//! gate gradients of all steps.

mod job;
mod operands;

use super::super::simd;
use super::super::team::{self, Shared};
use super::noise::sequence_masks;
use super::pass::Layer;
use job::{Job, JobOf};
use operands::{LayerPass, Side, Source};
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

/// Arrays of the pass, one direction.
pub struct WeightGrads<'a> {
    /// Which pass
    pub layer: Layer<'a>,
    /// The cell
    pub spec: &'a CellSpec,
    /// Direction within the pass: 0 or 1.
    pub d: usize,
    /// [T, B, I]
    pub x: &'a [f32],
    /// [T, B, D, H]
    pub y: &'a [f32],
    /// [D, B, H]
    pub h0: &'a [f32],
    /// [T, B, D, G, H]: gradients of the pre-activations
    pub gates: &'a [f32],
    /// [T, B, D, H]: gradient of `U_n h + b_hn` (GRU), or `r*h` (GRU with the reset gate before the product)
    pub aux: &'a [f32],
    /// [T, B, D, G, H]: gradient of `U h` with layer normalisation
    pub products: &'a [f32],
    /// [G*H, I]
    pub dw_ih: &'a mut [f32],
    /// [G*H, P]; not written for an independent recurrence
    pub dw_hh: &'a mut [f32],
    /// `[G*H]` each, or absent
    pub dbiases: Option<[&'a mut [f32]; 2]>,
}

/// The products of a cell. With layer normalisation, input and state have different gradients. A GRU has a different
/// gradient or a different right side for the state in its last gate. An independent recurrence has no product with the
/// state.
fn jobs(spec: &CellSpec, hidden: usize, parts: usize) -> Vec<Job> {
    let rows = spec.gates() * hidden;
    let last = rows - hidden;
    let whole: &[(Source, usize, usize, usize, &'static [Side])] = if spec.layer_norm {
        &[(Source::Gates, 0, rows, 0, &[Side::Input]), (Source::Products, 0, rows, 0, &[Side::Recurrent])]
    } else if !spec.reset_after {
        &[
            (Source::Gates, 0, last, 0, &[Side::Input, Side::Recurrent]),
            (Source::Gates, last, rows, 0, &[Side::Input, Side::Reset]),
        ]
    } else if spec.linear_before_reset() {
        &[
            (Source::Gates, 0, last, 0, &[Side::Input, Side::Recurrent]),
            (Source::Gates, last, rows, 0, &[Side::Input]),
            (Source::Aux, 0, hidden, last, &[Side::Recurrent]),
        ]
    } else if spec.independent {
        &[(Source::Gates, 0, rows, 0, &[Side::Input])]
    } else {
        &[(Source::Gates, 0, rows, 0, &[Side::Input, Side::Recurrent])]
    };
    let mut jobs = Vec::new();
    for &(source, first, end, row, sides) in whole {
        for part in 0..parts {
            let at = |n: usize| first + n * (end - first) / parts;
            if at(part) < at(part + 1) {
                jobs.push(Job { source, columns: (at(part), at(part + 1)), row, sides });
            }
        }
    }
    jobs
}

/// Runs the pass on up to `threads` threads. Every element is one sum over time in a fixed order, so the number of threads
/// changes no bit.
pub fn weight_grads(threads: usize, args: WeightGrads<'_>) {
    let layer = args.layer;
    let LayerDims { batch, inputs, hidden, state, directions, .. } = layer.dims;
    let (rows, total) = (args.spec.gates() * hidden, layer.len());
    assert!(args.x.len() >= total * inputs && args.y.len() >= total * directions * state);
    assert!(args.gates.len() >= total * directions * rows);
    assert!(args.h0.len() >= batch * directions * state);
    let reads_aux = args.spec.linear_before_reset() || !args.spec.reset_after;
    assert!(!reads_aux || args.aux.len() >= total * directions * hidden);
    assert!(!args.spec.layer_norm || args.products.len() >= total * directions * rows);
    assert!(args.dw_ih.len() >= rows * inputs);
    assert!(args.spec.independent || args.dw_hh.len() >= rows * state);
    let dbiases = args.dbiases.map(|[b_ih, b_hh]| {
        assert!(b_ih.len() >= rows && b_hh.len() >= rows);
        [Shared(b_ih.as_mut_ptr()), Shared(b_hh.as_mut_ptr())]
    });
    let pass = LayerPass {
        layer,
        d: args.d,
        gate_rows: rows,
        independent: args.spec.independent,
        x: args.x,
        y: args.y,
        h0: args.h0,
        gates: args.gates,
        aux: args.aux,
        products: args.products,
        dw_ih: Shared(args.dw_ih.as_mut_ptr()),
        dw_hh: Shared(args.dw_hh.as_mut_ptr()),
        dbiases,
        steps_of_rows: steps_of_rows(&layer),
        masks: sequence_masks(&layer, args.d),
        zeros: vec![0.0; if layer.ragged.is_some() { state } else { 0 }],
    };
    let small = total * rows * (inputs + state) < 1 << 18;
    let jobs = jobs(args.spec, hidden, if small { 1 } else { threads });
    team::each(jobs.len(), |n| simd::dispatch(simd::isa(), JobOf { pass: &pass, job: &jobs[n] }));
}

/// The step of every row of a packed sequence.
fn steps_of_rows(layer: &Layer<'_>) -> Vec<u32> {
    let Some(ragged) = layer.ragged else { return Vec::new() };
    let steps = 0..layer.dims.steps;
    steps.flat_map(|s| std::iter::repeat_n(s as u32, ragged.count(s))).collect()
}
