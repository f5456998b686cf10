//! Numbers at the ends of f32, and infinities and NaN in every argument of a pass. The oracle computes with IEEE 754's
//! rules and has no padding. Each result is NaN, an infinity or a number where the oracle's is.

use crate::pass::{OnDevice, run};
use rnn_kernels::cell::{Activation, CellKind, CellSpec, Direction, Parameter, StackSpec, Storage};
use rnn_runtime::Device;
use rnn_runtime::ops::rnn::forward;
use rnn_testing::compare::{first_of_another_kind, max_rel_err};
use rnn_testing::oracle::StackCase;
use rnn_testing::shapes::RnnShape;

/// Padded on a GPU in every width; x is longer than the smallest tile of steps.
const SHAPE: RnnShape = RnnShape { t: 4, b: 3, i: 3, h: 5 };

/// As in the other tests of this file: the rest of a tensor is not touched by what is not finite.
const BOUND: f64 = 1e-4;

/// The Elman net of two units of the report, by hand: the first output is a saturated tanh, the others are finite.
pub(crate) fn an_infinity_in_the_input_stays_in_its_unit(device: &Device) {
    let shape = RnnShape { t: 2, b: 1, i: 2, h: 2 };
    let mut case = StackCase::random(StackSpec::new(CellSpec::rnn_tanh(), 2, 2), shape, false, 0);
    case.input.x = vec![f64::INFINITY, 1.0, -1.0, 0.5];
    let on_device = OnDevice::new(device, &case);
    let out = forward(&on_device.args(&case.spec, None, false)).unwrap();
    let (got, want) = (out.y.to_vec().unwrap(), case.forward().y);
    assert!(want.iter().all(|y| y.is_finite()) && want[0].abs() == 1.0, "{want:?}");
    assert!(max_rel_err(&got, &want) < BOUND, "{got:?} {want:?}");
}

/// The stacks: every cell, and the options with operands of their own.
fn specs() -> Vec<(&'static str, StackSpec)> {
    let of = |cell| StackSpec::new(cell, SHAPE.i, SHAPE.h);
    let gru = CellSpec::gru();
    vec![
        ("rnn", of(CellSpec::rnn_tanh())),
        ("relu, two layers", StackSpec { num_layers: 2, ..of(CellSpec::rnn_relu()) }),
        ("lstm, both directions", StackSpec { direction: Direction::Bidirectional, ..of(CellSpec::lstm()) }),
        ("lstm with peepholes", of(CellSpec { peephole: true, ..CellSpec::lstm() })),
        ("lstm with a projection", StackSpec { proj_size: 3, ..of(CellSpec::lstm()) }),
        ("gru", of(gru)),
        ("gru, reset before", of(CellSpec { reset_after: false, ..gru })),
        ("mgu", of(CellSpec::mgu())),
        ("independent units", of(CellSpec { independent: true, ..CellSpec::rnn_tanh() })),
        ("lstm with layer normalisation", of(CellSpec { layer_norm: true, ..CellSpec::lstm() })),
    ]
}

/// The tensors of a case, in turn.
fn arguments(case: &mut StackCase) -> Vec<(String, &mut Vec<f64>)> {
    let StackCase { weights, input, dy, dh_n, dc_n, .. } = case;
    let mut all = vec![("x".to_string(), &mut input.x), ("dy".into(), dy), ("dh_n".into(), dh_n)];
    all.extend(input.h0.as_mut().map(|h0| ("h0".into(), h0)));
    all.extend(input.c0.as_mut().map(|c0| ("c0".into(), c0)));
    all.extend(dc_n.as_mut().map(|dc_n| ("dc_n".into(), dc_n)));
    for (n, weights) in weights.iter_mut().enumerate() {
        let each = Parameter::ALL.iter().zip(weights.get_disjoint_mut(Parameter::ALL));
        all.extend(
            each.filter_map(|(parameter, values)| Some((format!("{} of {n}", parameter.name()), values?))),
        );
    }
    all
}

pub(crate) fn inf_and_nan_in_every_argument(device: &Device) {
    let mut failures = Vec::new();
    for (name, spec) in specs() {
        let mut plain = StackCase::random(spec, SHAPE, true, 7);
        if spec.cell.kind == CellKind::Gru {
            // Row 1 ends before the element of x that is replaced, row 2 is cleared after it.
            plain.input.lengths = Some(vec![4, 1, 4]);
            plain.input.resets = Some((0..12).map(|k| k == 8).collect());
        }
        let count = arguments(&mut plain.clone()).len();
        for (argument, bad) in
            (0..count).flat_map(|n| [f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(|bad| (n, bad)))
        {
            let mut case = plain.clone();
            let (of, values) = arguments(&mut case).swap_remove(argument);
            // Where a state is cleared, a GPU takes 0 for its product with U, even if U is not finite.
            if plain.input.resets.is_some() && of.starts_with(Parameter::WeightHh.name()) {
                continue;
            }
            let at = 2 * values.len() / 5;
            values[at] = bad;
            for (tensor, got, want) in run(device, &case, None, Storage::F32, false) {
                if let Some(k) = first_of_another_kind(&got, &want) {
                    failures.push(format!(
                        "{name}: {bad} in {of}[{at}]: {tensor}[{k}] is {}, not {}",
                        got[k], want[k]
                    ));
                    continue;
                }
                let error = max_rel_err(&got, &want);
                if error > BOUND {
                    failures.push(format!(
                        "{name}: {bad} in {of}[{at}]: {tensor} has relative error {error:.1e}"
                    ));
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} results differ\n{}",
        failures.len(),
        failures[..failures.len().min(40)].join("\n")
    );
}

/// x far beyond where gates saturate: their derivatives are 0, and the gradients of their weights are 0 times x.
pub(crate) fn saturated_gates_pass_no_gradient(device: &Device) {
    // Squares of x, in a normalisation or a relu's gradients, overflow f32.
    let bounded =
        |spec: &StackSpec| !spec.cell.layer_norm && spec.cell.candidate_activation == Activation::Tanh;
    for (name, spec) in specs().into_iter().filter(|(_, spec)| bounded(spec)) {
        let mut case = StackCase::random(spec, SHAPE, true, 11);
        case.input.x.iter_mut().for_each(|x| *x = x.signum() * 1e37);
        for (tensor, got, want) in run(device, &case, None, Storage::F32, false) {
            for (k, (got, want)) in got.iter().zip(&want).enumerate() {
                // Where f32 overflows, as a relu's squares do, the oracle has numbers.
                if want.abs() < 1e30 {
                    let allowed = 1e-4 * (1.0 + want.abs());
                    assert!(
                        (f64::from(*got) - want).abs() < allowed,
                        "{name}: {tensor}[{k}] is {got}, not {want}"
                    );
                }
            }
        }
    }
}

/// The CPU takes subnormal inputs and states for 0, and a GPU may. Results differ from the oracle's by no more than that.
pub(crate) fn subnormal_inputs_change_nothing_that_can_be_seen(device: &Device) {
    for (name, spec) in specs() {
        let mut case = StackCase::random(spec, SHAPE, true, 12);
        let inputs = [Some(&mut case.input.x), case.input.h0.as_mut(), case.input.c0.as_mut()];
        inputs.into_iter().flatten().flatten().for_each(|x| *x = f64::from((*x * 1e-40) as f32));
        for (tensor, got, want) in run(device, &case, None, Storage::F32, false) {
            let largest = want.iter().fold(0f64, |largest, x| largest.max(x.abs()));
            for (k, (got, want)) in got.iter().zip(&want).enumerate() {
                let error = (f64::from(*got) - want).abs();
                assert!(error <= BOUND * largest + 1e-36, "{name}: {tensor}[{k}] is {got}, not {want}");
            }
        }
    }
}
