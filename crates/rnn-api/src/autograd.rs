//! Reverse-mode differentiation without a tape: every recorded result holds the node of its op, and a node
//! holds its parents.
//!
//! Node ids grow with time, so "largest id first" is a valid order for the backward pass of every graph. A
//! backward pass consumes the closures that it runs and frees the values they saved; therefore a second pass
//! through the same node is [`Error::Consumed`].

use crate::error::{Error, Result};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::{Array, Shape, ops};
use std::cell::Cell;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Identifies a leaf, that is a parameter or a tensor after [`Tensor::requires_grad`], in [`Gradients`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafId(u64);

/// Takes the gradients of a node's outputs; returns the gradients of its inputs.
type BackwardFn = Box<dyn FnOnce(Vec<Option<Array>>) -> Result<Vec<Option<Array>>> + Send>;

/// Output `usize` of a node.
pub(crate) type Edge = (Arc<Node>, usize);

/// One recorded op, or a leaf.
pub(crate) struct Node {
    id: u64,
    op: &'static str,
    /// The node of each input; `None` for inputs without a gradient.
    parents: Vec<Option<Edge>>,
    /// One per output.
    shapes: Vec<Shape>,
    /// `None` for leaves, and after use.
    backward: Mutex<Option<BackwardFn>>,
    leaf: Option<LeafId>,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Node {
    /// A node that collects gradients.
    pub(crate) fn leaf(shape: Shape) -> Arc<Self> {
        let id = next_id();
        Arc::new(Node {
            id,
            op: "leaf",
            parents: Vec::new(),
            shapes: vec![shape],
            backward: Mutex::new(None),
            leaf: Some(LeafId(id)),
        })
    }

    pub(crate) fn leaf_id(&self) -> Option<LeafId> {
        self.leaf
    }

    fn take_backward(&self) -> Result<BackwardFn> {
        let mut slot = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take().ok_or(Error::Consumed { op: self.op })
    }
}

/// A long sequence of ops is a long chain of nodes. Dropping it recursively would overflow the stack, so a
/// loop takes the chain apart.
impl Drop for Node {
    fn drop(&mut self) {
        let mut orphans = std::mem::take(&mut self.parents);
        while let Some(edge) = orphans.pop() {
            if let Some((parent, _)) = edge
                && let Some(mut parent) = Arc::into_inner(parent)
            {
                orphans.append(&mut parent.parents);
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.op, self.id)
    }
}

thread_local! {
    static NO_GRAD_DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs `body` without recording: results have no graph, and no values are saved for a backward pass. It
/// affects this thread only, can be nested, and also ends when `body` panics.
///
/// ```
/// # fn main() -> rnn_api::Result<()> {
/// use rnn_api::{Device, Tensor, no_grad};
/// let x = Tensor::ones(&Device::cpu(), &[3])?.requires_grad();
/// let y = no_grad(|| x.tanh())?;
/// assert!(!y.is_tracked());
/// # Ok(()) }
/// ```
pub fn no_grad<R>(body: impl FnOnce() -> R) -> R {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            NO_GRAD_DEPTH.set(NO_GRAD_DEPTH.get() - 1);
        }
    }
    NO_GRAD_DEPTH.set(NO_GRAD_DEPTH.get() + 1);
    let _guard = Guard;
    body()
}

/// Whether ops on this thread record a graph.
pub fn is_grad_enabled() -> bool {
    NO_GRAD_DEPTH.get() == 0
}

/// Whether an op on these inputs will be recorded.
pub(crate) fn is_recorded<'a>(inputs: impl IntoIterator<Item = &'a Tensor>) -> bool {
    is_grad_enabled() && inputs.into_iter().any(Tensor::is_tracked)
}

/// Wraps the result `y` of an op on `inputs`. If a gradient is needed, `backward` is kept: from dy and one
/// flag per input (whether its gradient is needed) it computes one gradient per input.
pub(crate) fn record<const N: usize>(
    op: &'static str,
    inputs: [&Tensor; N],
    y: Array,
    backward: impl FnOnce(Array, [bool; N]) -> Result<[Option<Array>; N]> + Send + 'static,
) -> Tensor {
    if !is_recorded(inputs) {
        return Tensor::from_array(y);
    }
    let wanted = inputs.map(Tensor::is_tracked);
    let node = Arc::new(Node {
        id: next_id(),
        op,
        parents: inputs.iter().map(|input| input.edge().cloned()).collect(),
        shapes: vec![y.shape().clone()],
        backward: Mutex::new(Some(Box::new(move |mut dy| {
            // A node is visited only if its one output received a gradient.
            let dy = dy.pop().flatten().ok_or(Error::Consumed { op })?;
            Ok(backward(dy, wanted)?.into())
        }))),
        leaf: None,
    });
    Tensor::from_parts(y, Some((node, 0)))
}

/// As [`record`] for ops with several outputs and any number of inputs. Call it only if [`is_recorded`]
/// returns true.
pub(crate) fn record_many(
    op: &'static str,
    inputs: &[&Tensor],
    outputs: Vec<Array>,
    backward: impl FnOnce(Vec<Option<Array>>) -> Result<Vec<Option<Array>>> + Send + 'static,
) -> Vec<Tensor> {
    let node = Arc::new(Node {
        id: next_id(),
        op,
        parents: inputs.iter().map(|input| input.edge().cloned()).collect(),
        shapes: outputs.iter().map(|y| y.shape().clone()).collect(),
        backward: Mutex::new(Some(Box::new(backward))),
        leaf: None,
    });
    let outputs = outputs.into_iter().enumerate();
    outputs.map(|(n, y)| Tensor::from_parts(y, Some((node.clone(), n)))).collect()
}

/// A node that has received gradients but has not been visited.
struct Pending {
    node: Arc<Node>,
    grads: Vec<Option<Array>>,
}

/// Gradients to be passed on, and the order of visits.
#[derive(Default)]
struct Frontier {
    pending: HashMap<u64, Pending>,
    order: BinaryHeap<u64>,
}

impl Frontier {
    /// Adds `grad` to the gradient of output `edge.1` of node `edge.0`.
    fn add(&mut self, edge: &Edge, grad: Array) -> Result<()> {
        let (node, output) = edge;
        let shape = &node.shapes[*output];
        if grad.shape() != shape {
            let expected = format!("the output's shape {shape}");
            return Err(Error::shape(node.op, "gradient", expected, grad.shape()));
        }
        let entry = self.pending.entry(node.id).or_insert_with(|| {
            self.order.push(node.id);
            Pending { node: node.clone(), grads: vec![None; node.shapes.len()] }
        });
        accumulate(&mut entry.grads[*output], grad)
    }

    fn pop(&mut self) -> Option<Pending> {
        let id = self.order.pop()?;
        self.pending.remove(&id)
    }
}

/// Moves the first contribution in; adds later ones in place.
fn accumulate(slot: &mut Option<Array>, grad: Array) -> Result<()> {
    match slot {
        Some(sum) => ops::pointwise::accumulate(sum, &grad)?,
        None => *slot = Some(grad),
    }
    Ok(())
}

/// Gradients of several outputs at once. Each output is a tensor and its cotangent, the gradient of the final
/// objective with respect to it. One call visits every node once, which matters for ops with several outputs
/// such as `y`, `h` and `c` of a recurrent layer.
///
/// # Errors
/// A tensor without a graph, a cotangent of another shape, a graph that was already consumed
/// ([`Error::Consumed`]), or a failing op.
pub fn backward(outputs: &[(Tensor, Array)]) -> Result<Gradients> {
    let mut frontier = Frontier::default();
    for (tensor, cotangent) in outputs {
        let edge = tensor.edge().ok_or_else(|| Error::NoGraph {
            what: format!("a tensor of shape {}", tensor.shape()),
            why: "it depends on no parameter and no tensor made with requires_grad, \
                  or was computed under no_grad",
        })?;
        frontier.add(edge, cotangent.clone())?;
    }
    let mut leaves = BTreeMap::new();
    while let Some(Pending { node, mut grads }) = frontier.pop() {
        if let Some(leaf) = node.leaf {
            if let Some(grad) = grads.pop().flatten() {
                leaves.insert(leaf, grad);
            }
            continue;
        }
        let parents = node.take_backward()?(grads)?;
        for (edge, grad) in node.parents.iter().zip(parents) {
            if let (Some(edge), Some(grad)) = (edge, grad) {
                frontier.add(edge, grad)?;
            }
        }
    }
    Ok(Gradients { leaves })
}

/// A value that has an entry in [`Gradients`]: a [`Param`], or a leaf [`Tensor`].
pub trait Leaf {
    /// Its key in [`Gradients`]; `None` if it has none.
    fn leaf_id(&self) -> Option<LeafId>;
}

impl Leaf for Tensor {
    fn leaf_id(&self) -> Option<LeafId> {
        self.edge().and_then(|(node, _)| node.leaf_id())
    }
}

impl Leaf for Param {
    fn leaf_id(&self) -> Option<LeafId> {
        Some(self.id())
    }
}

/// The result of a backward pass: gradients of leaves, in a fixed order, so that sums over all of them have
/// the same bits every time.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    leaves: BTreeMap<LeafId, Array>,
}

impl Gradients {
    /// The gradient of a parameter or leaf tensor, in its shape; `None` if the objective does not depend on
    /// it.
    pub fn get(&self, leaf: &impl Leaf) -> Option<Tensor> {
        self.array(leaf.leaf_id()?).cloned().map(Tensor::from_array)
    }

    pub(crate) fn array(&self, leaf: LeafId) -> Option<&Array> {
        self.leaves.get(&leaf)
    }

    /// Number of leaves with a gradient.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether no leaf has a gradient.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Adds the gradients of another pass, to make one step from several small batches.
    ///
    /// # Errors
    /// Gradients on different devices, or a failing op.
    pub fn merge(&mut self, other: Gradients) -> Result<()> {
        for (leaf, grad) in other.leaves {
            match self.leaves.get_mut(&leaf) {
                Some(sum) => ops::pointwise::accumulate(sum, &grad)?,
                None => {
                    self.leaves.insert(leaf, grad);
                }
            }
        }
        Ok(())
    }

    /// Multiplies every gradient by `factor`.
    ///
    /// # Errors
    /// A failing op.
    pub fn scale(&mut self, factor: f32) -> Result<()> {
        for grad in self.leaves.values_mut() {
            *grad = ops::pointwise::affine(grad, factor, 0.0)?;
        }
        Ok(())
    }

    /// The Euclidean norm of all gradients together. Waits for the device. Zero without gradients; [`f32::MAX`] for a
    /// norm that is finite and larger.
    ///
    /// # Errors
    /// A failing op.
    pub fn global_norm(&self) -> Result<f32> {
        match self.norm(None)? {
            Some(norm) => Ok(norm.read()?.norm),
            None => Ok(0.0),
        }
    }

    /// Scales all gradients so that their global norm is at most `max_norm`, and returns their previous norm.
    /// As in PyTorch the factor is `min(1, max_norm / (norm + 1e-6))`. Gradients that are not finite do not
    /// change; the returned norm is then not finite, and the optimizer's step returns an error.
    ///
    /// An optimizer can do the same without changing the gradients: see its `with_clip_norm`.
    ///
    /// # Errors
    /// `max_norm` must be positive; or a failing op.
    pub fn clip_norm(&mut self, max_norm: f32) -> Result<f32> {
        if max_norm.is_nan() || max_norm <= 0.0 {
            return Err(Error::value("clip_norm", "max_norm", "positive", max_norm));
        }
        let Some(norm) = self.norm(Some(max_norm))? else { return Ok(0.0) };
        let summary = norm.read()?;
        if summary.finite && summary.factor < 1.0 {
            for grad in self.leaves.values_mut() {
                ops::optim::scale_by_control(grad, &norm.control)?;
            }
        }
        Ok(summary.norm)
    }

    /// Clamps every element of every gradient to `-limit..=limit`.
    ///
    /// # Errors
    /// `limit` must be positive; or a failing op.
    pub fn clip_value(&mut self, limit: f32) -> Result<()> {
        if limit.is_nan() || limit <= 0.0 {
            return Err(Error::value("clip_value", "limit", "positive", limit));
        }
        for grad in self.leaves.values_mut() {
            ops::optim::clip_value(grad, limit)?;
        }
        Ok(())
    }

    fn norm(&self, max_norm: Option<f32>) -> Result<Option<ops::optim::GradNorm>> {
        if self.leaves.is_empty() {
            return Ok(None);
        }
        let grads: Vec<&Array> = self.leaves.values().collect();
        let options = ops::optim::ClipOptions { max_norm, ..Default::default() };
        Ok(Some(ops::optim::grad_norm(&grads, &options)?))
    }
}
