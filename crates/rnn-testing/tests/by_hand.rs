//! Single steps of linear cells computed by hand from the equations of the papers.

use rnn_kernels::cell::{CellKind, CellSpec, Direction, Parameter, StackSpec};
use rnn_testing::compare::{Tolerance, assert_close};
use rnn_testing::oracle::{CellWeights, Forward, StackInput, forward};

const ROUNDING: Tolerance = Tolerance { abs: 1e-14, rel: 1e-13 };

fn step(
    spec: &StackSpec,
    weights: &CellWeights,
    x: f64,
    h0: &[f64],
    c0: Option<&[f64]>,
) -> (StackInput, Forward) {
    let (h0, c0) = (Some(h0.to_vec()), c0.map(<[_]>::to_vec));
    let input = StackInput { t: 1, b: 1, x: vec![x], h0, c0, ..StackInput::default() };
    let out = forward(spec, std::slice::from_ref(weights), &input);
    (input, out)
}

fn unbiased(cell: CellSpec, hidden: usize) -> StackSpec {
    StackSpec { bias: false, ..StackSpec::new(cell, 1, hidden) }
}

/// `(v - mean) / sqrt(variance + 1e-5)`
fn normal(v: &[f64]) -> Vec<f64> {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    let variance = v.iter().map(|v| v * v).sum::<f64>() / n - mean * mean;
    v.iter().map(|v| (v - mean) / (variance + 1e-5).sqrt()).collect()
}

fn close(name: &str, got: &[f64], want: &[f64]) {
    assert_close(name, got, want, &[want.len()], ROUNDING);
}

/// x = 1, h = 1, c = 2. W x + U h is i 2, f 1, g 4, o 1; the peepholes add 0.5 c, -c and 0.25 c~.
#[test]
fn an_lstm_with_peepholes_and_clips() {
    let weights = CellWeights::from_iter([
        (Parameter::WeightIh, vec![1.0, 2.0, 3.0, -1.0]),
        (Parameter::WeightHh, vec![1.0, -1.0, 1.0, 2.0]),
        (Parameter::Peephole, vec![0.5, -1.0, 0.25]),
    ]);
    let cell = CellSpec { peephole: true, ..CellSpec::linear(CellKind::Lstm) };
    let run = |cell: CellSpec| {
        let (input, out) = step(&unbiased(cell, 1), &weights, 1.0, &[1.0], Some(&[2.0]));
        (out.gates(&input, 0, Direction::Forward), out.h_n[0], out.c_n.unwrap()[0])
    };
    // c~ = -1*2 + 3*4 = 10, o = 1 + 2.5, h = 3.5*10
    assert_eq!(run(cell), (vec![3.0, -1.0, 4.0, 3.5], 35.0, 10.0));
    // i and g at most 2: c~ = -2 + 4 = 2, o = 1.5
    let clip = CellSpec { clip: Some(2.0), ..cell };
    assert_eq!(run(clip), (vec![2.0, -1.0, 2.0, 1.5], 3.0, 2.0));
    // o sees the bounded c~: 1 + 2
    let cell_clip = CellSpec { cell_clip: Some(8.0), ..cell };
    assert_eq!(run(cell_clip), (vec![3.0, -1.0, 4.0, 3.0], 24.0, 8.0));
}

/// Gates i 2, g 4, o 1 and peepholes on i and o: f = 1 - i = -2, c~ = -2*2 + 3*4 = 8, o = 1 + 0.25*8.
#[test]
fn a_coupled_lstm_with_peepholes() {
    let weights = CellWeights::from_iter([
        (Parameter::WeightIh, vec![1.0, 3.0, -1.0]),
        (Parameter::WeightHh, vec![1.0, 1.0, 2.0]),
        (Parameter::Peephole, vec![0.5, 0.25]),
    ]);
    let cell = CellSpec { peephole: true, coupled: true, ..CellSpec::linear(CellKind::Lstm) };
    let (_, out) = step(&unbiased(cell, 1), &weights, 1.0, &[1.0], Some(&[2.0]));
    assert_eq!((out.h_n, out.c_n), (vec![24.0], Some(vec![8.0])));
}

/// r = (2, 3), z = 1/2, U_n = (1 2; 3 4), b_hn = (10, 20), h = (1, -1), W_n x = (1, 1).
#[test]
fn a_gru_that_resets_before_or_after_the_product() {
    let weights = CellWeights::from_iter([
        (Parameter::WeightIh, vec![2.0, 3.0, 0.5, 0.5, 1.0, 1.0]),
        (Parameter::WeightHh, vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]),
        (Parameter::BiasIh, vec![0.0; 6]),
        (Parameter::BiasHh, vec![0.0, 0.0, 0.0, 0.0, 10.0, 20.0]),
    ]);
    let run = |reset_after: bool, clip: Option<f32>| {
        let cell = CellSpec { reset_after, clip, ..CellSpec::linear(CellKind::Gru) };
        step(&StackSpec::new(cell, 1, 2), &weights, 1.0, &[1.0, -1.0], None).1.h_n
    };
    // r h = (2, -3), U_n (r h) = (-4, -6), n = (7, 15)
    assert_eq!(run(false, None), [4.0, 7.0]);
    assert_eq!(run(false, Some(10.0)), [4.0, 4.5]);
    // U_n h + b_hn = (9, 19), times r: n = (19, 58)
    assert_eq!(run(true, None), [10.0, 28.5]);
    assert_eq!(run(true, Some(10.0)), [5.5, 4.5]);
}

/// f = (2, 3) and all else as above: U_n h + b_hn = (9, 19), n = (1, 1) + f (9, 19) = (19, 58), h' = (1 - f) h + f n.
#[test]
fn a_minimal_gated_unit() {
    let weights = CellWeights::from_iter([
        (Parameter::WeightIh, vec![2.0, 3.0, 1.0, 1.0]),
        (Parameter::WeightHh, vec![0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]),
        (Parameter::BiasIh, vec![0.0; 4]),
        (Parameter::BiasHh, vec![0.0, 0.0, 10.0, 20.0]),
    ]);
    let run = |clip: Option<f32>| {
        let cell = CellSpec { clip, ..CellSpec::linear(CellKind::Mgu) };
        step(&StackSpec::new(cell, 1, 2), &weights, 1.0, &[1.0, -1.0], None).1.h_n
    };
    assert_eq!(run(None), [37.0, 176.0]);
    assert_eq!(run(Some(10.0)), [19.0, 32.0]);
}

/// Two values normalised are +-d / sqrt(d^2 + epsilon), d half their distance; the bias comes after the gain.
#[test]
fn layer_norm_of_an_elman_network() {
    let weights = CellWeights::from_iter([
        (Parameter::WeightIh, vec![3.0, 1.0]),
        (Parameter::WeightHh, vec![1.0, 0.0, 0.0, 2.0]),
        (Parameter::BiasIh, vec![10.0, 20.0]),
        (Parameter::BiasHh, vec![1.0, 2.0]),
        (Parameter::NormIh, vec![2.0, 3.0]),
        (Parameter::NormHh, vec![0.5, 0.25]),
    ]);
    let cell = CellSpec { layer_norm: true, ..CellSpec::linear(CellKind::Rnn) };
    let (_, out) = step(&StackSpec::new(cell, 1, 2), &weights, 0.5, &[0.2, 0.3], None);
    // W x = (1.5, 0.5), U h = (0.2, 0.6)
    let (of_x, of_h) = (0.5 / 0.250_01_f64.sqrt(), 0.2 / 0.040_01_f64.sqrt());
    close("h", &out.h_n, &[2.0 * of_x - 0.5 * of_h + 11.0, -3.0 * of_x + 0.25 * of_h + 22.0]);
}

/// All gates are normalised together; the reset gate multiplies the normalised product with its bias.
#[test]
fn layer_norm_of_a_gru() {
    let weights = CellWeights::from_iter([
        (Parameter::WeightIh, vec![1.0, -2.0, 3.0]),
        (Parameter::WeightHh, vec![0.5, 1.0, -1.0]),
        (Parameter::BiasIh, vec![0.1, 0.2, 0.3]),
        (Parameter::BiasHh, vec![0.4, 0.5, 0.6]),
        (Parameter::NormIh, vec![1.5, 0.5, 2.0]),
        (Parameter::NormHh, vec![0.7, 0.8, 0.9]),
    ]);
    let cell = CellSpec { layer_norm: true, ..CellSpec::linear(CellKind::Gru) };
    let (_, out) = step(&StackSpec::new(cell, 1, 1), &weights, 0.5, &[0.25], None);
    let (of_x, of_h) = (normal(&[0.5, -1.0, 1.5]), normal(&[0.125, 0.25, -0.25]));
    let r = 1.5 * of_x[0] + 0.1 + 0.7 * of_h[0] + 0.4;
    let z = 0.5 * of_x[1] + 0.2 + 0.8 * of_h[1] + 0.5;
    let n = 2.0 * of_x[2] + 0.3 + r * (0.9 * of_h[2] + 0.6);
    close("h", &out.h_n, &[(1.0 - z) * n + z * 0.25]);
}

/// The cell state is normalised on its way to h only, after the clip.
#[test]
fn layer_norm_of_an_lstm() {
    let weights = CellWeights::from_iter([
        (Parameter::WeightIh, vec![1.0, -2.0, 3.0, 0.5, 1.5, -0.5, 2.0, -1.0]),
        (Parameter::WeightHh, (0..16).map(|k| f64::from((k * 7) % 5) - 2.0).collect()),
        (Parameter::NormIh, vec![1.5, 0.5, 2.0, 1.0, 0.25, 0.75, 1.25, 0.6]),
        (Parameter::NormHh, vec![0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4, 0.65]),
        (Parameter::NormC, vec![2.0, 3.0]),
        (Parameter::NormCBias, vec![0.25, -0.5]),
    ]);
    let (h0, c0) = ([0.3, -0.2], [0.5, 0.75]);
    let of_x = normal(&weights[Parameter::WeightIh].iter().map(|w| 0.5 * w).collect::<Vec<_>>());
    let of_h = normal(
        &weights[Parameter::WeightHh].chunks(2).map(|u| u[0] * h0[0] + u[1] * h0[1]).collect::<Vec<_>>(),
    );
    let gains = weights
        .get(Parameter::NormIh)
        .into_iter()
        .flatten()
        .zip(weights.get(Parameter::NormHh).into_iter().flatten());
    let pre: Vec<f64> = gains.enumerate().map(|(k, (x, h))| x * of_x[k] + h * of_h[k]).collect();
    let cell_of = |k: usize| pre[2 + k] * c0[k] + pre[k] * pre[4 + k];
    for cell_clip in [None, Some(0.25f32)] {
        let cell = CellSpec { layer_norm: true, cell_clip, ..CellSpec::linear(CellKind::Lstm) };
        let (_, out) = step(&unbiased(cell, 2), &weights, 0.5, &h0, Some(&c0));
        let c = [0, 1].map(|k| {
            cell_clip.map_or(cell_of(k), |bound| cell_of(k).clamp(-f64::from(bound), f64::from(bound)))
        });
        close("c", &out.c_n.unwrap(), &c);
        let of_c = normal(&c);
        close("h", &out.h_n, &[pre[6] * (2.0 * of_c[0] + 0.25), pre[7] * (3.0 * of_c[1] - 0.5)]);
    }
}
