//! One step of a small LSTM, product and pointwise part, in different arrangements of the two.

use crate::simd::{
    self, Simd, SimdKernel,
    vecmath::{sigmoid, tanh},
};
use crate::tile::{PanelPart, RowPointers, multiply};
use crate::{Bench, Variant};
use std::cell::RefCell;
use std::rc::Rc;

/// B = 12, H = 64, no input.
const B: usize = 12;
const H: usize = 64;

struct Step {
    /// [H / LANES][k][gate][lane]
    panels: Vec<f32>,
    /// [4H, H]
    u: Vec<f32>,
    /// [B, H]
    h: Vec<f32>,
    /// [B, H]
    c: Vec<f32>,
    /// [B, H]
    y: Vec<f32>,
    tile: Vec<f32>,
}

impl Step {
    fn new() -> Self {
        let values = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7919 + seed * 104_729) % 257) as f32 / 512.0 - 0.25).collect()
        };
        let (u, lanes) = (values(4 * H * H, 1), simd::lanes(simd::isa()));
        let mut panels = Vec::new();
        for (group, k) in (0..H / lanes).flat_map(|group| (0..H).map(move |k| (group, k))) {
            for gate in 0..4 {
                panels.extend((0..lanes).map(|lane| u[(gate * H + group * lanes + lane) * H + k]));
            }
        }
        let (y, tile) = (vec![0.0; B * H], vec![0.0; B * 4 * lanes]);
        Step { panels, u, h: values(B * H, 2), c: values(B * H, 3), y, tile }
    }

    fn error(&self) -> f64 {
        let mut worst = 0f64;
        for (b, j) in (0..B).flat_map(|b| (0..H).map(move |j| (b, j))) {
            let gate = |g: usize| -> f64 {
                let row = &self.u[(g * H + j) * H..][..H];
                row.iter().zip(&self.h[b * H..]).map(|(u, h)| f64::from(*u) * f64::from(*h)).sum()
            };
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let c = sigmoid(gate(1)) * f64::from(self.c[b * H + j]) + sigmoid(gate(0)) * gate(2).tanh();
            worst = worst.max((f64::from(self.y[b * H + j]) - sigmoid(gate(3)) * c.tanh()).abs());
        }
        worst
    }
}

#[derive(Clone, Copy)]
enum Meet {
    /// The pointwise part starts from the accumulators of one block.
    Registers,
    /// Blocks store their products; then the pointwise part follows for all rows of a panel.
    Tile,
}

struct Run<'a>(&'a mut Step, Meet);

/// # Safety
/// `c` and `y` are valid for a vector.
#[inline(always)]
unsafe fn cell<S: Simd>(gates: [S::V; 4], c: *const f32, y: *mut f32) {
    // SAFETY: one vector each.
    unsafe {
        let [i, f, g, o] = gates;
        let kept = S::mul(sigmoid::<S>(f), S::load(c));
        let c = S::fma(sigmoid::<S>(i), tanh::<S>(g), kept);
        S::store(y, S::mul(sigmoid::<S>(o), tanh::<S>(c)));
    }
}

impl SimdKernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Step { panels, h, c, y, tile, .. } = self.0;
        // SAFETY: B is a multiple of 6 and H of the lanes.
        unsafe {
            for group in 0..H / S::LANES {
                let start = panels.as_ptr().add(group * H * 4 * S::LANES);
                for row in (0..B).step_by(6) {
                    let mut acc = [[S::splat(0.0); 4]; 6];
                    let rows = RowPointers::contiguous(h.as_ptr().add(row * H), H);
                    multiply::<S, f32, 6, 4>(
                        &mut acc,
                        rows,
                        PanelPart { start, depth: H, next: std::ptr::null() },
                    );
                    for (r, acc) in acc.into_iter().enumerate() {
                        let at = (row + r) * H + group * S::LANES;
                        match self.1 {
                            Meet::Registers => cell::<S>(acc, c.as_ptr().add(at), y.as_mut_ptr().add(at)),
                            Meet::Tile => {
                                for (v, x) in acc.into_iter().enumerate() {
                                    S::store(tile.as_mut_ptr().add((4 * (row + r) + v) * S::LANES), x);
                                }
                            }
                        }
                    }
                }
                if let Meet::Tile = self.1 {
                    for row in 0..B {
                        let at = row * H + group * S::LANES;
                        let gate = |g: usize| S::load(tile.as_ptr().add((4 * row + g) * S::LANES));
                        let gates = [gate(0), gate(1), gate(2), gate(3)];
                        cell::<S>(gates, c.as_ptr().add(at), y.as_mut_ptr().add(at));
                    }
                }
            }
        }
    }
}

pub(crate) fn benches() -> Vec<Bench> {
    let step = Rc::new(RefCell::new(Step::new()));
    let variants = [
        // The library's choice: the pointwise parts of many rows overlap, and one body serves every block size,
        // even if products are computed in several parts of the depth.
        (Meet::Tile, "products through a tile in L1"),
        (Meet::Registers, "pointwise part from the accumulators"),
    ]
    .map(|(meet, name)| {
        let own = step.clone();
        let run = move || simd::dispatch(simd::isa(), Run(&mut own.borrow_mut(), meet));
        run();
        let error = step.borrow().error();
        // A thousand steps per run, so that the cost of the clock is negligible.
        let run = Box::new(move || (0..1000).for_each(|_| run()));
        Variant { name: name.into(), run, error }
    });
    let work = (1000 * 2 * B * 4 * H * H) as f64;
    vec![Bench { name: "LSTM step, B = 12, H = 64", work, per_element: false, variants: variants.into() }]
}
