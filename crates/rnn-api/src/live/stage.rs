//! The stages of a pipeline: each has its own output, which the next one reads.

use crate::error::Result;
use rnn_kernels::cell::Activation;
use rnn_runtime::host_memory;
use rnn_runtime::live::{LiveDense, LiveStack, activate_in_place, softmax_in_place, unary_in_place};
use rnn_runtime::ops::pointwise::UnaryOp;

/// What a stage computes.
pub(super) enum Kind {
    Recurrent(LiveStack),
    Linear(LiveDense),
    Unary(UnaryOp),
    Activation(Activation),
    Softmax,
    /// Adds the first inputs of the pipeline.
    Residual,
}

/// A stage and its output.
pub(super) struct Stage {
    pub(super) kind: Kind,
    /// Values of a sample that it returns.
    pub(super) width: usize,
    /// `[width]`; empty before [`prepare`](Self::prepare), and for a recurrent stage, whose output is its state.
    out: Vec<f32>,
}

impl Stage {
    pub(super) fn new(kind: Kind, width: usize) -> Self {
        Stage { kind, width, out: Vec::new() }
    }

    /// Does what the first sample must not do.
    ///
    /// # Errors
    /// No memory for the output.
    pub(super) fn prepare(&mut self, op: &'static str) -> Result<()> {
        if !matches!(self.kind, Kind::Recurrent(_)) {
            let what = || format!("the output of a stage of {} values", self.width);
            self.out = host_memory::filled(op, what, self.width, 0.0)?;
        }
        if let Kind::Activation(activation) = self.kind {
            // The first one of a process chooses its instructions, with a lock and a variable of the environment.
            activate_in_place(activation, &mut []);
        }
        Ok(())
    }

    /// L, H, and the number of arrays of a recurrent stage's state.
    pub(super) fn state_layout(&self) -> Option<[usize; 3]> {
        let Kind::Recurrent(stack) = &self.kind else { return None };
        let parts = if stack.state(0).1.is_empty() { 1 } else { 2 };
        Some([stack.num_layers(), stack.hidden(), parts])
    }

    /// Whether all values of the state are finite; true without a state.
    pub(super) fn is_finite(&self) -> bool {
        let Kind::Recurrent(stack) = &self.kind else { return true };
        (0..stack.num_layers()).all(|layer| {
            let (h, c) = stack.state(layer);
            all_finite(h) && all_finite(c)
        })
    }

    /// One sample; the stage's output. `input` is that of the pipeline.
    #[inline]
    pub(super) fn run<'a>(&'a mut self, x: &'a [f32], input: &[f32]) -> &'a [f32] {
        match &mut self.kind {
            Kind::Recurrent(stack) => stack.step(x),
            kind => {
                kind.run_into(x, input, &mut self.out);
                &self.out
            }
        }
    }

    /// The same to a slice.
    #[inline]
    pub(super) fn run_into(&mut self, x: &[f32], input: &[f32], out: &mut [f32]) {
        self.kind.run_into(x, input, out);
    }
}

impl Kind {
    #[inline]
    fn run_into(&mut self, x: &[f32], input: &[f32], out: &mut [f32]) {
        match self {
            Kind::Linear(dense) => dense.apply(x, out),
            Kind::Recurrent(stack) => copy(out, stack.step(x)),
            kind => kind.change(x, input, out),
        }
    }

    /// What changes a copy of x.
    fn change(&mut self, x: &[f32], input: &[f32], out: &mut [f32]) {
        copy(out, x);
        match self {
            Kind::Unary(op) => unary_in_place(*op, out),
            Kind::Activation(activation) => activate_in_place(*activation, out),
            Kind::Softmax => softmax_in_place(out),
            Kind::Residual => out.iter_mut().zip(input).for_each(|(out, input)| *out += input),
            Kind::Recurrent(_) | Kind::Linear(_) => {}
        }
    }
}

/// A copy without a call for the most frequent case, one value.
#[inline]
pub(super) fn copy(to: &mut [f32], from: &[f32]) {
    match (to, from) {
        ([to], [from]) => *to = *from,
        (to, from) => to.copy_from_slice(from),
    }
}

/// Whether all values are finite. It looks at all of them, in a loop that becomes vectors.
pub(super) fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |all, value| all & value.is_finite())
}
