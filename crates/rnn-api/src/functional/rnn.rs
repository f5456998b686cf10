//! The recurrent stack: one node for all layers, directions and steps.

use crate::autograd::{is_recorded, record_many};
use crate::error::{Error, Result};
use crate::nn::observe::{FlowSink, SeenFlow};
use crate::tensor::Tensor;
use rnn_kernels::cell::{Parameter, StackSpec, Storage, WeightFormat};
use rnn_runtime::Array;
use rnn_runtime::ops::rnn::{
    self, CellWeights, Division, Kept, LayerTrace, Packed, Saved, Sequences, StackArgs, StackCotangents,
    StackDraws, StackGrads, Wanted,
};

/// The parameters of one layer and direction, as tensors of the graph, in the order of [`Parameter::ALL`].
pub(crate) type CellTensors = Vec<(Parameter, Tensor)>;

/// Input of [`stack`].
pub(crate) struct StackInput<'a> {
    pub(crate) spec: &'a StackSpec,
    /// Packed from `weights`.
    pub(crate) packed: &'a Packed,
    pub(crate) weights: &'a [CellTensors],
    pub(crate) inference_weights: WeightFormat,
    /// [T, B, I]
    pub(crate) x: &'a Tensor,
    /// [L*D, B, P]
    pub(crate) h0: Option<&'a Tensor>,
    /// [L*D, B, H]
    pub(crate) c0: Option<&'a Tensor>,
    pub(crate) sequences: Option<&'a Sequences>,
    /// In training.
    pub(crate) draws: Option<StackDraws>,
    /// Number of steps between the states that a training pass keeps; absent: it keeps all steps.
    pub(crate) checkpoint_every: Option<usize>,
    /// Storage format of a training pass.
    pub(crate) storage: Storage,
    /// Layers whose gates and states are traced. If there are any, the pass keeps all steps.
    pub(crate) traced: &'a [usize],
    /// The place for the gradients by time step; with it, all layers are traced.
    pub(crate) flow: Option<&'a FlowSink>,
}

/// What the gradients by time step need besides what a pass saves.
struct FlowOf {
    sink: FlowSink,
    weights: Vec<CellWeights>,
    traces: Vec<LayerTrace>,
    sequences: Option<Sequences>,
}

impl FlowOf {
    fn new(sink: &FlowSink, input: &StackInput<'_>, traces: &[LayerTrace]) -> Self {
        let of_cell =
            |cell: &CellTensors| cell.iter().map(|(p, tensor)| (*p, tensor.array().clone())).collect();
        FlowOf {
            sink: sink.clone(),
            weights: input.weights.iter().map(of_cell).collect(),
            traces: traces.to_vec(),
            sequences: input.sequences.cloned(),
        }
    }

    fn backward(
        self,
        (spec, packed): (&StackSpec, &Packed),
        saved: Saved,
        cotangents: &StackCotangents<'_>,
        wanted: Wanted,
    ) -> Result<StackGrads> {
        let saved = (saved, self.sequences.as_ref());
        let of = (&self.weights[..], &self.traces[..]);
        let (grads, flow) = rnn::backward_with_flow(spec, packed, saved, of, cotangents, wanted)?;
        self.sink.set(SeenFlow::Of(flow));
        Ok(grads)
    }
}

/// Output of [`stack`].
pub(crate) struct StackTensors {
    /// [T, B, D*P], or [T, B, P] of merged directions
    pub(crate) y: Tensor,
    /// [L*D, B, P]
    pub(crate) h_n: Tensor,
    /// [L*D, B, H], LSTM only
    pub(crate) c_n: Option<Tensor>,
    /// One per traced layer
    pub(crate) traces: Vec<LayerTrace>,
}

/// Runs the stack; keeps values for a backward pass only if a gradient is needed.
pub(crate) fn stack(input: &StackInput<'_>) -> Result<StackTensors> {
    let mut inputs = vec![input.x];
    inputs.extend(input.h0);
    inputs.extend(input.c0);
    for cell in input.weights {
        inputs.extend(cell.iter().map(|(_, tensor)| tensor));
    }
    let recorded = is_recorded(inputs.iter().copied());
    let training = recorded || !input.traced.is_empty();
    let args = StackArgs {
        spec: input.spec,
        packed: input.packed,
        x: input.x.array(),
        h0: input.h0.map(Tensor::array),
        c0: input.c0.map(Tensor::array),
        training,
        weights: if training { WeightFormat::F32 } else { input.inference_weights },
        storage: if input.traced.is_empty() { input.storage } else { Storage::F32 },
        sequences: input.sequences,
        draws: input.draws,
    };
    let mut parts = Division::Whole;
    if input.traced.is_empty() {
        parts = Division::that_fit(&args)?;
        if let Some(every) = input.checkpoint_every.filter(|_| recorded) {
            parts = parts.with_segments(every);
        }
    }
    let flow = input.flow.filter(|_| recorded && rnn::flow_problem(input.spec).is_none());
    let (out, kept) = match flow {
        Some(_) => rnn::forward_for_flow(&args)?,
        None => rnn::forward_in_parts(&args, parts)?,
    };
    let mut traces = Vec::with_capacity(input.traced.len());
    if let Some(Kept::Whole(saved)) = &kept {
        for &layer in input.traced {
            traces.push(saved.trace(input.spec, layer)?);
        }
    }
    let Some(kept) = kept.filter(|_| recorded) else {
        return Ok(StackTensors {
            y: Tensor::from_array(out.y),
            h_n: Tensor::from_array(out.h_n),
            c_n: out.c_n.map(Tensor::from_array),
            traces,
        });
    };

    let (spec, packed) = (*input.spec, input.packed.clone());
    let tracked = |state: Option<&Tensor>| state.is_some_and(Tensor::is_tracked);
    let wanted = Wanted { dx: input.x.is_tracked(), states: tracked(input.h0) || tracked(input.c0) };
    let flow = flow.map(|sink| FlowOf::new(sink, input, &traces));
    let (has_h0, has_c0) = (input.h0.is_some(), input.c0.is_some());
    let backward = move |outputs: Vec<Option<Array>>| -> Result<Vec<Option<Array>>> {
        let cotangent = |n: usize| outputs.get(n).and_then(Option::as_ref);
        let cotangents = StackCotangents { dy: cotangent(0), dh_n: cotangent(1), dc_n: cotangent(2) };
        let grads = match (flow, kept) {
            (Some(flow), Kept::Whole(saved)) => {
                flow.backward((&spec, &packed), saved, &cotangents, wanted)?
            }
            (_, kept) => rnn::backward_in_parts(&spec, &packed, kept, &cotangents, wanted)?,
        };
        let mut inputs = vec![grads.dx];
        if has_h0 {
            inputs.push(grads.dh0);
        }
        if has_c0 {
            inputs.push(grads.dc0);
        }
        for cell in grads.weights {
            inputs.extend(cell.all().map(|(_, array)| Some(array.clone())));
        }
        Ok(inputs)
    };
    let mut arrays = vec![out.y, out.h_n];
    arrays.extend(out.c_n);
    let mut outputs = record_many("rnn", &inputs, arrays, backward).into_iter();
    let mut next = || outputs.next().ok_or(Error::Consumed { op: "rnn" });
    Ok(StackTensors { y: next()?, h_n: next()?, c_n: next().ok(), traces })
}
