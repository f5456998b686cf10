//! The roofline model (Williams, Waterman and Patterson 2009): no pass is faster than its products at the highest
//! rate of the device, nor than its memory traffic at the copy rate.

use super::job::Pass;
use crate::common::case::Case;
use serde::Serialize;

/// The highest measured rates of a device.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Rates {
    /// Of products, in GFLOP/s.
    pub(crate) gflops: f64,
    /// Of a copy in memory, bytes read and bytes written, in GB/s.
    pub(crate) copy_gb_per_s: f64,
}

/// Which of the two bounds is tighter.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bound {
    Compute,
    Memory,
}

impl Bound {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
        }
    }
}

impl Rates {
    /// On a shared machine the best rate ever measured counts.
    pub(crate) fn best(self, other: Rates) -> Rates {
        Rates {
            gflops: self.gflops.max(other.gflops),
            copy_gb_per_s: self.copy_gb_per_s.max(other.copy_gb_per_s),
        }
    }

    /// The share of the product rate that a pass of this duration reaches.
    pub(crate) fn of_products(self, case: &Case, pass: Pass, ms: f64) -> f64 {
        pass.flops(case) / ms / 1e6 / self.gflops
    }

    /// The share of the roofline, and which bound it is.
    pub(crate) fn of_roof(self, case: &Case, pass: Pass, gates: Gates, ms: f64) -> (f64, Bound) {
        let compute = pass.flops(case) / self.gflops / 1e6;
        let memory = Sizes::of(case).bytes(pass, gates) as f64 / self.copy_gb_per_s / 1e6;
        let bound = if compute >= memory { Bound::Compute } else { Bound::Memory };
        (compute.max(memory) / ms, bound)
    }
}

/// Where a backend keeps the input products between writing and reading them.
#[derive(Clone, Copy)]
pub(crate) enum Gates {
    /// In memory: one product over all steps precedes the recurrence, as on the GPU.
    InMemory,
    /// In a core's cache: each step, or a few steps ahead, computes them just before they are read, as on the CPU.
    InCache,
}

#[allow(non_snake_case, reason = "the letters of docs/notation.md")]
struct Sizes {
    T: usize,
    B: usize,
    I: usize,
    H: usize,
    gates: usize,
    /// Arrays `[T, B, H]` that training keeps beside y and the gates.
    kept: usize,
}

impl Sizes {
    fn of(case: &Case) -> Sizes {
        let &Case { T, B, I, H, .. } = case;
        Sizes { T, B, I, H, gates: case.gates(), kept: usize::from(case.cell != "rnn") }
    }

    /// Bytes in f32 that have to pass between memory and cores if every product and every recurrence reads and
    /// writes each of its arrays once. W and U therefore count once, although a device whose caches do not hold U
    /// reads it in every step. Biases, initial and final states, and values that stay in registers or a cache are
    /// not counted. Arrays are assumed to come from memory, as in a layer that is one of many. A small layer that
    /// runs again and again finds them in a cache and can exceed this bound.
    const fn bytes(&self, pass: Pass, kept_gates: Gates) -> usize {
        let Sizes { T, B, I, H, gates, kept } = *self;
        let (x, y, all_gates) = (T * B * I, T * B * H, T * B * gates * H);
        let weights = gates * H * (I + H);
        // The product writes the gates and the recurrence reads them.
        let hoisted = match kept_gates {
            Gates::InMemory => 2 * all_gates,
            Gates::InCache => 0,
        };
        let forward = x + weights + hoisted + y;
        let floats = match pass {
            Pass::Forward => forward,
            Pass::Train => {
                // Saved for the backward pass.
                let saved = all_gates + kept * y;
                // The recurrence reads dy, U and the saved values, and overwrites the gates with their gradients.
                let recurrence = y + gates * H * H + 2 * all_gates + kept * y;
                // dx from W; dW and dU, each from the gradients of the gates and from x and y, in one pass.
                let input = all_gates + gates * H * I + x;
                let weight_grads = all_gates + x + y + weights;
                forward + saved + recurrence + input + weight_grads
            }
        };
        floats * size_of::<f32>()
    }
}

/// Computed by hand: two steps of one LSTM unit, so x and y are 2 floats, W and U 4 each, the gates 8.
const _: () = {
    let sizes = Sizes { T: 2, B: 1, I: 1, H: 1, gates: 4, kept: 1 };
    assert!(sizes.bytes(Pass::Forward, Gates::InCache) == 4 * (2 + 8 + 2));
    assert!(sizes.bytes(Pass::Forward, Gates::InMemory) == 4 * (2 + 8 + 16 + 2));
    // Forward, saved values, recurrence, dx, then dW and dU.
    let train = (2 + 8 + 2) + (8 + 2) + (2 + 4 + 16 + 2) + (8 + 4 + 2) + (8 + 2 + 2 + 8);
    assert!(sizes.bytes(Pass::Train, Gates::InCache) == 4 * train);
};
