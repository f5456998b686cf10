//! The weights of one cell in PyTorch's layout.

use crate::array::Array;
use crate::ops::pointwise::accumulate;
use rnn_base::error::Result;
use rnn_kernels::cell::PerParameter;

/// Weights of one cell, or their gradients, in PyTorch's layout. [`Parameter`](rnn_kernels::cell::Parameter)
/// has their shapes.
pub type CellWeights = PerParameter<Array>;

/// Adds one part's weight gradients to the sum over the earlier parts.
pub(super) fn add_weights(sum: &mut Option<Vec<CellWeights>>, part: Vec<CellWeights>) -> Result<()> {
    let Some(sum) = sum else {
        *sum = Some(part);
        return Ok(());
    };
    for (sum, part) in sum.iter_mut().zip(&part) {
        for (parameter, own) in part.all() {
            if let Some(of) = sum.get_mut(parameter) {
                accumulate(of, own)?;
            }
        }
    }
    Ok(())
}
