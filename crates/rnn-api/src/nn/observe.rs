//! Records what recurrent layers and losses of this thread compute, for [`doctor`](crate::doctor). While nothing is
//! recorded, a layer reads one thread-local value per call.

use crate::autograd::LeafId;
use crate::nn::Module;
use crate::nn::output::Trace;
use crate::nn::scoped::with_value;
use crate::tensor::Tensor;
use rnn_kernels::cell::StackSpec;
use rnn_runtime::ops::rnn::StateFlow;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Everything that was recorded, in the order of computation.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    pub(crate) passes: Vec<SeenPass>,
    pub(crate) labels: Vec<SeenLabels>,
}

/// One pass through a stack.
#[derive(Debug)]
pub(crate) struct SeenPass {
    /// Id of its first parameter.
    pub(crate) layer: LeafId,
    pub(crate) spec: StackSpec,
    /// `[T, B, I]`
    pub(crate) x: Tensor,
    pub(crate) lengths: Option<Vec<usize>>,
    /// h of the state that was passed in, unless it belongs to the graph.
    pub(crate) given: Option<Tensor>,
    /// h of the final state.
    pub(crate) last: Tensor,
    /// One per layer of the stack.
    pub(crate) traces: Vec<Trace>,
    pub(crate) flow: SeenFlow,
}

/// The gradients by time step.
#[derive(Debug)]
pub(crate) enum SeenFlow {
    /// There was no backward pass.
    None,
    /// Per layer of the stack and direction.
    Of(Vec<StateFlow>),
    /// Not measured, for this reason.
    Skipped(&'static str),
}

/// The labels of one cross entropy.
#[derive(Debug)]
pub(crate) struct SeenLabels {
    /// The number of classes.
    pub(crate) classes: usize,
    /// Those that count.
    pub(crate) labels: Vec<u32>,
}

/// An observation in progress. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observer(Arc<Mutex<Observation>>);

impl Observer {
    pub(crate) fn get(&self) -> MutexGuard<'_, Observation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Observation {
        std::mem::take(&mut *self.get())
    }
}

/// The place for the gradients of one pass. Backward passes run after the observation of the forward pass has ended.
#[derive(Clone, Debug)]
pub(crate) struct FlowSink {
    observer: Observer,
    pass: usize,
}

impl FlowSink {
    /// For the next pass that is pushed.
    pub(crate) fn new(observer: &Observer) -> Self {
        FlowSink { observer: observer.clone(), pass: observer.get().passes.len() }
    }

    pub(crate) fn set(&self, flow: SeenFlow) {
        if let Some(pass) = self.observer.get().passes.get_mut(self.pass) {
            pass.flow = flow;
        }
    }
}

thread_local! {
    static RUNNING: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Runs `body` and records it. The gradients arrive when a backward pass of its result runs.
pub(crate) fn observe<R>(body: impl FnOnce() -> R) -> (R, Observer) {
    let observer = Observer::default();
    let (result, _) = with_value(&RUNNING, observer.clone(), body);
    (result, observer)
}

/// The observation of this thread.
pub(crate) fn current() -> Option<Observer> {
    RUNNING.with_borrow(Clone::clone)
}

/// The path in the model of the layer whose first parameter this is.
pub(crate) fn path_of(model: &dyn Module, layer: LeafId) -> String {
    let params = model.named_parameters();
    let name = params.iter().find(|(_, param)| param.id() == layer).map(|(name, _)| name.as_str());
    match name {
        // Without a dot, the layer is the whole model.
        Some(name) => name.rsplit_once('.').map_or("model", |(path, _)| path).to_string(),
        None => "a layer that is no part of the model".into(),
    }
}
