//! Training passes whose arrays are larger than an adapter takes: they run in segments of time.

use crate::device::Device;
use crate::error::Result;
use rnn_kernels::cell::StackSpec;

/// The steps of the longest segment whose arrays fit the device, for [`forward_checkpointed`](super::forward_checkpointed)
/// over `steps` steps of `batch` rows; `None` where all steps fit at once, and on the CPU.
///
/// # Errors
/// [`Error::TooLarge`](crate::Error::TooLarge) where not even a step fits, or with two directions, which cannot be cut: it says how many rows
/// would fit.
pub fn steps_that_fit(
    spec: &StackSpec,
    device: &Device,
    steps: usize,
    batch: usize,
) -> Result<Option<usize>> {
    match device {
        Device::Cpu(_) => {
            // Memory is the only limit.
            let _ = (spec, steps, batch);
            Ok(None)
        }
        #[cfg(feature = "gpu")]
        Device::Gpu(gpu) => on_gpu(spec, gpu, steps, batch),
    }
}

#[cfg(feature = "gpu")]
fn on_gpu(
    spec: &StackSpec,
    gpu: &crate::gpu::GpuDevice,
    steps: usize,
    batch: usize,
) -> Result<Option<usize>> {
    use crate::error::Error;
    let limit = gpu.max_array_bytes();
    // Gates `[T, B, D, G, H]` are the largest array of a pass, or its input. In u128: a case may be absurd.
    let width = |size: usize| size.next_multiple_of(4) as u128;
    let gates = (spec.num_directions() * spec.cell.gates()) as u128 * width(spec.hidden_size);
    let inputs = (0..spec.num_layers).map(|layer| width(spec.layer_input_size(layer)));
    let of_step = 4 * batch as u128 * inputs.fold(gates, u128::max);
    if of_step * steps as u128 <= u128::from(limit) {
        return Ok(None);
    }
    let too_large = |steps: usize, why: &str| {
        let of_row = of_step * steps as u128 / batch as u128;
        let rows = u128::from(limit) / of_row.max(1);
        Err(Error::TooLarge {
            op: "rnn::forward",
            what: format!("the gates of T = {steps}, B = {batch}{why} (B = {rows} fits)"),
            needed: of_step * steps as u128,
            limit,
        })
    };
    if spec.bidirectional {
        return too_large(steps, " with two directions, which cannot be cut in time");
    }
    match (u128::from(limit) / of_step) as usize {
        0 => too_large(1, ""),
        every => {
            tracing::debug!(
                steps,
                every,
                "a training pass in segments: its arrays are above the adapter's limit"
            );
            Ok(Some(every))
        }
    }
}
