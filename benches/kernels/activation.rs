//! sigmoid and tanh. Errors here are absolute (the functions stay below 1); the library's bounds in units
//! in the last place are tested in `crates/rnn-cpu/tests/vecmath.rs`.

use crate::simd::{self, Simd, SimdKernel, vecmath};
use crate::{Bench, Variant};
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Clone, Copy)]
enum Function {
    /// The library's sigmoid.
    Sigmoid,
    /// The library's tanh: (e^2|x| - 1) / (e^2|x| + 1), from an e^x - 1 without cancellation.
    Tanh,
    /// A polynomial below 0.625 and 1 - 2 / (e^2|x| + 1) above: two formulas and a selection.
    TanhTwoForms,
    /// 2 sigmoid(2x) - 1: the fastest, but it cancels near 0 (absolute error 1e-7, relative error unbounded).
    TanhFromSigmoid,
}

struct Map<'a>(Function, &'a [f32], &'a mut [f32]);

impl SimdKernel for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (x, y) in self.1.chunks(S::LANES).zip(self.2.chunks_mut(S::LANES)) {
            let x = S::load_slice(x);
            let value = match self.0 {
                Function::Sigmoid => vecmath::sigmoid::<S>(x),
                Function::Tanh => vecmath::tanh::<S>(x),
                Function::TanhTwoForms => two_forms::<S>(x),
                Function::TanhFromSigmoid => {
                    let s = vecmath::sigmoid::<S>(S::add(x, x));
                    S::sub(S::add(s, s), S::splat(1.0))
                }
            };
            S::store_slice(y, value);
        }
    }
}

#[inline(always)]
fn two_forms<S: Simd>(x: S::V) -> S::V {
    let a = S::min(S::splat(10.0), S::abs(x));
    let e = vecmath::exp::<S>(S::add(a, a));
    let large = S::sub(S::splat(1.0), S::div(S::splat(2.0), S::add(e, S::splat(1.0))));
    let z = S::mul(a, a);
    let mut p = S::splat(-5.704_988_7e-3);
    for c in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = S::fma(p, z, S::splat(c));
    }
    let small = S::fma(S::mul(p, z), a, a);
    S::copysign(S::select_lt(a, S::splat(0.625), small, large), x)
}

pub(crate) fn benches() -> Vec<Bench> {
    let x: Rc<Vec<f32>> = Rc::new((0..4096).map(|i| (i as f32 - 2048.0) / 256.0).collect());
    let bench = |name, functions: &[(Function, &str)]| {
        let variants = functions
            .iter()
            .map(|&(function, name)| {
                let y = Rc::new(RefCell::new(vec![0f32; x.len()]));
                let (x, out) = (x.clone(), y.clone());
                let run = {
                    let x = x.clone();
                    move || simd::dispatch(simd::isa(), Map(function, &x, &mut out.borrow_mut()))
                };
                run();
                let want = |x: f64| match function {
                    Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                    _ => x.tanh(),
                };
                let error = x
                    .iter()
                    .zip(y.borrow().iter())
                    .map(|(&x, &y)| (f64::from(y) - want(f64::from(x))).abs())
                    .fold(0.0, f64::max);
                let run = Box::new(move || (0..100).for_each(|_| run()));
                Variant { name: name.into(), run, error }
            })
            .collect();
        Bench { name, work: 100.0 * 4096.0, per_element: true, variants }
    };
    vec![
        bench("sigmoid", &[(Function::Sigmoid, "1 / (1 + e^-x)")]),
        bench(
            "tanh",
            &[
                (Function::Tanh, "one form from e^x - 1"),
                (Function::TanhTwoForms, "polynomial and exponential form"),
                (Function::TanhFromSigmoid, "2 sigmoid(2x) - 1"),
            ],
        ),
    ]
}
