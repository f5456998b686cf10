//! Error bounds of the vector functions, on every instruction set of this machine.

use rnn_cpu::internals::vecmath::{exp, sigmoid, tanh};
use rnn_cpu::internals::{Isa, Simd, SimdKernel, dispatch};

#[derive(Clone, Copy)]
enum Function {
    Exp,
    Sigmoid,
    Tanh,
}

struct Map<'a>(Function, &'a mut [f32]);

impl SimdKernel for Map<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for chunk in self.1.chunks_mut(S::LANES) {
            let x = S::load_slice(chunk);
            let y = match self.0 {
                Function::Exp => exp::<S>(x),
                Function::Sigmoid => sigmoid::<S>(x),
                Function::Tanh => tanh::<S>(x),
            };
            S::store_slice(chunk, y);
        }
    }
}

/// Distance of `got` from `want` in units in the last place of f32 at `want`.
fn ulps(got: f32, want: f64) -> f64 {
    let exponent = want.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    (f64::from(got) - want).abs() / (exponent - 23.0).exp2()
}

/// The worst error over every `stride`th f32 of the range, a block at a time on all cores.
fn worst(isa: Isa, function: Function, stride: u32, range: (f32, f32)) -> f64 {
    const BLOCK: u32 = 4096;
    let blocks = u32::MAX / stride / BLOCK + 1;
    let next = std::sync::atomic::AtomicU32::new(0);
    let work = || {
        let (mut worst, mut xs, mut ys) = (0f64, Vec::new(), Vec::new());
        loop {
            let block = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if block >= blocks {
                return worst;
            }
            let numbers = block * BLOCK..=(block * BLOCK).saturating_add(BLOCK - 1).min(u32::MAX / stride);
            xs.clear();
            xs.extend(
                numbers.map(|i| f32::from_bits(i * stride)).filter(|x| (range.0..=range.1).contains(x)),
            );
            ys.clone_from(&xs);
            dispatch(isa, Map(function, &mut ys));
            for (&x, &got) in xs.iter().zip(&ys) {
                let x = f64::from(x);
                let want = match function {
                    Function::Exp => x.exp(),
                    Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                    Function::Tanh => x.tanh(),
                };
                worst = worst.max(ulps(got, want));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold(0.0, f64::max)
    })
}

fn check(stride: u32) {
    for isa in Isa::available() {
        let bounds = [
            (Function::Exp, (-87.0, 87.9), 2.0),
            (Function::Sigmoid, (-87.0, f32::MAX), 4.0),
            (Function::Tanh, (-f32::MAX, f32::MAX), 4.0),
        ];
        for (function, range, bound) in bounds {
            let got = worst(isa, function, stride, range);
            println!("{isa:?} {}: {got:.2} ulp", function as u8);
            assert!(got <= bound, "{isa:?}, function {}: {got} ulp", function as u8);
        }
    }
}

#[test]
fn bounds_hold() {
    check(997);
}

/// All 2^32 inputs; takes minutes.
#[test]
#[ignore = "exhaustive: run with --ignored --release"]
fn bounds_hold_for_every_f32() {
    check(1);
}

#[test]
fn special_values() {
    for isa in Isa::available() {
        let run = |function, x: f32| {
            let mut v = [x];
            dispatch(isa, Map(function, &mut v));
            v[0]
        };
        let inf = f32::INFINITY;
        assert_eq!(run(Function::Sigmoid, inf), 1.0);
        assert!(run(Function::Sigmoid, -inf) < 1e-37);
        assert_eq!((run(Function::Tanh, inf), run(Function::Tanh, -inf)), (1.0, -1.0));
        assert_eq!(run(Function::Tanh, -0.0).to_bits(), (-0.0f32).to_bits());
        for function in [Function::Exp, Function::Sigmoid, Function::Tanh] {
            assert!(run(function, f32::NAN).is_nan(), "{isa:?}");
        }
    }
}
