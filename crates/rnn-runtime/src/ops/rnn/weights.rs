//! The weights of one cell as PyTorch lays them out.

use crate::array::Array;
use crate::ops::pointwise::accumulate;
use rnn_base::error::Result;
use rnn_kernels::cell::PerParameter;

/// Weights of one cell, or their gradients; PyTorch's layout. Shapes:
/// [`Parameter`](rnn_kernels::cell::Parameter).
pub type CellWeights = PerParameter<Array>;

/// Adds the gradients that a part of a pass has to those of the parts before it.
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
