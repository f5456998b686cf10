//! Outputs of recurrent layers.

use crate::error::Result;
use crate::nn::sequences::Lengths;
use crate::nn::state::RecurrentState;
use crate::tensor::Tensor;
use rnn_kernels::cell::Merge;
use rnn_runtime::ops::rnn::LayerTrace;

/// Every gate and state of one layer, from `forward_traced`; zero past the end of a row. The values have no
/// gradient.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// `[T, B, D, G, H]`: the activated gates, in PyTorch's order: i, f, g, o of an LSTM (i, g, o when
    /// coupled); r, z, n of a GRU; f, n of an MGU; the one activation of an Elman network, before zoneout.
    /// Candidate dropout comes after them.
    pub gates: Tensor,
    /// `[T, B, D, H]`: h after every step; `[T, B, D, P]` with a projection.
    pub h: Tensor,
    /// `[T, B, D, H]`: c after every step; LSTM only.
    pub c: Option<Tensor>,
}

impl Trace {
    pub(crate) fn new(trace: LayerTrace) -> Self {
        let LayerTrace { gates, h, c } = trace;
        Trace { gates: Tensor::from_array(gates), h: Tensor::from_array(h), c: c.map(Tensor::from_array) }
    }
}

/// Output of a recurrent layer; the aliases [`LstmOutput`](crate::nn::LstmOutput),
/// [`GruOutput`](crate::nn::GruOutput), [`MguOutput`](crate::nn::MguOutput) and [`RnnOutput`](crate::nn::RnnOutput)
/// are its forms.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecurrentOutput<S> {
    /// Output of the last layer at every step, `[T, B, D*H]`: the forward direction's H features, then the
    /// backward direction's; `[T, B, H]` if directions are merged by another op. With a projection P replaces
    /// H. Zero past the end of a row.
    pub y: Tensor,
    /// The state after the last valid step; of a direction that runs backwards in time, after t = 0. Pass it to the next
    /// call to continue the sequence: with later steps, or with earlier ones where the layer runs backwards.
    pub state: S,
    lengths: Option<Lengths>,
    merge: Merge,
}

impl<S: RecurrentState> RecurrentOutput<S> {
    pub(crate) fn new(y: Tensor, state: S, lengths: Option<Lengths>, merge: Merge) -> Self {
        RecurrentOutput { y, state, lengths, merge }
    }

    /// The last layer's final state, `[B, D*H]`: both directions, merged as the layer merges its outputs. That of a
    /// direction that runs backwards in time is its state at t = 0; in `y` at the last step, it has seen one step only.
    /// For ragged rows it is the state after each row's own last step.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn last(&self) -> Result<Tensor> {
        let (h, directions) = (self.state.hidden(), self.state.directions());
        let first = h.dims()[0] - directions;
        let forward = h.select(0, first)?;
        if directions == 1 {
            return Ok(forward);
        }
        let backward = h.select(0, first + 1)?;
        match self.merge {
            Merge::Concat => Tensor::concat(&[&forward, &backward], 1),
            Merge::Sum => forward.add(&backward),
            Merge::Mean => forward.add(&backward)?.scale(0.5),
            Merge::Mul => forward.mul(&backward),
        }
    }

    /// The mean of y over each row's valid steps, `[B, features]`.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn mean_pool(&self) -> Result<Tensor> {
        match &self.lengths {
            None => self.y.mean_axis(0),
            Some(lengths) => {
                // y is zero past the end of a row.
                let share: Vec<f32> = lengths.as_slice().iter().map(|&length| 1.0 / length as f32).collect();
                let share = Tensor::from_slice(self.y.device(), &share, &[share.len(), 1])?;
                self.y.sum_axis(0)?.mul(&share)
            }
        }
    }

    /// The largest value of y over each row's valid steps, `[B, features]`.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn max_pool(&self) -> Result<Tensor> {
        match self.valid_mask()? {
            None => self.y.max_axis(0),
            // Far below any output, but finite: the gradient of the mask's operand must stay zero.
            Some(mask) => self.y.add(&mask.shift(-1.0)?.scale(1e30)?)?.max_axis(0),
        }
    }

    /// 1 at valid steps and 0 past the end of a row, `[T, B, 1]`; `None` when all rows have all steps.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn valid_mask(&self) -> Result<Option<Tensor>> {
        let Some(lengths) = &self.lengths else { return Ok(None) };
        let (steps, batch) = (self.y.dims()[0], lengths.as_slice().len());
        let valid = |k: usize| f32::from(u8::from(k / batch < lengths.as_slice()[k % batch]));
        let mask: Vec<f32> = (0..steps * batch).map(valid).collect();
        Tensor::from_vec(self.y.device(), mask, &[steps, batch, 1]).map(Some)
    }
}
