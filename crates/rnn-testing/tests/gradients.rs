//! Every backward of the recurrent oracle against central differences.

use rnn_kernels::cell::{Activation, CellKind, CellSpec};
use rnn_testing::data::{indices, to_f64, uniform};
use rnn_testing::gradcheck::{check_gradient, dot};
use rnn_testing::oracle::{
    CellWeights, StackCase, StackInput, backward, forward_with_masks, named_weights, stack_spec,
};
use rnn_testing::shapes::RnnShape;

const SHAPE: RnnShape = RnnShape { t: 4, b: 2, i: 3, h: 5 };

/// The scalar whose gradient `StackCase::backward` is.
fn objective(
    case: &StackCase,
    weights: &[CellWeights],
    input: &StackInput,
    masks: Option<&[Vec<f64>]>,
) -> f64 {
    let out = forward_with_masks(&case.spec, weights, input, masks);
    let mut sum = dot(&out.y, &case.dy) + dot(&out.h_n, &case.dh_n);
    if let (Some(c_n), Some(dc_n)) = (&out.c_n, &case.dc_n) {
        sum += dot(c_n, dc_n);
    }
    sum
}

/// Checks dx, dh0, dc0 and every parameter of one case.
fn check_case(name: &str, case: &StackCase, masks: Option<&[Vec<f64>]>) {
    let out = forward_with_masks(&case.spec, &case.weights, &case.input, masks);
    let dc_n = case.dc_n.as_deref();
    let grads = backward(&case.spec, &case.weights, &case.input, &out, &case.dy, &case.dh_n, dc_n);

    check_gradient(&format!("{name} dx"), &case.input.x, &grads.dx, |x| {
        objective(case, &case.weights, &StackInput { x: x.to_vec(), ..case.input.clone() }, masks)
    });
    // An implied state is zero, and has a gradient all the same.
    let zeros = vec![0.0; out.h_n.len()];
    let h0 = case.input.h0.as_ref().unwrap_or(&zeros);
    check_gradient(&format!("{name} dh0"), h0, &grads.dh0, |h0| {
        objective(case, &case.weights, &StackInput { h0: Some(h0.to_vec()), ..case.input.clone() }, masks)
    });
    assert_eq!(grads.dc0.is_some(), case.spec.cell.kind.has_cell_state());
    if let Some(dc0) = &grads.dc0 {
        let c0 = case.input.c0.as_ref().unwrap_or(&zeros);
        check_gradient(&format!("{name} dc0"), c0, dc0, |c0| {
            objective(case, &case.weights, &StackInput { c0: Some(c0.to_vec()), ..case.input.clone() }, masks)
        });
    }
    for (state, (w, dw)) in case.weights.iter().zip(&grads.weights).enumerate() {
        let parts: [(&str, PartOf); 4] = [
            ("w_ih", |w| Some(&mut w.w_ih)),
            ("w_hh", |w| Some(&mut w.w_hh)),
            ("b_ih", |w| w.b_ih.as_mut()),
            ("b_hh", |w| w.b_hh.as_mut()),
        ];
        for (part_name, part) in parts {
            let Some(values) = part(&mut w.clone()).cloned() else {
                assert!(part(&mut dw.clone()).is_none());
                continue;
            };
            let analytic = part(&mut dw.clone()).cloned().unwrap();
            let mut weights = case.weights.clone();
            check_gradient(&format!("{name} {part_name} of {state}"), &values, &analytic, |values| {
                part(&mut weights[state]).unwrap().copy_from_slice(values);
                objective(case, &weights, &case.input, masks)
            });
        }
    }
}

type PartOf = fn(&mut CellWeights) -> Option<&mut Vec<f64>>;

const CELLS: [(&str, CellSpec); 4] = [
    ("lstm", CellSpec::lstm()),
    ("gru", CellSpec::gru()),
    ("rnn_tanh", CellSpec::rnn_tanh()),
    ("rnn_relu", CellSpec::rnn_relu()),
];

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
            check_case(&name, &case, None);
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
    for kind in [CellKind::Lstm, CellKind::Gru, CellKind::Rnn] {
        for (place, activation) in (0..3).flat_map(|place| all.map(|activation| (place, activation))) {
            let mut cell = CellSpec::linear(kind);
            let places =
                [&mut cell.gate_activation, &mut cell.candidate_activation, &mut cell.output_activation];
            for (n, of) in places.into_iter().enumerate() {
                *of = if n == place { activation } else { [Sigmoid, Tanh, Tanh][n] };
            }
            let shape = RnnShape { t: 3, b: 1, i: 2, h: 3 };
            let case = StackCase::random(stack_spec(cell, shape, 1, true), shape, true, 7);
            check_case(&format!("{cell:?}"), &case, None);
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
        check_case(name, &case, None);
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
        check_case(name, &case, Some(&masks));

        let plain = case.forward();
        let masked = forward_with_masks(&spec, &case.weights, &case.input, Some(&masks));
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
        let first = forward_with_masks(&spec, &case.weights, &first, None);
        let second = StackInput {
            t: SHAPE.t - 1,
            b: SHAPE.b,
            x: case.input.x[cut..].to_vec(),
            h0: Some(first.h_n),
            c0: first.c_n,
        };
        let second = forward_with_masks(&spec, &case.weights, &second, None);
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
    let weights =
        vec![CellWeights { w_ih: vec![2.0], w_hh: vec![5.0], b_ih: Some(vec![1.0]), b_hh: Some(vec![4.0]) }];
    let input = StackInput { t: 2, b: 1, x: vec![3.0, -1.0], h0: Some(vec![7.0]), c0: None };
    assert_eq!(forward_with_masks(&spec, &weights, &input, None).y, [46.0, 233.0]);
}

#[test]
fn random_cases_repeat_and_hold_f32_values() {
    let spec = stack_spec(CellSpec::lstm(), SHAPE, 1, false);
    let (a, b) = (StackCase::random(spec, SHAPE, true, 1), StackCase::random(spec, SHAPE, true, 1));
    assert_eq!((&a.weights, &a.input), (&b.weights, &b.input));
    assert_ne!(a.input, StackCase::random(spec, SHAPE, true, 2).input);
    assert!(a.weights[0].w_ih.iter().all(|&v| f64::from(v as f32) == v));
    assert_ne!(to_f64(&uniform(1, 3)), to_f64(&uniform(2, 3)));
}
