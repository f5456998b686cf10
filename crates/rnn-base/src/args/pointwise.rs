//! Functions of two arrays, element by element.

/// Two operands broadcast to one shape: its dims, and the strides of each operand, 0 along broadcast axes.
/// Axes are merged where possible: operands of the same shape have one axis and strides of 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strided2 {
    /// Axis lengths of the result.
    pub dims: Vec<usize>,
    /// Strides of the left operand.
    pub a_strides: Vec<usize>,
    /// Strides of the right operand.
    pub b_strides: Vec<usize>,
}

impl Strided2 {
    /// Whether both operands are read element by element in memory order.
    pub fn is_contiguous(&self) -> bool {
        self.dims.len() == 1 && self.a_strides == [1] && self.b_strides == [1]
    }
}
