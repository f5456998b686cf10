//! Cells a row at a time, for steps in which more lies between the products and h than a vector of units can
//! see: layer normalisation (Ba 2016), a second product, a projection.

use super::super::simd::Simd;
use super::super::tile::load;
use super::{CellMath, Element};

/// Floats for the pre-activations of a vector of units: five slots of the widest vector.
pub(super) const SLOTS: usize = 5 * 16;

/// Added to the variance.
const EPS: f32 = 1e-5;

/// One row's products and what is done to them on their way to the pre-activations.
#[derive(Clone, Copy)]
pub(crate) struct Preactivations<'a> {
    /// `W x` and `U h`, `[G*H]`. The cell may write to `h` what it is done with.
    pub(crate) x: *const f32,
    pub(crate) h: *mut f32,
    /// `[G*H]` each
    pub(crate) biases: [&'a [f32]; 2],
    /// Moments and gains `[G*H]` of both products.
    pub(crate) norms: Option<[(Moments, &'a [f32]); 2]>,
    /// Gain and offset `[H]` of the cell state's normalisation.
    pub(crate) norm_c: Option<[&'a [f32]; 2]>,
}

impl Preactivations<'_> {
    /// What [`CellMath::forward`] reads for one vector of units.
    ///
    /// # Safety
    /// Below `SimdKernel::run`; `out` has [`SLOTS`] floats.
    #[inline(always)]
    pub(super) unsafe fn slots<S: Simd, C: CellMath>(&self, at: &Element, out: *mut f32) {
        // SAFETY: the lanes in use are units, of gates that exist.
        unsafe {
            for g in 0..C::GATES {
                let place = g * at.hidden + at.unit;
                let mut parts = [at.load::<S>(self.x.add(place)), at.load::<S>(self.h.add(place))];
                for n in 0..2 {
                    let bias = at.per_unit::<S>(self.biases[n], g);
                    parts[n] = match &self.norms {
                        None => S::add(parts[n], bias),
                        Some(norms) => {
                            let (moments, gain) = &norms[n];
                            S::fma(moments.normalise::<S>(parts[n]), at.per_unit::<S>(gain, g), bias)
                        }
                    };
                }
                if C::LAST_GATE_IN_AUX && g + 1 == C::GATES {
                    S::store(out.add(g * S::LANES), parts[0]);
                    S::store(out.add((g + 1) * S::LANES), parts[1]);
                } else {
                    S::store(out.add(g * S::LANES), S::add(parts[0], parts[1]));
                }
            }
        }
    }
}

/// Where a row's h goes.
#[derive(Clone, Copy)]
pub(crate) struct RowOut {
    /// `[H]`
    pub(crate) h: *mut f32,
    /// Whether that is the layer's h, which zoneout mixes with the old one.
    pub(crate) is_state: bool,
    pub(crate) training: bool,
}

impl RowOut {
    /// Stores a vector of units.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd>(&self, at: &Element, h: S::V) {
        // SAFETY: the lanes in use are units.
        unsafe {
            let h = if self.is_state { at.zone::<S>(at.noise.zone_h, h, at.h_prev) } else { h };
            at.store::<S>(self.h.add(at.unit), h);
        }
    }
}

/// Gradients of one row, `[H]` each.
#[derive(Clone, Copy)]
pub(crate) struct RowGrads<'a> {
    /// Of the cell's h; of `r*h` the second time.
    pub(crate) dh: *const f32,
    /// See [`CellMath::backward`].
    pub(crate) carry: *mut f32,
    /// As in [`Preactivations`]; their gradients go to this block of the sums and the next.
    pub(crate) norm_c: Option<[&'a [f32]; 2]>,
    pub(crate) norm_c_sums: usize,
    /// Whether the cell's h takes the place of `aux`: a projection's gradient needs it.
    pub(crate) keep_output: bool,
    /// `[4*H]`
    pub(crate) scratch: *mut f32,
}

/// A cell on whole rows.
pub(crate) trait RowCellMath: CellMath {
    /// Whether a product lies within the step: of what `forward_row` leaves in `out`, into the last gate's
    /// place in `pre.h`; then `forward_again` finishes the step. Backward likewise.
    const TWO_PRODUCTS: bool = false;

    /// # Safety
    /// Below `SimdKernel::run`; all pointers are valid for the row.
    #[inline(always)]
    unsafe fn forward_row<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        // SAFETY: by contract.
        unsafe { forward_units::<S, Self>(self, pre, row, out) }
    }

    /// # Safety
    /// As `forward_row`.
    #[inline(always)]
    unsafe fn forward_again<S: Simd>(&self, _: &Preactivations<'_>, _: &Element, _: RowOut) {}

    /// # Safety
    /// As `forward_row`.
    #[inline(always)]
    unsafe fn backward_row<S: Simd>(&self, row: &Element, grads: &RowGrads<'_>) {
        // SAFETY: by contract.
        unsafe {
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                self.backward::<S>(at.load::<S>(grads.dh.add(j)), &at, grads.carry.add(j));
            }
        }
    }

    /// # Safety
    /// As `forward_row`.
    #[inline(always)]
    unsafe fn backward_again<S: Simd>(&self, _: &Element, _: &RowGrads<'_>) {}
}

/// [`CellMath::forward`] over a row.
#[inline(always)]
pub(super) unsafe fn forward_units<S: Simd, C: CellMath>(
    cell: &C,
    pre: &Preactivations<'_>,
    row: &Element,
    out: RowOut,
) {
    // SAFETY: see `RowCellMath`.
    unsafe {
        for j in (0..row.hidden).step_by(S::LANES) {
            let at = row.units::<S>(j);
            let mut product = [0.0; SLOTS];
            pre.slots::<S, C>(&at, product.as_mut_ptr());
            let h = cell.forward::<S>(product.as_ptr(), &at, out.training);
            out.store::<S>(&at, h);
        }
    }
}

/// The sum of `n` elements, of which `part(first, lanes)` is a vector; four chains hide an addition's latency.
#[inline(always)]
unsafe fn sum_over<S: Simd>(n: usize, part: impl Fn(usize, usize) -> S::V) -> f32 {
    // SAFETY: register operations only.
    unsafe {
        let mut sums = [S::splat(0.0); 4];
        let width = 4 * S::LANES;
        let whole = n / width * width;
        for first in (0..whole).step_by(width) {
            for v in 0..4 {
                sums[v] = S::add(sums[v], part(first + v * S::LANES, S::LANES));
            }
        }
        for (v, j) in (whole..n).step_by(S::LANES).enumerate() {
            sums[v] = S::add(sums[v], part(j, S::LANES.min(n - j)));
        }
        S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
    }
}

/// Mean of a row, and `1 / sqrt(variance + eps)` with the variance of the population.
#[derive(Clone, Copy)]
pub(crate) struct Moments {
    mean: f32,
    pub(crate) scale: f32,
}

impl Moments {
    /// Of `n` floats, in two passes.
    ///
    /// # Safety
    /// Below `SimdKernel::run`; valid for `n` floats.
    #[inline(always)]
    pub(crate) unsafe fn of<S: Simd>(row: *const f32, n: usize) -> Self {
        // SAFETY: by contract.
        unsafe {
            let mean = sum_over::<S>(n, |j, lanes| load::<S>(row.add(j), lanes)) / n as f32;
            let means = [mean; 16];
            let squares = sum_over::<S>(n, |j, lanes| {
                // Lanes past the end are 0 - 0.
                let apart = S::sub(load::<S>(row.add(j), lanes), load::<S>(means.as_ptr(), lanes));
                S::mul(apart, apart)
            });
            Moments { mean, scale: 1.0 / (squares / n as f32 + EPS).sqrt() }
        }
    }

    /// The normalised vector.
    #[inline(always)]
    pub(crate) unsafe fn normalise<S: Simd>(&self, x: S::V) -> S::V {
        // SAFETY: register operations only.
        unsafe { S::mul(S::sub(x, S::splat(self.mean)), S::splat(self.scale)) }
    }

    /// The gradient of x from that of its normalised value, `scale * (d - mean(d) - xn mean(d xn))`.
    #[inline(always)]
    pub(crate) unsafe fn back<S: Simd>(&self, [mean, along]: [f32; 2], d: S::V, x: S::V) -> S::V {
        // SAFETY: register operations only.
        unsafe {
            let rest = S::sub(d, S::splat(mean));
            let rest = S::sub(rest, S::mul(self.normalise::<S>(x), S::splat(along)));
            S::mul(rest, S::splat(self.scale))
        }
    }
}

/// What a row's gradient through its normalisation needs of the whole row: means of `d` and of `d xn`.
pub(crate) struct NormFlow<S: Simd> {
    sum: S::V,
    along: S::V,
}

impl<S: Simd> NormFlow<S> {
    /// # Safety
    /// Below `SimdKernel::run`, as all of it.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: register operations only.
        unsafe { NormFlow { sum: S::splat(0.0), along: S::splat(0.0) } }
    }

    /// Takes in the first `lanes` of `d`, and returns it.
    #[inline(always)]
    pub(crate) unsafe fn add(&mut self, d: S::V, normed: S::V, lanes: usize) -> S::V {
        // SAFETY: partial stores stay within the buffer.
        unsafe {
            let mut used = d;
            if lanes < S::LANES {
                let mut buffer = [0.0; 16];
                S::store_partial(buffer.as_mut_ptr(), d, lanes);
                used = S::load(buffer.as_ptr());
            }
            self.sum = S::add(self.sum, used);
            self.along = S::fma(used, normed, self.along);
            d
        }
    }

    /// Means over a row of `n`, for [`Moments::back`].
    #[inline(always)]
    pub(crate) unsafe fn means(&self, n: usize) -> [f32; 2] {
        // SAFETY: register operations only.
        unsafe { [S::sum(self.sum), S::sum(self.along)].map(|sum| sum / n as f32) }
    }
}
