//! [`HostTensor`]: a tensor of a file.

/// One tensor of a file, in host memory.
#[derive(Clone, Debug)]
pub struct HostTensor {
    /// Axis lengths.
    pub dims: Vec<usize>,
    /// The values in f32, widened from f16 or bf16 or rounded from f64; or the name of a type that has no fractions.
    pub values: Result<Vec<f32>, String>,
    /// The values of a tensor of integers or booleans, such as lengths or labels.
    pub integers: Option<Vec<i64>>,
}

impl HostTensor {
    /// Names the first value that is infinite or NaN, if there is one.
    pub(super) fn not_finite(&self, name: &str) -> Option<String> {
        not_finite(name, self.values.as_ref().ok()?)
    }
}

/// Names the first value of a tensor that is infinite or NaN, if there is one.
pub(crate) fn not_finite(name: &str, values: &[f32]) -> Option<String> {
    let first = values.iter().position(|value| !value.is_finite())?;
    let count = values[first..].iter().filter(|value| !value.is_finite()).count();
    Some(format!("`{name}` must be finite, got {} at element {first} ({count} in all)", values[first]))
}
