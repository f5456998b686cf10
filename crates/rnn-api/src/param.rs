//! [`Param`]: a value that optimizers change.

use crate::autograd::{LeafId, Node};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Array, DType, Device, Shape};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A trainable f32 value. Clones share the value: two layers with clones of one parameter have tied weights.
/// Its name is its path in the model; see [`Module::named_parameters`](crate::nn::Module::named_parameters).
#[derive(Clone)]
pub struct Param(Arc<Inner>);

struct Inner {
    node: Arc<Node>,
    id: LeafId,
    shape: Shape,
    trainable: AtomicBool,
    current: RwLock<Current>,
}

struct Current {
    array: Array,
    version: u64,
}

impl Param {
    /// A parameter with this initial value.
    ///
    /// # Errors
    /// Values of another type than f32.
    pub fn new(value: &Tensor) -> Result<Self> {
        expect_f32(value)?;
        let shape = value.shape().clone();
        let node = Node::leaf(shape.clone());
        let Some(id) = node.leaf_id() else { unreachable!("Node::leaf makes leaves") };
        let current = RwLock::new(Current { array: value.array().clone(), version: 0 });
        Ok(Param(Arc::new(Inner { node, id, shape, trainable: AtomicBool::new(true), current })))
    }

    fn read(&self) -> RwLockReadGuard<'_, Current> {
        // An array is replaced or updated as a whole, so a panic in another thread leaves a valid one.
        self.0.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Current> {
        self.0.current.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The parameter's key in [`Gradients`](crate::Gradients).
    pub fn id(&self) -> LeafId {
        self.0.id
    }

    /// Axis lengths; they never change.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// Axis lengths as a slice.
    pub fn dims(&self) -> &[usize] {
        self.0.shape.dims()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.shape.len()
    }

    /// Never true: parameters have no zero-length axes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The device the value is on.
    pub fn device(&self) -> Device {
        self.read().array.device().clone()
    }

    /// The value as a leaf of the graph; without a gradient when the parameter is frozen.
    pub fn value(&self) -> Tensor {
        self.snapshot().0
    }

    /// The value without a graph.
    pub fn array(&self) -> Array {
        self.read().array.clone()
    }

    /// Number of changes of the value. Code that caches data derived from the value stores this number with
    /// it.
    pub fn version(&self) -> u64 {
        self.read().version
    }

    /// Value and version at the same moment.
    pub(crate) fn snapshot(&self) -> (Tensor, u64) {
        let edge = self.is_trainable().then(|| (self.0.node.clone(), 0));
        let current = self.read();
        (Tensor::from_parts(current.array.clone(), edge), current.version)
    }

    /// Replaces the value; it is copied to the parameter's device.
    ///
    /// # Errors
    /// Another shape, or another type than f32.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        expect_f32(value)?;
        if value.shape() != self.shape() {
            let expected = format!("{}, the parameter's shape", self.shape());
            return Err(Error::shape("Param::set", "value", expected, value.shape()));
        }
        let array = value.array().to_device(&self.device())?;
        self.update(|current| {
            *current = array;
            Ok(())
        })
    }

    /// Changes the value in place and increments the version, also when `change` fails. `change` must keep
    /// shape and type.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Array) -> Result<()>) -> Result<()> {
        let mut current = self.write();
        current.version += 1;
        change(&mut current.array)
    }

    /// Moves the value to another device.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn to_device(&self, device: &Device) -> Result<()> {
        self.update(|array| {
            *array = array.to_device(device)?;
            Ok(())
        })
    }

    /// Whether gradients are computed; true by default.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Freezes (`false`) or unfreezes the parameter.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
    }
}

fn expect_f32(value: &Tensor) -> Result<()> {
    if value.dtype() == DType::F32 {
        return Ok(());
    }
    Err(Error::Runtime(rnn_runtime::Error::DType {
        op: "Param",
        arg: "value",
        expected: "f32",
        got: value.dtype(),
    }))
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.read();
        write!(f, "Param({} on {}, ", self.shape(), current.array.device().name())?;
        write!(f, "version {})", current.version)
    }
}
