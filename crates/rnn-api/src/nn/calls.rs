//! Records the shapes with which layers of this thread are called, for [`Summary::traced`](super::Summary::traced). While
//! nothing is recorded, a layer reads one thread-local value per call.

use crate::autograd::LeafId;
use crate::nn::LayerKind;
use crate::nn::scoped::with_value;
use crate::param::Param;
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::mem::{Discriminant, discriminant};

/// A layer: its first parameter, and what the layer is, since an embedding and a linear layer may share that parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Called(LeafId, Discriminant<LayerKind>);

impl Called {
    pub(super) fn new(first: &Param, kind: LayerKind) -> Self {
        Called(first.id(), discriminant(&kind))
    }
}

/// Calls of a layer with the same shapes.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) layer: Called,
    pub(super) input: Vec<usize>,
    pub(super) output: Vec<usize>,
    pub(super) count: u64,
}

thread_local! {
    static RUNNING: RefCell<Option<Vec<Calls>>> = const { RefCell::new(None) };
}

/// Runs `body` and returns the calls of layers in it, in the order of the first ones.
pub(super) fn record<R>(body: impl FnOnce() -> R) -> (R, Vec<Calls>) {
    let (result, calls) = with_value(&RUNNING, Vec::new(), body);
    (result, calls.unwrap_or_default())
}

/// Notes a call of a layer with `x` that returned `y`.
pub(super) fn note(first: &Param, kind: LayerKind, x: &Tensor, y: &Tensor) {
    RUNNING.with_borrow_mut(|running| {
        let Some(calls) = running else { return };
        let layer = Called::new(first, kind);
        let same =
            |calls: &&mut Calls| calls.layer == layer && calls.input == x.dims() && calls.output == y.dims();
        match calls.iter_mut().find(same) {
            Some(calls) => calls.count += 1,
            None => {
                let (input, output) = (x.dims().to_vec(), y.dims().to_vec());
                calls.push(Calls { layer, input, output, count: 1 });
            }
        }
    });
}
