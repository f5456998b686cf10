//! Recurrent layers as ONNX and Keras have them: lengths that may be zero, either direction, states in and out.

use super::host::select_floats;
use super::inputs::Inputs;
use crate::error::Why;
use crate::value::{Host, Value};
use rnn_api::nn::{ForwardArgs, Gru, HiddenState, Lengths, Lstm, LstmState, Module, Rnn, Visitor};
use rnn_api::{Direction, StackSpec, Tensor};

/// A recurrent layer of one model, whose parameters are PyTorch's.
pub enum Layer {
    /// A long short-term memory.
    Lstm(Lstm),
    /// A gated recurrent unit.
    Gru(Gru),
    /// An Elman network.
    Rnn(Rnn),
}

/// The types of layer that [`Model::layer`](super::Model::layer) gives.
pub trait LayerType: Sized {
    /// Its name.
    const KIND: &'static str;
    /// The layer, if it is of this type. Its parameters are shared.
    fn of(layer: &Layer) -> Option<Self>;
}

impl LayerType for Lstm {
    const KIND: &'static str = "an Lstm";

    fn of(layer: &Layer) -> Option<Self> {
        if let Layer::Lstm(layer) = layer { Some(layer.clone()) } else { None }
    }
}

impl LayerType for Gru {
    const KIND: &'static str = "a Gru";

    fn of(layer: &Layer) -> Option<Self> {
        if let Layer::Gru(layer) = layer { Some(layer.clone()) } else { None }
    }
}

impl LayerType for Rnn {
    const KIND: &'static str = "an Rnn";

    fn of(layer: &Layer) -> Option<Self> {
        if let Layer::Rnn(layer) = layer { Some(layer.clone()) } else { None }
    }
}

/// Layers that run over the same input: one, or one for each direction where the directions differ.
pub(crate) struct Recurrent {
    pub(crate) passes: Vec<Layer>,
    /// Whether the batch is the first axis of all arrays.
    pub(crate) batch_first: bool,
    /// The names of the nodes that became layers 1, 2, .. of a stack.
    pub(crate) above: Vec<String>,
}

/// What a pass returns: `[T, B, D*H]`, `[L*D, B, H]`, `[L*D, B, H]`.
struct Run {
    y: Tensor,
    h: Tensor,
    c: Option<Tensor>,
}

impl Layer {
    /// Its sizes and options.
    pub(crate) fn spec(&self) -> &StackSpec {
        match self {
            Layer::Lstm(layer) => layer.spec(),
            Layer::Gru(layer) => layer.spec(),
            Layer::Rnn(layer) => layer.spec(),
        }
    }

    /// What it is, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Layer::Lstm(_) => Lstm::KIND,
            Layer::Gru(_) => Gru::KIND,
            Layer::Rnn(_) => Rnn::KIND,
        }
    }

    /// The layer as a module.
    pub fn module(&self) -> &dyn Module {
        match self {
            Layer::Lstm(layer) => layer,
            Layer::Gru(layer) => layer,
            Layer::Rnn(layer) => layer,
        }
    }

    fn run(
        &self,
        x: &Tensor,
        h: Option<&Tensor>,
        c: Option<&Tensor>,
        lengths: Option<&Lengths>,
    ) -> Result<Run, Why> {
        let directions = self.spec().num_directions();
        let hidden = h.map(|h| HiddenState::new(h.clone(), directions));
        let args = ForwardArgs { state: hidden.as_ref(), lengths, resets: None };
        Ok(match self {
            Layer::Lstm(layer) => {
                // One state may be given without the other: the other is zero then.
                let zero = |other: Option<&Tensor>| match other {
                    Some(other) => Tensor::zeros(other.device(), other.dims()).map(Some),
                    None => Ok(None),
                };
                let state = match (h, c) {
                    (None, None) => None,
                    (h, c) => {
                        let (zero_h, zero_c) = (zero(c)?, zero(h)?);
                        h.or(zero_h.as_ref())
                            .zip(c.or(zero_c.as_ref()))
                            .map(|(h, c)| LstmState::new(h.clone(), c.clone(), directions))
                    }
                };
                let args = ForwardArgs { state: state.as_ref(), lengths, resets: None };
                let out = layer.forward_with(x, args)?;
                Run { y: out.y, h: out.state.h, c: Some(out.state.c) }
            }
            Layer::Gru(layer) => {
                let out = layer.forward_with(x, args)?;
                Run { y: out.y, h: out.state.h, c: None }
            }
            Layer::Rnn(layer) => {
                let out = layer.forward_with(x, args)?;
                Run { y: out.y, h: out.state.h, c: None }
            }
        })
    }
}

impl Module for Layer {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.module().visit(visitor);
    }
}

impl Module for Recurrent {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        match &self.passes[..] {
            [layer] => layer.visit(visitor),
            passes => {
                for layer in passes {
                    let reverse = layer.spec().direction == Direction::Reverse;
                    visitor.module(if reverse { "reverse" } else { "forward" }, layer);
                }
            }
        }
    }
}

impl Recurrent {
    /// Inputs: x `[T, B, I]`, lengths `[B]`, h `[L*D, B, H]`, c `[L*D, B, H]`, all but x optional. Outputs: y `[T, D, B, H]`,
    /// h, and c of an LSTM.
    pub(super) fn run(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>, Why> {
        let swapped =
            |value: &Tensor| if self.batch_first { value.transpose(0, 1) } else { Ok(value.clone()) };
        let state = |index: usize| -> Result<Option<Tensor>, Why> {
            inputs.get(index).map(|value| Ok(swapped(value.float()?)?)).transpose()
        };
        let x = inputs.need(0)?.float()?;
        if x.rank() != 3 {
            return Err(Why::Text(format!("the input must have three axes, got {:?}", x.dims())));
        }
        let x = swapped(x)?;
        let (h, c) = (state(2)?, state(3)?);
        let rows = RowLengths::of(inputs.get(1), x.dims())?;
        let (mut ys, mut hs, mut cs, mut first) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for layer in &self.passes {
            let (count, size) = (layer.spec().num_directions(), layer.spec().hidden_size);
            let states = count * layer.spec().num_layers;
            let part = |state: &Option<Tensor>| {
                state.as_ref().map(|state| state.slice(0, first..first + states)).transpose()
            };
            let (h, c) = (part(&h)?, part(&c)?);
            let run = rows.pass(layer, &x, h.as_ref(), c.as_ref())?;
            let (steps, batch) = (x.dims()[0], x.dims()[1]);
            ys.push(run.y.reshape(&[steps, batch, count, size])?.permute(&[0, 2, 1, 3])?);
            hs.push(run.h);
            cs.extend(run.c);
            first += states;
        }
        let joined = |parts: &[Tensor], axis: usize| match parts {
            [one] => Ok(one.clone()),
            _ => Tensor::concat(&parts.iter().collect::<Vec<_>>(), axis),
        };
        let y = joined(&ys, 1)?;
        let y = if self.batch_first { y.permute(&[2, 0, 1, 3])? } else { y };
        let mut results = vec![y.into(), swapped(&joined(&hs, 0)?)?.into()];
        if !cs.is_empty() {
            results.push(swapped(&joined(&cs, 0)?)?.into());
        }
        Ok(results)
    }
}

/// The rows of a batch.
struct RowLengths {
    /// Steps of each row; `None` where all have all steps.
    steps: Option<Vec<usize>>,
}

impl RowLengths {
    fn of(lengths: Option<&Value>, dims: &[usize]) -> Result<Self, Why> {
        let Some(value) = lengths else { return Ok(RowLengths { steps: None }) };
        let given: &Host<i64> = value.int()?;
        let steps: Option<Vec<usize>> = given
            .values
            .iter()
            .map(|&length| usize::try_from(length).ok().filter(|&length| length <= dims[0]))
            .collect();
        let steps = steps.filter(|steps| steps.len() == dims[1]);
        let steps = steps.ok_or_else(|| {
            Why::Text(format!(
                "lengths must be {} numbers from 0 to {}, got {:?}",
                dims[1], dims[0], given.values
            ))
        })?;
        let ragged = steps.iter().any(|&length| length < dims[0]);
        Ok(RowLengths { steps: ragged.then_some(steps) })
    }

    fn pass(&self, layer: &Layer, x: &Tensor, h: Option<&Tensor>, c: Option<&Tensor>) -> Result<Run, Why> {
        // A layer takes no rows of length 0: they run for one step, and its results are replaced.
        let lengths = self
            .steps
            .as_ref()
            .map(|steps| Lengths::new(steps.iter().map(|&length| length.max(1)).collect::<Vec<_>>()));
        let lengths = lengths.transpose()?;
        let run = layer.run(x, h, c, lengths.as_ref())?;
        self.without_empty_rows(run, h, c)
    }

    /// y of rows of length 0 is zero, their states are the initial ones.
    fn without_empty_rows(&self, run: Run, h: Option<&Tensor>, c: Option<&Tensor>) -> Result<Run, Why> {
        let Some(steps) = self.steps.as_ref().filter(|steps| steps.contains(&0)) else { return Ok(run) };
        let replaced = |value: &Tensor, by: Option<&Tensor>| {
            let [outer, batch, inner] = *value.dims() else { return Err(Why::from("three axes")) };
            let chosen: Vec<bool> =
                (0..outer * batch * inner).map(|n| steps[n / inner % batch] > 0).collect();
            let zero = Tensor::zeros(value.device(), value.dims())?;
            select_floats(&chosen, value, by.unwrap_or(&zero), value.dims())
        };
        let cell = run.c.as_ref().map(|value| replaced(value, c)).transpose()?;
        Ok(Run { y: replaced(&run.y, None)?, h: replaced(&run.h, h)?, c: cell })
    }
}
