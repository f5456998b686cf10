//! Cells that work on whole rows, for the driver in phases: layer normalisation (Ba 2016), a second product, or a
//! projection needs more than a vector of units at a time.

use super::super::simd::MOST_LANES;
use super::super::simd::Simd;
use super::{CellMath, Element, Row, Slots};

/// Floats for the pre-activations of a vector of units: five slots of the widest vector.
pub(super) const SLOTS: usize = 5 * MOST_LANES;

/// Added to the variance.
const EPS: f32 = 1e-5;

/// One row's products, and what turns them into pre-activations.
#[derive(Clone, Copy)]
pub(crate) struct Preactivations<'a> {
    /// `W x` and `U h`, `[G*H]`. A cell that has read `h` may keep numbers of its own there.
    pub(crate) x: Row,
    pub(crate) h: Row,
    /// `[G*H]` each
    pub(crate) biases: [&'a [f32]; 2],
    /// Moments and gains `[G*H]` of both products.
    pub(crate) norms: Option<[(Moments, &'a [f32]); 2]>,
    /// Gain and offset `[H]` of the cell state's normalisation.
    pub(crate) norm_c: Option<[&'a [f32]; 2]>,
}

impl Preactivations<'_> {
    /// What [`CellMath::forward`] reads for one vector of units, in `out`.
    #[inline(always)]
    pub(super) fn slots<'o, S: Simd, C: CellMath>(
        &self,
        at: &Element,
        out: &'o mut [f32; SLOTS],
    ) -> Slots<'o> {
        let mut set = |n: usize, v: S::V| S::store_slice(&mut out[n * S::LANES..][..S::LANES], v);
        for g in 0..C::GATES {
            let mut parts = [self.x, self.h].map(|row| row.block(g, at.hidden()).at::<S>(at));
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
                set(g, parts[0]);
                set(g + 1, parts[1]);
            } else {
                set(g, S::add(parts[0], parts[1]));
            }
        }
        Slots::of(out)
    }
}

/// Where a row's h goes.
#[derive(Clone, Copy)]
pub(crate) struct RowOut {
    /// `[H]`
    pub(crate) h: Row,
    /// Whether this is the layer's h, to which zoneout applies, and not the operand of another product.
    pub(crate) is_state: bool,
    pub(crate) training: bool,
}

impl RowOut {
    /// Stores a vector of units.
    #[inline(always)]
    pub(super) fn store<S: Simd>(&self, at: &Element, h: S::V) {
        self.h.set::<S>(at, if self.is_state { at.mixed_h::<S>(h) } else { h });
    }
}

/// Gradients of one row, `[H]` each.
#[derive(Clone, Copy)]
pub(crate) struct RowGrads<'a> {
    /// Gradient of the cell's h; for `backward_again` of `r*h`.
    pub(crate) dh: Row,
    /// As in [`Preactivations`]; their gradients go to this block of the sums and the next.
    pub(crate) norm_c: Option<[&'a [f32]; 2]>,
    pub(crate) norm_c_sums: usize,
    /// Whether to overwrite `aux` with the cell's h, which the gradient of a projection needs.
    pub(crate) keep_output: bool,
    /// `[4*H]`
    pub(crate) scratch: Row,
}

/// A cell on whole rows.
pub(crate) trait RowCellMath: CellMath {
    /// Whether a step has a second product. Its operand is what `forward_row` leaves in `out`, and its result goes to the
    /// last gate's place in `pre.h`; then `forward_again` finishes the step. The same holds backward.
    const TWO_PRODUCTS: bool = false;

    #[inline(always)]
    fn forward_row<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        forward_units::<S, Self>(self, pre, row, out)
    }

    #[inline(always)]
    fn forward_again<S: Simd>(&self, _: &Preactivations<'_>, _: &Element, _: RowOut) {}

    #[inline(always)]
    fn backward_row<S: Simd>(&self, row: &Element, grads: &RowGrads<'_>) {
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            self.backward::<S>(grads.dh.at::<S>(&at), &at);
        }
    }

    #[inline(always)]
    fn backward_again<S: Simd>(&self, _: &Element, _: &RowGrads<'_>) {}
}

/// [`CellMath::forward`] over a row.
#[inline(always)]
pub(super) fn forward_units<S: Simd, C: CellMath>(
    cell: &C,
    pre: &Preactivations<'_>,
    row: &Element,
    out: RowOut,
) {
    for j in (0..row.hidden()).step_by(S::LANES) {
        let at = row.units::<S>(j);
        let mut slots = [0.0; SLOTS];
        let product = pre.slots::<S, C>(&at, &mut slots);
        let h = cell.forward::<S>(product, &at, out.training);
        out.store::<S>(&at, h);
    }
}

/// The sum of `n` elements, which `part(first, lanes)` gives a vector at a time. Four sums hide the latency of an addition.
#[inline(always)]
fn sum_over<S: Simd>(n: usize, part: impl Fn(usize, usize) -> S::V) -> f32 {
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

/// Mean of a row, and `1 / sqrt(variance + eps)` with the variance of the population.
#[derive(Clone, Copy)]
pub(crate) struct Moments {
    mean: f32,
    pub(crate) scale: f32,
}

impl Moments {
    /// Of a row, in two passes.
    #[inline(always)]
    pub(crate) fn of<S: Simd>(row: Row) -> Self {
        let n = row.len();
        let mean = sum_over::<S>(n, |j, lanes| row.load::<S>(j, lanes)) / n as f32;
        let squares = sum_over::<S>(n, |j, lanes| {
            // Lanes past the end are 0 - 0 and add nothing.
            let apart = S::sub(row.load::<S>(j, lanes), S::first_lanes(S::splat(mean), lanes));
            S::mul(apart, apart)
        });
        Moments { mean, scale: 1.0 / (squares / n as f32 + EPS).sqrt() }
    }

    /// The normalised vector.
    #[inline(always)]
    pub(crate) fn normalise<S: Simd>(&self, x: S::V) -> S::V {
        S::mul(S::sub(x, S::splat(self.mean)), S::splat(self.scale))
    }

    /// The gradient of x from that of its normalised value, `scale * (d - mean(d) - xn mean(d xn))`.
    #[inline(always)]
    pub(crate) fn backward<S: Simd>(&self, [mean, along]: [f32; 2], d: S::V, x: S::V) -> S::V {
        let rest = S::sub(d, S::splat(mean));
        let rest = S::sub(rest, S::mul(self.normalise::<S>(x), S::splat(along)));
        S::mul(rest, S::splat(self.scale))
    }
}

/// Two sums over a row that the backward pass of its normalisation needs: those of `d` and of `d xn`.
pub(crate) struct NormBackward<S: Simd> {
    sum: S::V,
    along: S::V,
}

impl<S: Simd> NormBackward<S> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        NormBackward { sum: S::splat(0.0), along: S::splat(0.0) }
    }

    /// Adds the first `lanes` of `d`, and returns `d`.
    #[inline(always)]
    pub(crate) fn add(&mut self, d: S::V, normed: S::V, lanes: usize) -> S::V {
        let used = S::first_lanes(d, lanes);
        self.sum = S::add(self.sum, used);
        self.along = S::fma(used, normed, self.along);
        d
    }

    /// Means over a row of `n`, for [`Moments::backward`].
    #[inline(always)]
    pub(crate) fn means(&self, n: usize) -> [f32; 2] {
        [S::sum(self.sum), S::sum(self.along)].map(|sum| sum / n as f32)
    }
}
