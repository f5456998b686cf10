//! Every backward of the recurrent oracle against central differences.

use rnn_kernels::cell::{Activation, CellKind, CellSpec, Parameter};
use rnn_testing::data::{SplitMix64, indices, to_f64, uniform};
use rnn_testing::gradcheck::{check_gradient_between_kinks, dot};
use rnn_testing::oracle::{
    CELLS, CellWeights, Masks, StackCase, StackInput, backward, forward, named_weights, random_masks,
    random_spec, stack_spec, with_options,
};
use rnn_testing::shapes::RnnShape;

const SHAPE: RnnShape = RnnShape { t: 4, b: 2, i: 3, h: 5 };

/// The scalar whose gradient `StackCase::backward` is.
fn objective(case: &StackCase, weights: &[CellWeights], input: &StackInput) -> f64 {
    let out = forward(&case.spec, weights, input);
    let mut sum = dot(&out.y, &case.dy) + dot(&out.h_n, &case.dh_n);
    if let (Some(c_n), Some(dc_n)) = (&out.c_n, &case.dc_n) {
        sum += dot(c_n, dc_n);
    }
    sum
}

/// Checks dx, dh0, dc0 and every parameter of one case, none of which may lie on a kink.
fn check_case(name: &str, case: &StackCase) {
    assert_eq!(checked_and_skipped(name, case)[1], 0, "{name}: on a kink");
}

/// [`check_case`] where some may: how many elements were checked, and how many of them skipped.
fn checked_and_skipped(name: &str, case: &StackCase) -> [usize; 2] {
    let mut counts = [0; 2];
    let mut check = |name: String, x: &[f64], analytic: &[f64], f: &mut dyn FnMut(&[f64]) -> f64| {
        counts[0] += x.len();
        counts[1] += check_gradient_between_kinks(&name, x, analytic, f);
    };
    let out = case.forward();
    let dc_n = case.dc_n.as_deref();
    let grads = backward(&case.spec, &case.weights, &case.input, &out, &case.dy, &case.dh_n, dc_n);

    check(format!("{name} dx"), &case.input.x, &grads.dx, &mut |x| {
        objective(case, &case.weights, &StackInput { x: x.to_vec(), ..case.input.clone() })
    });
    // A state that was not given is zero and has a gradient, too.
    let zeros = vec![0.0; out.h_n.len()];
    let h0 = case.input.h0.as_ref().unwrap_or(&zeros);
    check(format!("{name} dh0"), h0, &grads.dh0, &mut |h0| {
        objective(case, &case.weights, &StackInput { h0: Some(h0.to_vec()), ..case.input.clone() })
    });
    assert_eq!(grads.dc0.is_some(), case.spec.cell.kind.has_cell_state());
    if let Some(dc0) = &grads.dc0 {
        let zeros = vec![0.0; dc0.len()];
        let c0 = case.input.c0.as_ref().unwrap_or(&zeros);
        check(format!("{name} dc0"), c0, dc0, &mut |c0| {
            objective(case, &case.weights, &StackInput { c0: Some(c0.to_vec()), ..case.input.clone() })
        });
    }
    for (state, (w, dw)) in case.weights.iter().zip(&grads.weights).enumerate() {
        assert!(w.all().map(|(parameter, _)| parameter).eq(dw.all().map(|(parameter, _)| parameter)));
        for ((parameter, values), (_, analytic)) in w.all().zip(dw.all()) {
            let mut weights = case.weights.clone();
            let name = format!("{name} {} of {state}", parameter.name());
            check(name, values, analytic, &mut |values| {
                weights[state].set(parameter, values.to_vec());
                objective(case, &weights, &case.input)
            });
        }
    }
    counts
}

#[test]
fn every_cell_layers_directions_and_state() {
    let mut seed = 0;
    for (name, cell) in CELLS {
        for (layers, bidirectional, with_state) in [(1, false), (1, true), (2, false), (2, true)]
            .into_iter()
            .flat_map(|(l, d)| [(l, d, false), (l, d, true)])
        {
            seed += 1;
            let spec = stack_spec(cell, SHAPE, layers, bidirectional);
            let case = StackCase::random(spec, SHAPE, with_state, seed);
            let name = format!("{name} layers {layers} bidirectional {bidirectional} state {with_state}");
            check_case(&name, &case);
        }
    }
}

#[test]
fn every_activation_in_every_place() {
    use Activation::{Identity, Relu, Sigmoid, Tanh};
    let all = [
        Sigmoid,
        Tanh,
        Relu,
        Identity,
        Activation::HARD_SIGMOID,
        Activation::HARD_SIGMOID_ONNX,
        Activation::HardTanh,
        Activation::ScaledTanh { alpha: 1.7159, beta: 2.0 / 3.0 },
        Activation::Softsign,
        Activation::LeakyRelu { alpha: 0.3 },
        Activation::Elu { alpha: 0.7 },
        Activation::ThresholdedRelu { alpha: 0.2 },
        Activation::Softplus,
        Activation::Affine { alpha: -0.5, beta: 0.25 },
    ];
    for kind in CellKind::ALL {
        for (place, activation) in (0..3).flat_map(|place| all.map(|activation| (place, activation))) {
            let mut cell = CellSpec::linear(kind);
            let places =
                [&mut cell.gate_activation, &mut cell.candidate_activation, &mut cell.output_activation];
            for (n, of) in places.into_iter().enumerate() {
                *of = if n == place { activation } else { [Sigmoid, Tanh, Tanh][n] };
            }
            let shape = RnnShape { t: 3, b: 1, i: 2, h: 3 };
            let case = StackCase::random(stack_spec(cell, shape, 1, true), shape, true, 7);
            check_case(&format!("{cell:?}"), &case);
        }
    }
}

#[test]
fn without_biases() {
    for (name, cell) in CELLS {
        let mut spec = stack_spec(cell, SHAPE, 2, true);
        spec.bias = false;
        let case = StackCase::random(spec, SHAPE, true, 11);
        assert_eq!(named_weights(&spec, &case.weights).len(), 8);
        check_case(name, &case);
    }
}

#[test]
fn dropout_masks_between_layers() {
    for (name, cell) in CELLS {
        let spec = stack_spec(cell, SHAPE, 3, true);
        let case = StackCase::random(spec, SHAPE, true, 12);
        let len = SHAPE.t * SHAPE.b * spec.output_size();
        // p = 1/4: a quarter of the elements is dropped, the rest grows by 4/3.
        let mask =
            |seed| indices(seed, len, 4).iter().map(|&i| if i == 0 { 0.0 } else { 4.0 / 3.0 }).collect();
        let masks: Vec<Vec<f64>> = vec![mask(1), mask(2)];
        let plain = case.forward();
        let mut case = case;
        case.input.masks = Masks { between: Some(masks), ..Masks::default() };
        check_case(name, &case);
        let masked = case.forward();
        assert_ne!(plain.y, masked.y, "{name}: the masks must matter");
        let per_layer = 2 * SHAPE.b * SHAPE.h;
        assert_eq!(plain.h_n[..per_layer], masked.h_n[..per_layer], "{name}: layer 0 is not masked");
    }
}

#[test]
fn a_sequence_split_in_two_with_carried_state_is_the_whole() {
    for (name, cell) in CELLS {
        let spec = stack_spec(cell, SHAPE, 2, false);
        let case = StackCase::random(spec, SHAPE, true, 13);
        let whole = case.forward();
        let cut = SHAPE.b * SHAPE.i;
        let first = StackInput { t: 1, x: case.input.x[..cut].to_vec(), ..case.input.clone() };
        let first = forward(&spec, &case.weights, &first);
        let second = StackInput {
            t: SHAPE.t - 1,
            b: SHAPE.b,
            x: case.input.x[cut..].to_vec(),
            h0: Some(first.h_n),
            c0: first.c_n,
            ..StackInput::default()
        };
        let second = forward(&spec, &case.weights, &second);
        assert_eq!(whole.y, [first.y, second.y].concat(), "{name}");
        assert_eq!(whole.h_n, second.h_n, "{name}");
        assert_eq!(whole.c_n, second.c_n, "{name}");
    }
}

#[test]
fn the_reverse_direction_is_the_forward_one_on_the_reversed_sequence() {
    for (name, cell) in CELLS {
        let both = StackCase::random(stack_spec(cell, SHAPE, 1, true), SHAPE, false, 14);
        let step = SHAPE.b * SHAPE.i;
        let reversed: Vec<f64> = both.input.x.chunks_exact(step).rev().flatten().copied().collect();
        let one = StackCase {
            spec: stack_spec(cell, SHAPE, 1, false),
            weights: vec![both.weights[1].clone()],
            input: StackInput { x: reversed, ..both.input.clone() },
            ..both.clone()
        };
        let (both, one) = (both.forward(), one.forward());
        for t in 0..SHAPE.t {
            for b in 0..SHAPE.b {
                let right = &both.y[((t * SHAPE.b + b) * 2 + 1) * SHAPE.h..][..SHAPE.h];
                let mirrored = &one.y[((SHAPE.t - 1 - t) * SHAPE.b + b) * SHAPE.h..][..SHAPE.h];
                assert_eq!(right, mirrored, "{name} t {t} b {b}");
            }
        }
        assert_eq!(both.h_n[SHAPE.b * SHAPE.h..], one.h_n, "{name}");
    }
}

#[test]
fn a_linear_cell_computes_exactly_in_integers() {
    // One step by hand: h' = 2*3 + 5*7 + 1 + 4 = 46, then 2*(-1) + 5*46 + 5 = 233.
    let shape = RnnShape { t: 2, b: 1, i: 1, h: 1 };
    let spec = stack_spec(CellSpec::linear(CellKind::Rnn), shape, 1, false);
    let weights = vec![CellWeights::from_iter([
        (Parameter::WeightIh, vec![2.0]),
        (Parameter::WeightHh, vec![5.0]),
        (Parameter::BiasIh, vec![1.0]),
        (Parameter::BiasHh, vec![4.0]),
    ])];
    let input = StackInput { t: 2, b: 1, x: vec![3.0, -1.0], h0: Some(vec![7.0]), ..StackInput::default() };
    assert_eq!(forward(&spec, &weights, &input).y, [46.0, 233.0]);
}

#[test]
fn random_cases_repeat_and_hold_f32_values() {
    let spec = stack_spec(CellSpec::lstm(), SHAPE, 1, false);
    let (a, b) = (StackCase::random(spec, SHAPE, true, 1), StackCase::random(spec, SHAPE, true, 1));
    assert_eq!((&a.weights, &a.input), (&b.weights, &b.input));
    assert_ne!(a.input, StackCase::random(spec, SHAPE, true, 2).input);
    assert!(a.weights[0][Parameter::WeightIh].iter().all(|&v| f64::from(v as f32) == v));
    assert_ne!(to_f64(&uniform(1, 3)), to_f64(&uniform(2, 3)));
}

/// Random combinations of all options, half of them with noise and half at inference.
/// `RNN_COMBINATIONS` sets their number.
#[test]
fn random_combinations_of_options() {
    let combinations = std::env::var("RNN_COMBINATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(240);
    let mut rng = SplitMix64::new(2026);
    let [mut checked, mut skipped] = [0; 2];
    for n in 0..combinations {
        let shape = RnnShape { t: 3, b: 2, i: 2, h: 4 };
        let spec = random_spec(&mut rng, shape);
        let mut case = with_options(StackCase::random(spec, shape, true, n), &mut rng);
        if n % 2 == 0 {
            case.input.masks = random_masks(&spec, shape.t, shape.b, &mut rng);
        }
        let name = format!("{n}: {spec:?} {:?} {:?}", case.input.lengths, case.input.resets);
        let [of_case, on_kinks] = checked_and_skipped(&name, &case);
        (checked, skipped) = (checked + of_case, skipped + on_kinks);
    }
    assert!(skipped * 1000 <= checked, "{skipped} of {checked} elements lie on a kink");
}

/// The gradients of h and c between two steps are those of the initial state of the steps behind them.
#[test]
fn gradients_between_steps() {
    let (shape, lengths) = (RnnShape { t: 4, b: 3, i: 3, h: 5 }, [4, 1, 3]);
    let peephole = CellSpec { peephole: true, ..CellSpec::lstm() };
    let cells = [CellSpec::lstm(), peephole, CellSpec::gru(), CellSpec::mgu(), CellSpec::rnn_tanh()];
    for (n, cell) in cells.into_iter().enumerate() {
        let spec = rnn_kernels::cell::StackSpec::new(cell, shape.i, shape.h);
        let mut case = StackCase::random(spec, shape, true, 70 + n as u64);
        case.input.lengths = Some(lengths.to_vec());
        let out = case.forward();
        let grads = case.backward(&out);
        for t in 0..shape.t {
            let rows =
                |values: &[f64], width: usize| values[t * shape.b * width..][..shape.b * width].to_vec();
            let tail = StackInput {
                t: shape.t - t - 1,
                x: case.input.x[(t + 1) * shape.b * shape.i..].to_vec(),
                h0: Some(rows(&out.y, shape.h)),
                c0: cell.kind.has_cell_state().then(|| {
                    rows(&out.cells(&case.input, 0, rnn_kernels::cell::Direction::Forward), shape.h)
                }),
                lengths: Some(lengths.iter().map(|length| length.saturating_sub(t + 1)).collect()),
                ..case.input.clone()
            };
            let case = StackCase { dy: case.dy[(t + 1) * shape.b * shape.h..].to_vec(), ..case.clone() };
            // Past its end a row has no gradient of its own, and its tail hands the final cotangent on.
            let at_end = |values: Vec<f64>, last: &[f64]| -> Vec<f64> {
                let over = |k: usize| lengths[k / shape.h] < t + 1;
                (0..values.len()).map(|k| if over(k) { last[k] } else { values[k] }).collect()
            };
            let dy = rows(&StackCase::random(spec, shape, true, 70 + n as u64).dy, shape.h);
            let dh: Vec<f64> = rows(&grads.dh[0], shape.h).iter().zip(dy).map(|(dh, dy)| dh - dy).collect();
            let h0 = tail.h0.clone().unwrap();
            let name = format!("{:?} dh of step {t}", cell.kind);
            let skipped =
                check_gradient_between_kinks(&name, &h0, &at_end(dh, &case.dh_n), &mut |h0: &[f64]| {
                    objective(&case, &case.weights, &StackInput { h0: Some(h0.to_vec()), ..tail.clone() })
                });
            assert_eq!(skipped, 0);
            let (Some(dc), Some(c0), Some(dc_n)) = (grads.dc.first(), &tail.c0, &case.dc_n) else { continue };
            let name = format!("{:?} dc of step {t}", cell.kind);
            let dc = at_end(rows(dc, shape.h), dc_n);
            let skipped = check_gradient_between_kinks(&name, c0, &dc, &mut |c0: &[f64]| {
                objective(&case, &case.weights, &StackInput { c0: Some(c0.to_vec()), ..tail.clone() })
            });
            assert_eq!(skipped, 0);
        }
    }
}
