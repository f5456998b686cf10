//! Parts of a network that runs in real time, one row at a time: they take memory at construction only, and no lock.

use super::memory::Aligned;
pub use super::pointwise::unary_in_place;
pub use super::rnn::LiveStack;
use super::simd::{self, Entry, Simd, SimdKernel, SimdStep, vecmath};
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
    entry: Entry<LiveDense>,
}

impl LiveDense {
    /// From `weight` `[O, I]`, and `bias` `[O]` or empty.
    ///
    /// # Errors
    /// No memory.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Result<Self> {
        // A sum over a half empty vector has one level more, and its load may wait for the store of the layer below.
        let isa = simd::isa_for_row(simd::isa(), inputs);
        let (outputs, stride) = (weight.len() / inputs, inputs.next_multiple_of(simd::lanes(isa)));
        let mut weights = Aligned::zeros(outputs * stride)?;
        for (row, given) in weights.chunks_exact_mut(stride).zip(weight.chunks_exact(inputs)) {
            row[..inputs].copy_from_slice(given);
        }
        let mut all = Aligned::zeros(outputs)?;
        all[..bias.len()].copy_from_slice(bias);
        Ok(LiveDense { weights, bias: all, inputs, entry: Entry::new::<Dots>(isa) })
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
    pub fn apply(&mut self, x: &[f32], y: &mut [f32]) {
        self.entry.call(self, x, y);
    }
}

/// The product of the matrix and a vector.
struct Dots;

/// Chains of a sum: their latency hides in each other.
const CHAINS: usize = 4;

impl SimdStep for Dots {
    type State = LiveDense;

    #[inline(always)]
    fn run<S: Simd>(dense: &mut LiveDense, x: &[f32], y: &mut [f32]) {
        let LiveDense { weights, bias, inputs, .. } = dense;
        let (inputs, weights, bias) = (*inputs, &weights[..], &bias[..]);
        let stride = inputs.next_multiple_of(S::LANES);
        assert!(x.len() == inputs && y.len() == bias.len() && weights.len() >= y.len() * stride);
        // SAFETY: every output has a row of weights.
        let product = |n: usize| unsafe { dot::<S>(x, weights.as_ptr().add(n * stride)) };
        match (bias, y) {
            // One output, as networks for sound have it: what a loop prepares would take longer than the product.
            ([bias], [y]) => *y = bias + product(0),
            (bias, y) => {
                for (n, (bias, y)) in bias.iter().zip(y).enumerate() {
                    *y = bias + product(n);
                }
            }
        }
    }
}

/// The product of `x` and a row of weights.
///
/// # Safety
/// The row is as long as x, and goes on to a whole vector.
#[inline(always)]
unsafe fn dot<S: Simd>(x: &[f32], w: *const f32) -> f32 {
    let (vectors, rest) = (x.len() / S::LANES, x.len() % S::LANES);
    let x = x.as_ptr();
    let mut sums = [S::splat(0.0); CHAINS];
    // SAFETY: x and the row have `vectors` whole vectors; if x has a rest, the row has one more.
    unsafe {
        let vector =
            |n: usize, sum: S::V| S::fma(S::load(x.add(n * S::LANES)), S::load(w.add(n * S::LANES)), sum);
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
            sums[CHAINS - 1] =
                S::fma(S::load_partial(x.add(last), rest), S::load(w.add(last)), sums[CHAINS - 1]);
        }
    }
    let [a, b, c, d] = sums;
    S::sum(S::add(S::add(a, b), S::add(c, d)))
}
