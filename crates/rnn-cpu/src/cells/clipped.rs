//! Activations whose argument may be clipped.

use crate::simd::{self, Simd, SimdKernel, vecmath};
use rnn_kernels::cell::{Activation, CellSpec};

/// An activation whose argument may be clipped to ±bound.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Clipped {
    activation: Activation,
    /// The bound; infinite without a clip.
    bound: f32,
    /// The values of the activation there, the smaller one first; absent without a clip.
    ends: Option<[f32; 2]>,
}

impl Clipped {
    pub(crate) fn new(spec: &CellSpec, activation: Activation) -> Self {
        let Some(bound) = spec.clip else { return Clipped::free(activation) };
        let ends = simd::dispatch(simd::isa(), ValuesAtBounds { activation, bound });
        Clipped { activation, bound, ends: Some([ends[0].min(ends[1]), ends[0].max(ends[1])]) }
    }

    /// Without a clip.
    #[inline(always)]
    pub(crate) const fn free(activation: Activation) -> Self {
        Clipped { activation, bound: f32::INFINITY, ends: None }
    }

    /// The activation of the clipped argument.
    #[inline(always)]
    pub(crate) fn value<S: Simd>(&self, x: S::V) -> S::V {
        vecmath::activate::<S>(self.activation, within::<S>(self.bound, x))
    }

    /// The derivative in terms of the value: zero at the bounds.
    #[inline(always)]
    pub(crate) fn slope<S: Simd>(&self, y: S::V) -> S::V {
        let slope = vecmath::d_activate::<S>(self.activation, y);
        match self.ends {
            Some([low, high]) => {
                let (low, high, zero) = (S::splat(low), S::splat(high), S::splat(0.0));
                S::select_lt(low, y, S::select_lt(y, high, slope, zero), zero)
            }
            None => slope,
        }
    }
}

/// `x` clipped to ±bound. `min` and `max` return their second argument for NaN, so NaN is kept.
#[inline(always)]
fn within<S: Simd>(bound: f32, x: S::V) -> S::V {
    if bound == f32::INFINITY { x } else { S::max(S::splat(-bound), S::min(S::splat(bound), x)) }
}

/// The values of an activation at ±bound, computed with vectors as in the passes.
struct ValuesAtBounds {
    activation: Activation,
    bound: f32,
}

impl SimdKernel for ValuesAtBounds {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self) -> [f32; 2] {
        [-self.bound, self.bound]
            .map(|x| S::to_array(vecmath::activate::<S>(self.activation, S::splat(x)))[0])
    }
}
