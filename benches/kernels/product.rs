//! The register tile: its shape, its depth, and whether A is packed. Single thread, B prepacked, shapes of a
//! recurrent step and of a product over all steps.

use crate::simd::{self, Simd, SimdKernel};
use crate::tile::{PanelPart, RowPointers, multiply};
use crate::{Bench, Variant};
use std::cell::RefCell;
use std::rc::Rc;

/// `c[m, n] = a[m, k] b[k, n]`, B in panels of NV vectors.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Product {
    fn new(m: usize, n: usize, k: usize) -> Self {
        let values = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7919 + seed * 104_729) % 257) as f32 / 128.0 - 1.0).collect()
        };
        Product { m, n, k, a: values(m * k, 1), b: values(k * n, 2), c: vec![0.0; m * n] }
    }

    fn error(&self) -> f64 {
        let (mut worst, mut largest) = (0f64, 0f64);
        for i in (0..self.m).step_by(7) {
            for j in (0..self.n).step_by(5) {
                let want: f64 = (0..self.k)
                    .map(|p| f64::from(self.a[i * self.k + p]) * f64::from(self.b[p * self.n + j]))
                    .sum();
                worst = worst.max((f64::from(self.c[i * self.n + j]) - want).abs());
                largest = largest.max(want.abs());
            }
        }
        worst / largest
    }
}

/// Tiles of R rows by NV vectors that process `depth` values of k before the next rows.
struct Tiled<'a, const R: usize, const NV: usize> {
    product: &'a mut Product,
    panels: &'a [f32],
    /// A packed by R rows, `[row / R][k][R]`, or in place.
    packed: Option<&'a [f32]>,
    depth: usize,
    fetch: bool,
}

impl<const R: usize, const NV: usize> SimdKernel for Tiled<'_, R, NV> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Product { m, n, k, a, c, .. } = self.product;
        let (m, n, k, width) = (*m, *n, *k, NV * S::LANES);
        for k0 in (0..k).step_by(self.depth) {
            let depth = self.depth.min(k - k0);
            for panel in 0..n / width {
                let start = self.panels[(panel * k + k0) * width..].as_ptr();
                for row in (0..m).step_by(R) {
                    // SAFETY: m and n are multiples of the tile.
                    unsafe {
                        let rows = match self.packed {
                            Some(packed) => {
                                RowPointers { start: packed[row * k + k0 * R..].as_ptr(), stride: 1, step: R }
                            }
                            None => RowPointers::contiguous(a[row * k + k0..].as_ptr(), k),
                        };
                        let mut acc = [[S::splat(0.0); NV]; R];
                        let at = |r: usize, v: usize| (row + r) * n + panel * width + v * S::LANES;
                        if k0 > 0 {
                            for r in 0..R {
                                for v in 0..NV {
                                    acc[r][v] = S::load(c.as_ptr().add(at(r, v)));
                                }
                            }
                        }
                        let block = row / R;
                        let next = if self.fetch && (1..=NV).contains(&block) {
                            start.wrapping_add((depth * NV + (block - 1) * depth) * S::LANES)
                        } else {
                            std::ptr::null()
                        };
                        multiply::<S, f32, R, NV>(&mut acc, rows, PanelPart { start, depth, next });
                        for r in 0..R {
                            for v in 0..NV {
                                S::store(c.as_mut_ptr().add(at(r, v)), acc[r][v]);
                            }
                        }
                    }
                }
            }
        }
    }
}

fn variant<const R: usize, const NV: usize>(
    product: &Rc<RefCell<Product>>,
    pack_a: bool,
    depth: usize,
    fetch: bool,
) -> Variant {
    let isa = simd::isa();
    let width = NV * simd::lanes(isa);
    let (mut panels, mut packed) = (Vec::new(), Vec::new());
    {
        let p = product.borrow();
        for (panel, k) in (0..p.n / width).flat_map(|panel| (0..p.k).map(move |k| (panel, k))) {
            panels.extend_from_slice(&p.b[k * p.n + panel * width..][..width]);
        }
        if pack_a {
            for (block, k) in (0..p.m / R).flat_map(|block| (0..p.k).map(move |k| (block, k))) {
                packed.extend((0..R).map(|r| p.a[(block * R + r) * p.k + k]));
            }
        }
    }
    let product = product.clone();
    let run = move || {
        let mut product = product.borrow_mut();
        let packed = pack_a.then_some(&packed[..]);
        simd::dispatch(isa, Tiled::<R, NV> { product: &mut product, panels: &panels, packed, depth, fetch });
    };
    let how = if pack_a { "packed" } else { "in place" };
    let fetched = if fetch { ", next part fetched" } else { "" };
    Variant { name: format!("{R} x {NV}, A {how}, {depth} deep{fetched}"), run: Box::new(run), error: 0.0 }
}

fn bench(name: &'static str, [m, n, k]: [usize; 3]) -> Bench {
    let product = Rc::new(RefCell::new(Product::new(m, n, k)));
    let mut variants = vec![
        // The library's choice: fewest loads per multiply-add (10 for 24), and rows need no packing.
        variant::<6, 4>(&product, false, 256, true),
        variant::<6, 4>(&product, false, 256, false),
        variant::<6, 4>(&product, false, 128, true),
        variant::<6, 4>(&product, false, 512, true),
        variant::<6, 4>(&product, false, k, false),
        variant::<6, 4>(&product, true, 256, true),
        variant::<12, 2>(&product, false, 256, false),
        variant::<12, 2>(&product, true, 256, false),
        variant::<3, 4>(&product, false, 256, true),
        variant::<4, 4>(&product, false, 256, true),
    ];
    for variant in &mut variants {
        (variant.run)();
        variant.error = product.borrow().error();
    }
    Bench { name, work: (2 * m * n * k) as f64, per_element: false, variants }
}

pub(crate) fn benches() -> Vec<Bench> {
    vec![
        bench("product over steps: 768 x 1024 x 1024", [768, 1024, 1024]),
        bench("step, B = 60, H = 1024: 60 x 2048 x 1024", [60, 2048, 1024]),
        bench("step, B = 12, H = 256: 12 x 1024 x 256", [12, 1024, 256]),
    ]
}
