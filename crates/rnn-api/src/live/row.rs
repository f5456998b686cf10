//! A recurrent layer in real time, for the streams of [`crate::nn`].

use super::error::LiveError;
use super::stage::all_finite;
use crate::error::Result;
use crate::nn::{Recurrent, RecurrentState};
use crate::tensor::Tensor;
use rnn_runtime::live::{FlushSubnormals, LiveStack};
use rnn_runtime::ops::rnn::{host_values, host_values_mut, live_problem, live_stack};

/// The stack that a stream runs in real time. The stream's tensors hold the state between calls.
pub(crate) struct LiveRow {
    stack: std::result::Result<LiveStack, &'static str>,
    /// Whether the stack has the state of the tensors. Always false where the batch has several rows, which share the
    /// stack.
    fresh: bool,
    /// h and c `[L, H]` of a row in the initial state; empty where the stack cannot run.
    initial: [Vec<f32>; 2],
}

/// The state of a stream: h and c `[L, B, H]`.
pub(crate) type StateTensors<'a> = (&'a mut Tensor, Option<&'a mut Tensor>);

impl LiveRow {
    /// `initial` is the initial state of one row.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn new(layer: &Recurrent, initial: &impl RecurrentState) -> Result<Self> {
        let packed = layer.packed()?;
        let spec = layer.spec();
        if let Some(why) = live_problem(spec, &packed) {
            return Ok(LiveRow { stack: Err(why), fresh: false, initial: [const { Vec::new() }; 2] });
        }
        let stack = live_stack(spec, &packed, layer.inference_weights())?;
        let c = initial.cell().map(Tensor::to_vec).transpose()?.unwrap_or_default();
        Ok(LiveRow { stack: Ok(stack), fresh: false, initial: [initial.hidden().to_vec()?, c] })
    }

    /// To be called when the state's tensors have changed elsewhere.
    pub(crate) fn forget(&mut self) {
        self.fresh = false;
    }

    /// Steps on `x` `[n, B, I]` to `y` `[n, B, H]`. Without an `n`, the number of steps is that of x.
    pub(crate) fn run(
        &mut self,
        op: &'static str,
        steps: Option<usize>,
        (mut h, mut c): StateTensors<'_>,
        (x, y): (&[f32], &mut [f32]),
    ) -> std::result::Result<(), LiveError> {
        let stack = self.stack.as_mut().map_err(|why| LiveError::Unsupported { op, why })?;
        let (inputs, hidden) = (stack.inputs(), stack.hidden());
        let batch = h.dims().get(1).copied().unwrap_or(1);
        let of = batch.saturating_mul(inputs);
        let steps = match steps {
            Some(steps) if x.len() == steps.saturating_mul(of) => steps,
            Some(steps) => {
                let expected = steps.saturating_mul(of);
                return Err(LiveError::Length { op, arg: "x", expected, got: x.len() });
            }
            None if x.len().is_multiple_of(of) => x.len() / of,
            None => return Err(LiveError::Samples { op, arg: "x", of, got: x.len() }),
        };
        let expected = steps.saturating_mul(batch).saturating_mul(hidden);
        if y.len() != expected {
            return Err(LiveError::Length { op, arg: "y", expected, got: y.len() });
        }
        // Both before any step, so that an error changes nothing.
        let state = own(&mut h)?;
        let cells = c.as_mut().map(own).transpose()?;
        let cells = cells.unwrap_or(&mut []);
        let _flushed = FlushSubnormals::on();
        for row in 0..batch {
            let places = |layer: usize| (layer * batch + row) * hidden;
            if !self.fresh || batch > 1 {
                for layer in 0..stack.num_layers() {
                    let first = places(layer);
                    stack.set_state(
                        layer,
                        &state[first..][..hidden],
                        cells.get(first..first + hidden).unwrap_or(&[]),
                    );
                }
            }
            for step in 0..steps {
                let at = step * batch + row;
                let h = stack.step(&x[at * inputs..][..inputs]);
                y[at * hidden..][..hidden].copy_from_slice(h);
            }
            for layer in 0..stack.num_layers() {
                let (h, c) = stack.state(layer);
                let first = places(layer);
                state[first..][..hidden].copy_from_slice(h);
                if !c.is_empty() {
                    cells[first..][..hidden].copy_from_slice(c);
                }
            }
        }
        self.fresh = batch == 1;
        Ok(())
    }

    /// Back to the initial state.
    pub(crate) fn reset(
        &mut self,
        op: &'static str,
        (mut h, mut c): StateTensors<'_>,
    ) -> std::result::Result<(), LiveError> {
        let stack = self.stack.as_ref().map_err(|why| LiveError::Unsupported { op, why })?;
        let (hidden, batch) = (stack.hidden(), h.dims().get(1).copied().unwrap_or(1));
        // Both before any change, as in `run`.
        let h = own(&mut h)?;
        let c = c.as_mut().map(own).transpose()?.unwrap_or(&mut []);
        for (values, initial) in [h, c].into_iter().zip(&self.initial) {
            let layers = values.chunks_exact_mut(batch * hidden).zip(initial.chunks_exact(hidden));
            for (rows, initial) in layers {
                rows.chunks_exact_mut(hidden).for_each(|row| row.copy_from_slice(initial));
            }
        }
        self.fresh = false;
        Ok(())
    }
}

/// Whether all values of a state's tensor are finite; in real time on the CPU.
///
/// # Errors
/// A failing device, or no memory for a copy from it.
pub(crate) fn finite(tensor: &Tensor) -> Result<bool> {
    match host_values(tensor.array()) {
        Some(values) => Ok(all_finite(values)),
        None => Ok(all_finite(&tensor.to_vec()?)),
    }
}

/// The values of a state's tensor, to be written.
fn own<'a>(tensor: &'a mut &mut Tensor) -> std::result::Result<&'a mut [f32], LiveError> {
    host_values_mut(tensor.array_mut()).map_err(|_| LiveError::NoMemory)
}

/// Gives a state memory of its own, so that the next call in real time need not copy what a snapshot shares.
///
/// # Errors
/// No memory.
pub(crate) fn unshare((h, c): StateTensors<'_>) -> Result<()> {
    for tensor in [Some(h), c].into_iter().flatten() {
        if host_values(tensor.array()).is_some() {
            host_values_mut(tensor.array_mut())?;
        }
    }
    Ok(())
}
