//! [`Param`]: a value that optimizers change.

use crate::autograd::{LeafId, Node};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Array, DType, Device, Shape};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A trainable f32 value. Clones share the value: two layers with clones of one parameter have tied weights.
/// Its name is its path in the model; see [`Module::named_parameters`](crate::nn::Module::named_parameters).
///
/// Threads may read parameters while another one trains. Each call of a layer reads all of its parameters at one moment,
/// between two optimizer steps; [`Module::pinned`](crate::nn::Module::pinned) extends that to a whole model.
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
        self.current().0
    }

    /// Number of changes of the value. Code that caches data derived from the value stores this number with
    /// it.
    pub fn version(&self) -> u64 {
        self.current().1
    }

    /// Value and version at the same moment; in [`pinned`], those of its start.
    fn current(&self) -> (Array, u64) {
        pinned_value(self.0.id).unwrap_or_else(|| {
            let current = self.read();
            (current.array.clone(), current.version)
        })
    }

    fn as_leaf(&self, array: Array) -> Tensor {
        Tensor::from_parts(array, self.is_trainable().then(|| (self.0.node.clone(), 0)))
    }

    /// Value and version at the same moment.
    pub(crate) fn snapshot(&self) -> (Tensor, u64) {
        let (array, version) = self.current();
        (self.as_leaf(array), version)
    }

    /// Values and versions of several parameters at one moment: no change by [`Param::lock_all`] lies between them.
    pub(crate) fn snapshot_all(params: &[&Param]) -> Vec<(Tensor, u64)> {
        let pinned: Vec<_> = params.iter().map(|param| pinned_value(param.0.id)).collect();
        let open = params.iter().zip(&pinned).filter(|(_, pinned)| pinned.is_none()).map(|(param, _)| *param);
        let held = in_order(open, Param::read);
        let value = |(param, pinned): (&&Param, Option<(Array, u64)>)| {
            let (array, version) = pinned.unwrap_or_else(|| {
                let current = &held[&param.0.id];
                (current.array.clone(), current.version)
            });
            (param.as_leaf(array), version)
        };
        params.iter().zip(pinned).map(value).collect()
    }

    /// Locks parameters, so that they change together for every reader.
    pub(crate) fn lock_all<'a>(params: impl IntoIterator<Item = &'a Param>) -> BTreeMap<LeafId, Locked<'a>> {
        in_order(params, |param| Locked(param.write()))
    }

    /// Replaces the values of several parameters together. They are copied to the parameters' devices first: if that
    /// fails, nothing has changed. Of two values for one parameter the last one counts.
    ///
    /// # Errors
    /// As [`Param::set`].
    pub(crate) fn set_all<'a>(values: impl IntoIterator<Item = (&'a Param, Tensor)>) -> Result<()> {
        let mut ready = BTreeMap::new();
        for (param, value) in values {
            ready.insert(param.0.id, (param.clone(), param.converted(&value)?));
        }
        let locked = Param::lock_all(ready.values().map(|(param, _)| param));
        for (mut locked, (_, array)) in locked.into_values().zip(ready.values()) {
            locked.update(|current| {
                *current = array.clone();
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Replaces the value; it is copied to the parameter's device.
    ///
    /// # Errors
    /// Another shape, or another type than f32.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        let array = self.converted(value)?;
        self.update(|current| {
            *current = array;
            Ok(())
        })
    }

    /// A new value on the parameter's device.
    fn converted(&self, value: &Tensor) -> Result<Array> {
        expect_f32(value)?;
        if value.shape() != self.shape() {
            let expected = format!("{}, the parameter's shape", self.shape());
            return Err(Error::shape("Param::set", "value", expected, value.shape()));
        }
        Ok(value.array().to_device(&self.device())?)
    }

    /// Changes the value in place and increments the version, also when `change` fails. `change` must keep
    /// shape and type.
    fn update(&self, change: impl FnOnce(&mut Array) -> Result<()>) -> Result<()> {
        Locked(self.write()).update(change)
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

/// A parameter that only this thread can read or change.
pub(crate) struct Locked<'a>(RwLockWriteGuard<'a, Current>);

impl Locked<'_> {
    /// As [`Param::update`].
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Array) -> Result<()>) -> Result<()> {
        self.0.version += 1;
        change(&mut self.0.array)
    }

    /// Gives the value memory of its own, so that a change in place asks for none.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub(crate) fn make_unique(&mut self) -> Result<()> {
        Ok(self.0.array.make_unique()?)
    }
}

/// Locks every parameter once, in the order of the ids, so that no two threads wait for each other.
fn in_order<'a, G>(
    params: impl IntoIterator<Item = &'a Param>,
    lock: impl Fn(&'a Param) -> G,
) -> BTreeMap<LeafId, G> {
    let params: BTreeMap<LeafId, &Param> = params.into_iter().map(|param| (param.0.id, param)).collect();
    params.into_iter().map(|(id, param)| (id, lock(param))).collect()
}

type Pinned = BTreeMap<LeafId, (Array, u64)>;

thread_local! {
    /// The values that [`pinned`] holds on this thread, the innermost last.
    static PINNED: RefCell<Vec<Pinned>> = const { RefCell::new(Vec::new()) };
}

fn pinned_value(id: LeafId) -> Option<(Array, u64)> {
    PINNED.with_borrow(|pinned| pinned.iter().rev().find_map(|values| values.get(&id).cloned()))
}

/// Calls `read`. Inside it these parameters keep the values of one moment, also if other threads change them.
pub(crate) fn pinned<R>(params: &[Param], read: impl FnOnce() -> R) -> R {
    /// Also when `read` panics.
    struct Unpin;
    impl Drop for Unpin {
        fn drop(&mut self) {
            PINNED.with_borrow_mut(|pinned| drop(pinned.pop()));
        }
    }
    let params: Vec<&Param> = params.iter().collect();
    let values = Param::snapshot_all(&params).into_iter();
    let own =
        |(param, (tensor, version)): (&&Param, (Tensor, u64))| (param.0.id, (tensor.into_array(), version));
    let values = params.iter().zip(values).map(own).collect();
    PINNED.with_borrow_mut(|pinned| pinned.push(values));
    let _unpin = Unpin;
    read()
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
