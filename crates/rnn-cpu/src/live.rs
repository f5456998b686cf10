//! Parts of a network that runs in real time, one row at a time: they take memory at construction only, and no lock.

use super::memory::Aligned;
pub use super::pointwise::unary_in_place;
pub use super::rnn::LiveStack;
use super::simd::{self, Isa, Simd, SimdKernel, vecmath};
pub use super::softmax::softmax_in_place;
use rnn_base::error::Result;
use rnn_kernels::cell::Activation;

/// An activation as cells have it, in place of its arguments.
pub fn activate_in_place(activation: Activation, values: &mut [f32]) {
    simd::dispatch(simd::isa(), Activate { activation, values });
}

struct Activate<'a> {
    activation: Activation,
    values: &'a mut [f32],
}

impl SimdKernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for values in self.values.chunks_mut(S::LANES) {
            let y = vecmath::activate::<S>(self.activation, S::load_slice(values));
            S::store_slice(values, y);
        }
    }
}

/// A fully connected layer for one row. An output is a sum of several chains, because a single one would be slower than a
/// small recurrent layer; so it may differ in the last bits from that of `gemm`, which has one.
pub struct LiveDense {
    /// `[O]` rows of I, padded to whole vectors.
    weights: Aligned,
    /// `[O]`
    bias: Aligned,
    inputs: usize,
    isa: Isa,
}

impl LiveDense {
    /// From `weight` `[O, I]`, and `bias` `[O]` or empty.
    ///
    /// # Errors
    /// No memory.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Result<Self> {
        let isa = simd::isa();
        let (outputs, stride) = (weight.len() / inputs, inputs.next_multiple_of(simd::lanes(isa)));
        let mut weights = Aligned::zeros(outputs * stride)?;
        for (row, given) in weights.chunks_exact_mut(stride).zip(weight.chunks_exact(inputs)) {
            row[..inputs].copy_from_slice(given);
        }
        let mut all = Aligned::zeros(outputs)?;
        all[..bias.len()].copy_from_slice(bias);
        Ok(LiveDense { weights, bias: all, inputs, isa })
    }

    /// I
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// O
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `y = W x + b`
    #[inline]
    pub fn apply(&self, x: &[f32], y: &mut [f32]) {
        assert_eq!(y.len(), self.bias.len());
        let of = Dots { weights: &self.weights, bias: &self.bias, x: &x[..self.inputs], y };
        simd::dispatch(self.isa, of);
    }
}

/// A product of a matrix with padded rows and a vector.
struct Dots<'a> {
    weights: &'a [f32],
    bias: &'a [f32],
    x: &'a [f32],
    y: &'a mut [f32],
}

/// Chains of a sum: their latency hides in each other.
const CHAINS: usize = 4;

impl SimdKernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (inputs, vectors) = (self.x.len(), self.x.len() / S::LANES);
        let rest = inputs - vectors * S::LANES;
        let stride = inputs.next_multiple_of(S::LANES);
        assert!(self.weights.len() >= self.y.len() * stride);
        for (n, (bias, y)) in self.bias.iter().zip(self.y).enumerate() {
            let mut sums = [S::splat(0.0); CHAINS];
            // SAFETY: every output has a row, which has `vectors` whole vectors of weights, as x has, and one more if x has a
            // rest.
            unsafe {
                let (x, w) = (self.x.as_ptr(), self.weights.as_ptr().add(n * stride));
                let vector = |n: usize, sum: S::V| {
                    S::fma(S::load(x.add(n * S::LANES)), S::load(w.add(n * S::LANES)), sum)
                };
                let chained = vectors / CHAINS * CHAINS;
                for n in (0..chained).step_by(CHAINS) {
                    for chain in 0..CHAINS {
                        sums[chain] = vector(n + chain, sums[chain]);
                    }
                }
                for n in chained..vectors {
                    sums[n - chained] = vector(n, sums[n - chained]);
                }
                if rest > 0 {
                    let last = vectors * S::LANES;
                    let x = S::load_partial(x.add(last), rest);
                    sums[CHAINS - 1] = S::fma(x, S::load(w.add(last)), sums[CHAINS - 1]);
                }
            }
            let [a, b, c, d] = sums;
            *y = bias + S::sum(S::add(S::add(a, b), S::add(c, d)));
        }
    }
}
