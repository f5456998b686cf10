//! Arrays in host memory, before they become tensors.

use crate::{Device, Error, Result, Tensor};

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

impl HostArray<f32> {
    /// Uploads the values.
    ///
    /// # Errors
    /// An axis has length zero, or the allocation fails.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(device, &self.values, &self.dims)
    }
}

impl HostArray<u32> {
    /// Uploads indices.
    ///
    /// # Errors
    /// As for values.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_indices(device, &self.values, &self.dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_to_fit() {
        let array = HostArray::new(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        let tensor = array.to_tensor(&Device::cpu()).unwrap();
        assert_eq!((tensor.dims(), tensor.to_vec().unwrap()), (&[2, 3][..], array.values().to_vec()));
        assert!(HostArray::new(vec![1u32; 5], &[2, 3]).unwrap_err().to_string().contains("[2, 3]"));
        assert!(HostArray::new(vec![1u32; 5], &[usize::MAX, 2]).is_err());
    }
}
