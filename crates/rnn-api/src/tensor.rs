//! [`Tensor`]: an array with its node in the graph. The ops are in [`crate::functional`], together with their
//! gradients.

use crate::autograd::{self, Edge, Gradients, Node};
use crate::data::argmax;
use crate::error::{Error, Result};
use rnn_runtime::{Array, DType, Device, Shape, ops};
use std::fmt;

/// A contiguous row-major array on a device, with its node in the graph. Cheap to clone; immutable.
///
/// Ops are recorded if an input depends on a [`Param`](crate::Param) or on a tensor made with
/// [`Tensor::requires_grad`], except inside [`no_grad`](crate::no_grad).
#[derive(Clone)]
pub struct Tensor {
    array: Array,
    edge: Option<Edge>,
}

impl Tensor {
    /// A tensor without a graph.
    pub fn from_array(array: Array) -> Self {
        Tensor { array, edge: None }
    }

    pub(crate) fn from_parts(array: Array, edge: Option<Edge>) -> Self {
        Tensor { array, edge }
    }

    pub(crate) fn edge(&self) -> Option<&Edge> {
        self.edge.as_ref()
    }

    /// Uploads f32 values in row-major order. `[]` is the shape of a scalar.
    ///
    /// # Errors
    /// A number of values that differs from the shape's number of elements; an axis of length zero.
    pub fn from_slice(device: &Device, values: &[f32], dims: &[usize]) -> Result<Self> {
        Ok(Self::from_array(Array::from_f32(device, values, dims)?))
    }

    /// As [`Tensor::from_slice`].
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_vec(device: &Device, values: Vec<f32>, dims: &[usize]) -> Result<Self> {
        Self::from_slice(device, &values, dims)
    }

    /// Uploads indices or class labels.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_indices(device: &Device, values: &[u32], dims: &[usize]) -> Result<Self> {
        Ok(Self::from_array(Array::from_u32(device, values, dims)?))
    }

    /// Uploads half-precision values. Ops widen them and return f32.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_f16(device: &Device, values: &[half::f16], dims: &[usize]) -> Result<Self> {
        Ok(Self::from_array(Array::from_f16(device, values, dims)?))
    }

    /// All elements `value`.
    ///
    /// # Errors
    /// A shape with an axis of length zero, or no memory.
    pub fn full(device: &Device, dims: &[usize], value: f32) -> Result<Self> {
        Ok(Self::from_array(ops::pointwise::full(device, dims, value)?))
    }

    /// All elements zero.
    ///
    /// # Errors
    /// As [`Tensor::full`].
    pub fn zeros(device: &Device, dims: &[usize]) -> Result<Self> {
        Ok(Self::from_array(ops::pointwise::zeros(device, dims)?))
    }

    /// All elements one.
    ///
    /// # Errors
    /// As [`Tensor::full`].
    pub fn ones(device: &Device, dims: &[usize]) -> Result<Self> {
        Self::full(device, dims, 1.0)
    }

    /// The values, without the graph.
    pub fn array(&self) -> &Array {
        &self.array
    }

    /// The values of a tensor without a graph, to be changed in place.
    pub(crate) fn array_mut(&mut self) -> &mut Array {
        debug_assert!(self.edge.is_none());
        &mut self.array
    }

    /// The values, without the graph.
    pub fn into_array(self) -> Array {
        self.array
    }

    /// Axis lengths.
    pub fn shape(&self) -> &Shape {
        self.array.shape()
    }

    /// Axis lengths as a slice.
    pub fn dims(&self) -> &[usize] {
        self.array.dims()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// Never true: tensors have no zero-length axes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.array.dtype()
    }

    /// The device the values are on.
    pub fn device(&self) -> &Device {
        self.array.device()
    }

    /// Copies the values to the host, waiting for the device.
    ///
    /// # Errors
    /// Index data (use [`Array::host_indices`]), or a failed device.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        Ok(self.array.to_vec()?)
    }

    /// As [`Tensor::to_vec`] without blocking the thread.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub async fn to_vec_async(&self) -> Result<Vec<f32>> {
        Ok(self.array.to_vec_async().await?)
    }

    /// The value of a tensor of one element, waiting for the device.
    ///
    /// # Errors
    /// More than one element, or as [`Tensor::to_vec`].
    pub fn item(&self) -> Result<f32> {
        Ok(self.array.item()?)
    }

    /// The index of the largest value along `axis`, computed on the host; the axis is removed. Of equal
    /// values the first one counts; a NaN counts as the largest.
    ///
    /// # Errors
    /// No such axis, or as [`Tensor::to_vec`].
    pub fn argmax(&self, axis: usize) -> Result<Vec<u32>> {
        let (outer, n, inner) = self.shape().split_at_axis("argmax", axis)?;
        Ok(argmax(&self.to_vec()?, outer, n, inner))
    }

    /// The same values without a graph: backpropagation stops here.
    #[must_use]
    pub fn detach(&self) -> Self {
        Tensor { array: self.array.clone(), edge: None }
    }

    /// The same values as a new leaf; [`Gradients::get`] returns its gradient. The tensor's earlier graph is
    /// dropped. Index data never has a gradient.
    #[must_use]
    pub fn requires_grad(self) -> Self {
        let node = Node::leaf(self.array.shape().clone());
        Tensor { array: self.array, edge: Some((node, 0)) }
    }

    /// Whether backpropagation computes a gradient for this tensor.
    pub fn is_tracked(&self) -> bool {
        self.edge.is_some()
    }

    /// Gradients of this scalar with respect to every leaf it depends on. Consumes the graph.
    ///
    /// # Errors
    /// More than one element ([`Error::NotScalar`]), or as [`autograd::backward`].
    pub fn backward(&self) -> Result<Gradients> {
        if self.len() != 1 {
            return Err(Error::NotScalar { shape: self.shape().clone() });
        }
        let one = ops::pointwise::full(self.device(), self.dims(), 1.0)?;
        autograd::backward(&[(self.clone(), one)])
    }

    /// Gradients of `sum(self * cotangent)`, for tensors of any shape. Consumes the graph.
    ///
    /// # Errors
    /// A cotangent of another shape, or as [`autograd::backward`].
    pub fn backward_with(&self, cotangent: &Tensor) -> Result<Gradients> {
        autograd::backward(&[(self.clone(), cotangent.array.clone())])
    }
}

impl From<Array> for Tensor {
    fn from(array: Array) -> Self {
        Tensor::from_array(array)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?} on {}", self.dtype(), self.shape(), self.device().name())?;
        match &self.edge {
            Some((node, _)) => write!(f, ", from {node:?})"),
            None => f.write_str(")"),
        }
    }
}
