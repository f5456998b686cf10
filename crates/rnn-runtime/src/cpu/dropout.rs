//! Twin of `pointwise/dropout.wgsl`.

use super::{CpuBuffer, CpuDevice, split};
use crate::error::Result;
use crate::ops::dropout::DropoutMask;
use crate::rng::drop_threshold;

pub(crate) fn dropout(dev: &CpuDevice, x: &CpuBuffer, n: usize, mask: &DropoutMask) -> Result<CpuBuffer> {
    let (threshold, scale) = (drop_threshold(mask.probability), mask.scale());
    let mut out = dev.alloc(n)?;
    split::elements(out.make_mut()?, |first, out| {
        let later = u32::from(!mask.shared);
        let mut step = mask.first_step.wrapping_add(later * (first / mask.row) as u32);
        let mut element = first % mask.row;
        for (out, &x) in out.iter_mut().zip(&x[first..]) {
            let keep = mask.key.bits(step, element as u32) >> 8 >= threshold;
            // A choice, not a product: a dropped NaN or infinity is 0 too.
            *out = if keep { x * scale } else { 0.0 };
            element += 1;
            if element == mask.row {
                element = 0;
                step = step.wrapping_add(later);
            }
        }
    });
    Ok(out)
}
