//! Arrays in host memory, before they become tensors.

use super::argmax::argmax;
use crate::{Device, Error, Result, Shape, Tensor};

/// Row-major values in host memory, with their axis lengths.
#[derive(Clone, Debug, PartialEq)]
pub struct HostArray<T> {
    values: Vec<T>,
    dims: Vec<usize>,
}

impl<T> HostArray<T> {
    /// An array of these values and axis lengths.
    ///
    /// # Errors
    /// The number of values is not the product of the axis lengths.
    pub fn new(values: Vec<T>, dims: &[usize]) -> Result<Self> {
        let expected = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if expected != Some(values.len()) {
            let expected = format!("as many as shape {dims:?} has");
            return Err(Error::value("HostArray::new", "values", expected, values.len()));
        }
        Ok(Self::from_parts(values, dims))
    }

    /// For callers whose values match the lengths by construction.
    pub(crate) fn from_parts(values: Vec<T>, dims: &[usize]) -> Self {
        debug_assert_eq!(values.len(), dims.iter().product::<usize>());
        HostArray { values, dims: dims.to_vec() }
    }

    /// The values in row-major order.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Takes the values out.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// The lengths of the axes.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
}

/// The types that a tensor is uploaded from: f32 for values, u32 for indices and labels.
pub trait Element: Copy + sealed::Sealed {
    /// Uploads an array.
    ///
    /// # Errors
    /// As [`HostArray::to_tensor`].
    #[doc(hidden)]
    fn upload(device: &Device, values: &[Self], dims: &[usize]) -> Result<Tensor>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u32 {}
}

impl Element for f32 {
    fn upload(device: &Device, values: &[f32], dims: &[usize]) -> Result<Tensor> {
        Tensor::from_slice(device, values, dims)
    }
}

impl Element for u32 {
    fn upload(device: &Device, values: &[u32], dims: &[usize]) -> Result<Tensor> {
        Tensor::from_indices(device, values, dims)
    }
}

impl<T: Element> HostArray<T> {
    /// Uploads the values, or the indices.
    ///
    /// # Errors
    /// An axis has length zero, or the allocation fails.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        T::upload(device, &self.values, &self.dims)
    }
}

impl HostArray<f32> {
    /// The index of the largest value along `axis`; the axis is removed. Of equal values the first one counts; a NaN
    /// counts as the largest.
    ///
    /// # Errors
    /// No such axis.
    pub fn argmax(&self, axis: usize) -> Result<Vec<u32>> {
        let (outer, n, inner) = Shape::new("argmax", &self.dims)?.split_at_axis("argmax", axis)?;
        Ok(argmax(&self.values, outer, n, inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one method for each type, a call before the type was known did not compile, nor did generic code.
    #[test]
    fn the_type_may_become_known_after_the_call() {
        fn upload<T: Element>(array: &HostArray<T>) -> Vec<usize> {
            array.to_tensor(&Device::cpu()).unwrap().dims().to_vec()
        }
        let array = HostArray::new(vec![Default::default(); 2], &[2, 1]).unwrap();
        assert_eq!(array.to_tensor(&Device::cpu()).unwrap().dims(), upload(&array));
        let _: &[u32] = array.values();
    }

    #[test]
    fn the_largest_values_are_those_of_a_tensor() {
        let values = vec![1.0, 5.0, 5.0, f32::NAN, -1.0, 0.0, 7.0, f32::NAN];
        let array = HostArray::new(values, &[2, 2, 2]).unwrap();
        for axis in 0..3 {
            let tensor = array.to_tensor(&Device::cpu()).unwrap();
            assert_eq!(array.argmax(axis).unwrap(), tensor.argmax(axis).unwrap());
        }
        assert_eq!(array.argmax(2).unwrap(), [1, 1, 1, 1]);
        assert!(array.argmax(3).unwrap_err().to_string().contains("axis"));
    }

    #[test]
    fn sizes_have_to_fit() {
        let array = HostArray::new(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        let tensor = array.to_tensor(&Device::cpu()).unwrap();
        assert_eq!((tensor.dims(), tensor.to_vec().unwrap()), (&[2, 3][..], array.values().to_vec()));
        assert!(HostArray::new(vec![1u32; 5], &[2, 3]).unwrap_err().to_string().contains("[2, 3]"));
        assert!(HostArray::new(vec![1u32; 5], &[usize::MAX, 2]).is_err());
    }
}
