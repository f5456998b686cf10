//! The copy rate of a device: bytes read plus bytes written per second.

use super::job::median;
use anyhow::Result;
use rnn_api::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Far larger than any cache, and within the binding size that WebGPU guarantees.
const BYTES: usize = 128 << 20;

/// Copy rate of `threads` threads, in GB/s.
pub(crate) fn cpu_gb_per_s(threads: usize) -> Result<f64> {
    let mut arrays: Vec<_> = (0..threads).map(|_| (vec![1u8; BYTES], vec![0u8; BYTES])).collect();
    rate(threads, || {
        std::thread::scope(|scope| {
            for (from, to) in &mut arrays {
                scope.spawn(|| black_box(to).copy_from_slice(black_box(from)));
            }
        });
        Ok(())
    })
}

/// Copy rate of an elementwise op of this library, in GB/s. Several ops share one wait, so that the wait hardly
/// counts.
pub(crate) fn gpu_gb_per_s(device: &Device) -> Result<f64> {
    const OPS: usize = 4;
    let a = Tensor::full(device, &[BYTES / size_of::<f32>()], 0.5)?;
    rate(OPS, || {
        for _ in 0..OPS {
            a.scale(1.5)?;
        }
        Ok(device.synchronize()?)
    })
}

/// The median time of five runs of `copies` copies, after one run that touches the memory.
fn rate(copies: usize, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let mut rates = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        run()?;
        rates.push((2 * copies * BYTES) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    Ok(median(rates))
}
