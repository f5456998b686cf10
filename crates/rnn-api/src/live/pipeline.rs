//! [`Pipeline`]: a small network as one object that runs in real time.

use super::error::LiveError;
use super::stage::{Kind, Stage, copy};
use rnn_kernels::cell::CellKind;
use rnn_runtime::live::FlushSubnormals;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A network that runs sample by sample in real time: recurrent stacks, linear layers, activations, a residual input. It
/// is made from the parts of a trained model, holds its own weights and state, and can be sent to another thread.
///
/// [`process`](Self::process), [`reset`](Self::reset), [`set_state`](Self::set_state),
/// [`copy_state`](Self::copy_state) and [`is_finite`](Self::is_finite) take no memory and no lock, call nothing of the system,
/// and do the same work for every sample. An output depends on its sample and those before: the latency is zero.
///
/// A NaN that comes in makes the state NaN, and all outputs from then on. A program that cannot rule it out asks
/// [`is_finite`](Self::is_finite) after a block, and calls [`reset`](Self::reset).
///
/// Recurrent stages have the bits of [`RecurrentStream::step`](crate::nn::RecurrentStream::step). A linear stage sums in
/// another order than [`Linear`](crate::nn::Linear), which is faster for one row; it differs by rounding only.
///
/// ```
/// use rnn_api::live::Pipeline;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let lstm = LstmConfig::new(1, 16).init(&device, 1)?;
/// let head = LinearConfig::new(16, 1).init(&device, 2)?;
/// // y = x + head(lstm(x)): an effect for sound
/// let mut effect = Pipeline::builder(1)?.recurrent(&lstm)?.layer(&head)?.residual()?.build()?;
///
/// let sound = [0.1, 0.4, -0.2];
/// let mut out = [0.0; 3];
/// effect.process(&sound, &mut out)?; // three samples of one channel
/// effect.reset();
/// let mut first = [0.0];
/// effect.process(&sound[..1], &mut first)?; // a block may have any length
/// assert_eq!(first[0], out[0]);
/// # Ok(()) }
/// ```
pub struct Pipeline {
    stages: Vec<Stage>,
    inputs: usize,
    outputs: usize,
    initial: PipelineState,
}

/// The state of a [`Pipeline`]: h and c of all recurrent layers. It can be kept with serde, and knows the cells and sizes that
/// it is of. One that was kept before states knew their cells is still read, by formats with names such as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineState {
    /// L, H and the arrays of every recurrent stage: 2 with c, 1 without.
    layout: Vec<[usize; 3]>,
    /// h `[L, H]`, then c `[L, H]`, stage by stage.
    values: Vec<f32>,
    /// The cell of every recurrent stage; none in a state that was kept before states had them.
    #[serde(default)]
    cells: Vec<CellKind>,
}

impl PipelineState {
    /// The values: h `[L, H]`, then c `[L, H]` of an LSTM, for every recurrent stage from the input on.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl Pipeline {
    /// `initial` has the initial state of all recurrent stages, `cells` their cells.
    pub(super) fn new(
        stages: Vec<Stage>,
        inputs: usize,
        (initial, cells): (Vec<f32>, Vec<CellKind>),
    ) -> Self {
        let layout = stages.iter().filter_map(Stage::state_layout).collect();
        let outputs = stages.last().map_or(inputs, |stage| stage.width);
        let initial = PipelineState { layout, values: initial, cells };
        let mut pipeline = Pipeline { stages, inputs, outputs, initial };
        pipeline.reset();
        pipeline
    }

    /// Values of a sample that goes in.
    pub fn input_size(&self) -> usize {
        self.inputs
    }

    /// Values of a sample that comes out.
    pub fn output_size(&self) -> usize {
        self.outputs
    }

    /// Runs `x` `[n, input_size]` to `y` `[n, output_size]`. A block of n samples gives the bits of n calls; n may be zero.
    ///
    /// # Errors
    /// Slices that do not have whole samples, or not as many. The state is then unchanged.
    pub fn process(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), LiveError> {
        let (inputs, outputs, op) = (self.inputs, self.outputs, "process");
        let Some(samples) = whole(x.len(), inputs) else {
            return Err(LiveError::Samples { op, arg: "x", of: inputs, got: x.len() });
        };
        let expected = samples.saturating_mul(outputs);
        if y.len() != expected {
            return Err(LiveError::Length { op, arg: "y", expected, got: y.len() });
        }
        let _flushed = FlushSubnormals::on();
        let Some((last, before)) = self.stages.split_last_mut() else {
            copy(y, x);
            return Ok(());
        };
        let (mut x, mut y) = (x, y);
        for _ in 0..samples {
            let (input, later) = x.split_at(inputs);
            let (output, free) = y.split_at_mut(outputs);
            (x, y) = (later, free);
            let mut below = input;
            for stage in &mut *before {
                below = stage.run(below, input);
            }
            last.run_into(below, input, output);
        }
        Ok(())
    }

    /// Back to the initial state: zero, or the one that a layer has learnt.
    pub fn reset(&mut self) {
        load(&mut self.stages, &self.initial.values);
    }

    /// Whether all values of the state are finite, in real time. Once one is not, it stays so until a
    /// [`reset`](Self::reset), and the outputs are not finite either. A pipeline without recurrent stages has no state, so
    /// it is always finite.
    ///
    /// ```
    /// use rnn_api::live::Pipeline;
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// let gru = GruConfig::new(1, 8).init(&Device::cpu(), 1)?;
    /// let mut effect = Pipeline::builder(1)?.recurrent(&gru)?.build()?;
    /// let mut out = [0.0; 8];
    /// effect.process(&[f32::NAN], &mut out)?;
    /// if !effect.is_finite() {
    ///     effect.reset();
    ///     out.fill(0.0);
    /// }
    /// effect.process(&[0.5], &mut out)?;
    /// assert!(out.iter().all(|value| value.is_finite()));
    /// # Ok(()) }
    /// ```
    pub fn is_finite(&self) -> bool {
        self.stages.iter().all(Stage::is_finite)
    }

    /// A copy of the state, in new memory.
    pub fn state(&self) -> PipelineState {
        let mut state = self.initial.clone();
        self.store(&mut state.values);
        state
    }

    /// Copies the state into one of this pipeline's, without taking memory.
    ///
    /// # Errors
    /// [`LiveError::State`]: the state of other cells or sizes.
    pub fn copy_state(&self, state: &mut PipelineState) -> Result<(), LiveError> {
        self.expect_own(state)?;
        self.store(&mut state.values);
        Ok(())
    }

    /// Continues from a state.
    ///
    /// # Errors
    /// [`LiveError::State`]: the state of other cells or sizes. The pipeline is then unchanged.
    pub fn set_state(&mut self, state: &PipelineState) -> Result<(), LiveError> {
        self.expect_own(state)?;
        load(&mut self.stages, &state.values);
        Ok(())
    }

    fn expect_own(&self, state: &PipelineState) -> Result<(), LiveError> {
        let own = &self.initial;
        let cells = state.cells.is_empty() || state.cells == own.cells;
        let fits = cells && state.layout == own.layout && state.values.len() == own.values.len();
        if fits { Ok(()) } else { Err(LiveError::State) }
    }

    fn store(&self, mut values: &mut [f32]) {
        for stage in &self.stages {
            let Kind::Recurrent(stack) = &stage.kind else { continue };
            for part in 0..2 {
                for layer in 0..stack.num_layers() {
                    let (h, c) = stack.state(layer);
                    let from = if part == 0 { h } else { c };
                    let (own, rest) = values.split_at_mut(from.len());
                    own.copy_from_slice(from);
                    values = rest;
                }
            }
        }
    }
}

/// The number of samples in `len` values, if these are whole samples. A division would take as long as a tenth of a small
/// network.
#[inline]
fn whole(len: usize, of: usize) -> Option<usize> {
    if of == 1 { Some(len) } else { len.is_multiple_of(of).then(|| len / of) }
}

/// Gives all recurrent stages the state in `values`.
fn load(stages: &mut [Stage], mut values: &[f32]) {
    for stage in stages {
        let Some([layers, hidden, parts]) = stage.state_layout() else { continue };
        let Kind::Recurrent(stack) = &mut stage.kind else { continue };
        let (own, rest) = values.split_at(parts * layers * hidden);
        let (h, c) = own.split_at(layers * hidden);
        for layer in 0..layers {
            let of = |values| <[f32]>::get(values, layer * hidden..(layer + 1) * hidden).unwrap_or(&[]);
            stack.set_state(layer, of(h), of(c));
        }
        values = rest;
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipeline({} stages, {} to {} values)", self.stages.len(), self.inputs, self.outputs)
    }
}
