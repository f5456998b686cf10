//! SSE2 vectors against the same operations in plain Rust. Kernels are generic over the operations, so what is equal here is
//! equal in every kernel.
#![cfg(target_arch = "x86_64")]

use rnn_cpu::internals::{Isa, MOST_LANES, Simd, SimdKernel, dispatch, run_in_plain_rust};

const LANES: usize = 4;

/// The bits of every result; NaNs, whose payload no operation promises, as one.
#[derive(Default, PartialEq, Debug)]
struct Results(Vec<(&'static str, u64)>);

impl Results {
    fn put(&mut self, name: &'static str, x: f32) {
        self.0.push((name, u64::from(if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() })));
    }

    fn vector<S: Simd>(&mut self, name: &'static str, v: S::V) {
        S::to_array(v)[..S::LANES].iter().for_each(|&x| self.put(name, x));
    }
}

/// Every operation, with `a` as the first operand.
struct Operations {
    a: [f32; LANES],
    others: [[f32; LANES]; 3],
}

impl SimdKernel for Operations {
    type Output = Results;
    #[inline(always)]
    fn run<S: Simd>(self) -> Results {
        assert_eq!(S::LANES, LANES);
        let mut out = Results::default();
        let [a, b, x, y] =
            [self.a, self.others[0], self.others[1], self.others[2]].map(|v| S::load_slice(&v));
        for (name, v) in [
            ("splat", S::splat(self.a[3])),
            ("add", S::add(a, b)),
            ("sub", S::sub(a, b)),
            ("mul", S::mul(a, b)),
            ("div", S::div(a, b)),
            ("fma", S::fma(a, b, x)),
            ("min", S::min(a, b)),
            ("max", S::max(a, b)),
            ("abs", S::abs(a)),
            ("copysign", S::copysign(a, b)),
            ("select_lt", S::select_lt(a, b, x, y)),
            // In the ranges that the operations promise.
            ("round", S::round(S::max(S::min(a, S::splat(4e6)), S::splat(-4e6)))),
            ("pow2", S::pow2(S::round(S::max(S::min(a, S::splat(127.0)), S::splat(-126.0))))),
        ] {
            out.vector::<S>(name, v);
        }
        out.put("sum", S::sum(a));
        for n in 0..=LANES {
            let mut stored = [7.0; MOST_LANES];
            // SAFETY: n is at most the number of lanes, and both arrays have as many.
            let loaded = unsafe {
                S::store_partial(stored.as_mut_ptr(), a, n);
                S::load_partial(self.others[0].as_ptr(), n)
            };
            out.vector::<S>("load_partial", loaded);
            stored.iter().for_each(|&x| out.put("store_partial", x));
            out.vector::<S>("first_lanes", S::first_lanes(a, n));
        }
        // bfloat16 numbers are the upper halves of f32.
        let halves = self.a.map(|x| (x.to_bits() >> 16) as u16);
        // SAFETY: there are as many as lanes.
        out.vector::<S>("load_bf16", unsafe { S::load_bf16(halves.as_ptr()) });
        let [a, b] = [&self.a, &self.others[0]].map(|v| [f64::from(v[0]) * 1.1, f64::from(v[1])]);
        // SAFETY: a vector has two numbers of f64.
        let [a, b] = unsafe { [S::load_f64(a.as_ptr()), S::load_f64(b.as_ptr())] };
        for v in [S::add_f64(a, b), S::mul_f64(a, b), S::splat_f64(1.0 / 3.0)] {
            let mut stored = [0f64; 2];
            // SAFETY: the same.
            unsafe { S::store_f64(stored.as_mut_ptr(), v) };
            out.0.extend(stored.map(|x| ("f64", if x.is_nan() { 1 } else { x.to_bits() })));
        }
        out
    }
}

#[test]
fn every_operation_has_the_bits_of_plain_rust() {
    const INF: f32 = f32::INFINITY;
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.5,
        -2.5,
        0.5,
        1.0 / 3.0,
        3.4e38,
        -3.4e38,
        1e-38,
        -1e-40,
        1e-45,
        INF,
        -INF,
        f32::NAN,
        126.4,
        -126.6,
        88.7,
        -1e6,
    ];
    let baseline = *Isa::available().last().unwrap();
    assert_eq!(format!("{baseline:?}"), "sse2");
    let at = |i: usize| -> [f32; LANES] { std::array::from_fn(|lane| values[(i + lane * 7) % values.len()]) };
    for i in 0..values.len() {
        for j in 0..values.len() {
            let operations = || Operations { a: at(i), others: [at(j), at(i + j + 1), at(2 * j + 3)] };
            let (got, want) = (dispatch(baseline, operations()), run_in_plain_rust(operations()));
            for (got, want) in got.0.iter().zip(&want.0) {
                assert_eq!(got, want, "{:?} and {:?}", at(i), at(j));
            }
            assert_eq!(got.0.len(), want.0.len());
        }
    }
}
