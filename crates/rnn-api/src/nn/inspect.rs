//! Search for the first value that is not finite: during an inspection, the recurrent layers of this thread
//! check every value they compute.

use crate::autograd::LeafId;
use crate::error::Result;
use crate::nn::output::Trace;
use crate::nn::scoped::with_value;
use crate::tensor::Tensor;
use rnn_kernels::cell::Direction;
use std::cell::RefCell;

/// The layers' reports, in the order in which they ran.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    pub(crate) layers: Vec<Seen>,
}

/// The report of one pass through a stack.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Id of its first parameter.
    pub(crate) layer: LeafId,
    /// Names of its gates, in the order of the rows of its weights.
    pub(crate) gates: &'static [&'static str],
    /// Zeros `[T, B, I]` that were added to the input; their gradient is that of the input.
    pub(crate) probe: Option<Tensor>,
    /// The first value that is not finite.
    pub(crate) first: Option<Spot>,
}

/// Position of a value that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Spot {
    Input {
        step: usize,
        row: usize,
        feature: usize,
    },
    InitialState {
        row: usize,
    },
    /// A gate by its name, or a state: c or h.
    Unit {
        layer: usize,
        reverse: bool,
        step: usize,
        row: usize,
        gate: &'static str,
        unit: usize,
    },
}

thread_local! {
    static RUNNING: RefCell<Option<Inspection>> = const { RefCell::new(None) };
}

/// Runs `body` under inspection.
pub(crate) fn inspect<R>(body: impl FnOnce() -> R) -> (R, Inspection) {
    let (result, seen) = with_value(&RUNNING, Inspection::default(), body);
    (result, seen.unwrap_or_default())
}

pub(crate) fn is_on() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

pub(crate) fn report(seen: Seen) {
    RUNNING.with_borrow_mut(|running| {
        if let Some(inspection) = running {
            inspection.layers.push(seen);
        }
    });
}

/// Index of the first value that is not finite.
fn first_bad(values: &[f32]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

/// The first bad value of an input `[T, B, I]`.
pub(crate) fn in_input(x: &Tensor) -> Result<Option<Spot>> {
    let &[_, batch, features] = x.dims() else { return Ok(None) };
    let spot = |at: usize| {
        let (step, row) = (at / features / batch, at / features % batch);
        Spot::Input { step, row, feature: at % features }
    };
    Ok(first_bad(&x.to_vec()?).map(spot))
}

/// The first bad value of a state `[L*D, B, H]`.
pub(crate) fn in_state(state: &Tensor) -> Result<Option<Spot>> {
    let &[_, batch, units] = state.dims() else { return Ok(None) };
    Ok(first_bad(&state.to_vec()?).map(|at| Spot::InitialState { row: at / units % batch }))
}

/// The first bad value of a layer, in the order in which each direction computes.
pub(crate) fn in_trace(
    (layer, order): (usize, Direction),
    names: &'static [&'static str],
    trace: &Trace,
) -> Result<Option<Spot>> {
    let &[steps, batch, directions, _, units] = trace.gates.dims() else { return Ok(None) };
    let mut tensors = vec![(&trace.gates, names, units)];
    tensors.extend(trace.c.as_ref().map(|c| (c, &["c"][..], units)));
    tensors.push((&trace.h, &["h"], trace.h.dims()[3]));
    // The number of steps before the value, and its position.
    let mut first: Option<(usize, Spot)> = None;
    for (tensor, names, width) in tensors {
        let values = tensor.to_vec()?;
        let block = names.len() * width;
        for d in 0..directions {
            let reverse = order.runs_backwards(d);
            let earlier = first.as_ref().map_or(steps, |(position, _)| *position);
            let found = (0..earlier).find_map(|position| {
                let step = if reverse { steps - 1 - position } else { position };
                let of_row = |row: usize| ((step * batch + row) * directions + d) * block;
                let bad = |row: usize| Some((row, first_bad(&values[of_row(row)..of_row(row) + block])?));
                let (row, at) = (0..batch).find_map(bad)?;
                let (gate, unit) = (names[at / width], at % width);
                Some((position, Spot::Unit { layer, reverse, step, row, gate, unit }))
            });
            first = found.or(first);
        }
    }
    Ok(first.map(|(_, spot)| spot))
}
