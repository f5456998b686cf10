//! Error bounds of the scalar functions.

use rnn_cpu::internals::math::{exp, sigmoid, softplus, tanh};

/// Distance of `got` from `want` in units in the last place of f32 at `want`.
fn ulps(got: f32, want: f64) -> f64 {
    let exponent = want.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    (f64::from(got) - want).abs() / (exponent - 23.0).exp2()
}

fn worst(function: fn(f32) -> f32, reference: fn(f64) -> f64, low: f32, high: f32) -> f64 {
    const STRIDE: u32 = 997;
    let mut worst = 0f64;
    for i in 0..=u32::MAX / STRIDE {
        let x = f32::from_bits(i * STRIDE);
        if (low..=high).contains(&x) {
            worst = worst.max(ulps(function(x), reference(f64::from(x))));
        }
    }
    worst
}

#[test]
fn bounds_hold() {
    let e = worst(exp, f64::exp, -104.0, 88.7);
    let s = worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -87.3, f32::MAX);
    let t = worst(tanh, f64::tanh, f32::MIN, f32::MAX);
    let p = worst(softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), -87.0, f32::MAX);
    println!("exp {e:.2}, sigmoid {s:.2}, tanh {t:.2}, softplus {p:.2} ulp");
    assert!(e < 1.0 && s < 2.5 && t < 1.5 && p < 2.0, "exp {e}, sigmoid {s}, tanh {t}, softplus {p}");
}

#[test]
fn special_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    assert_eq!((exp(inf), exp(-inf), exp(0.0), exp(89.0)), (inf, 0.0, 1.0, inf));
    assert_eq!((sigmoid(inf), sigmoid(-inf), sigmoid(0.0)), (1.0, 0.0, 0.5));
    assert_eq!((tanh(inf), tanh(-inf)), (1.0, -1.0));
    assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
    assert_eq!((softplus(inf), softplus(-inf), softplus(1e30)), (inf, 0.0, 1e30));
    assert!([exp, sigmoid, tanh, softplus].iter().all(|function| function(nan).is_nan()));
}
