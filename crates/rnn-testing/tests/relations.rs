//! What every option is in terms of a stack without it: equations between two stacks, and steps by hand. Central
//! differences cannot see a wrong equation; these can.

use rnn_kernels::cell::{Activation, CellKind, CellSpec, Merge, Parameter, Regularization, StackSpec};
use rnn_testing::compare::{Tolerance, assert_close};
use rnn_testing::oracle::{Masks, StackCase, stack_spec};
use rnn_testing::shapes::RnnShape;

const SHAPE: RnnShape = RnnShape { t: 4, b: 1, i: 3, h: 4 };

/// Both sides compute in f64, in another order.
const ROUNDING: Tolerance = Tolerance { abs: 1e-13, rel: 1e-12 };

fn one(cell: CellSpec) -> StackSpec {
    stack_spec(cell, SHAPE, 1, false)
}

#[track_caller]
fn same(name: &str, got: &[f64], want: &[f64]) {
    assert_close(name, got, want, &[want.len()], ROUNDING);
}

#[track_caller]
fn same_outputs(name: &str, a: &StackCase, b: &StackCase) {
    let (a, b) = (a.forward(), b.forward());
    same(&format!("{name}: y"), &a.y, &b.y);
    same(&format!("{name}: h_n"), &a.h_n, &b.h_n);
    assert_eq!(a.c_n.is_some(), b.c_n.is_some());
    if let (Some(a), Some(b)) = (&a.c_n, &b.c_n) {
        same(&format!("{name}: c_n"), a, b);
    }
}

/// All cells whose recurrence is a product, with peepholes and both resets.
fn cells() -> [CellSpec; 6] {
    let peephole = CellSpec { peephole: true, ..CellSpec::lstm() };
    let coupled = CellSpec { coupled: true, ..peephole };
    let reset_before = CellSpec { reset_after: false, ..CellSpec::gru() };
    [peephole, coupled, CellSpec::gru(), reset_before, CellSpec::mgu(), CellSpec::rnn_tanh()]
}

/// `W` `[rows, len(factors)]` with its columns scaled.
fn scale_columns(w: &mut [f64], factors: &[f64]) {
    for (k, w) in w.iter_mut().enumerate() {
        *w *= factors[k % factors.len()];
    }
}

/// sigmoid(-a) = 1 - sigmoid(a): a forget gate with the input gate's weights negated.
#[test]
fn coupled_gates_are_a_forget_gate_with_negated_weights() {
    for peephole in [false, true] {
        let cell = CellSpec { coupled: true, peephole, ..CellSpec::lstm() };
        let coupled = StackCase::random(one(cell), SHAPE, true, 1);
        let mut full = coupled.clone();
        full.spec.cell.coupled = false;
        let w = &mut full.weights[0];
        let forget = |w: &mut Vec<f64>| {
            let input = w[..w.len() / 3].to_vec();
            let at = input.len();
            w.splice(at..at, input.iter().map(|v| -v));
        };
        forget(&mut w[Parameter::WeightIh]);
        forget(&mut w[Parameter::WeightHh]);
        w.get_mut(Parameter::BiasIh).map(forget).unwrap();
        w.get_mut(Parameter::BiasHh).map(forget).unwrap();
        if let Some(p) = w.get_mut(Parameter::Peephole) {
            let input = p[..SHAPE.h].to_vec();
            p.splice(SHAPE.h..SHAPE.h, input.iter().map(|v| -v));
        }
        same_outputs("coupled", &coupled, &full);
    }
}

/// U (W_hr h) = (U W_hr) h.
#[test]
fn a_projection_is_a_recurrent_matrix_of_low_rank() {
    let cell = CellSpec { peephole: true, cell_clip: Some(0.5), ..CellSpec::lstm() };
    let spec = StackSpec { proj_size: 2, ..one(cell) };
    let mut projected = StackCase::random(spec, SHAPE, true, 2);
    projected.input.h0 = None;
    let mut whole = projected.clone();
    whole.spec.proj_size = 0;
    let w_hr = whole.weights[0].take(Parameter::WeightHr).unwrap();
    let entry = |row: &[f64], k: usize| row[0] * w_hr[k] + row[1] * w_hr[SHAPE.h + k];
    let rows = projected.weights[0][Parameter::WeightHh].chunks(2);
    whole.weights[0][Parameter::WeightHh] =
        rows.flat_map(|row| (0..SHAPE.h).map(move |k| entry(row, k))).collect();
    let (projected, whole) = (projected.forward(), whole.forward());
    let y: Vec<f64> = whole
        .y
        .chunks(SHAPE.h)
        .flat_map(|h| w_hr.chunks(SHAPE.h).map(move |row| row.iter().zip(h).map(|(w, h)| w * h).sum::<f64>()))
        .collect();
    same("y", &projected.y, &y);
    same("c_n", &projected.c_n.unwrap(), &whole.c_n.unwrap());
}

#[test]
fn independent_units_are_a_diagonal_matrix() {
    for cell in [CellSpec::rnn_tanh(), CellSpec { clip: Some(0.4), ..CellSpec::rnn_relu() }] {
        let vector = StackCase::random(one(CellSpec { independent: true, ..cell }), SHAPE, true, 3);
        let mut matrix = vector.clone();
        matrix.spec.cell.independent = false;
        let u = &vector.weights[0][Parameter::WeightHh];
        matrix.weights[0][Parameter::WeightHh] = (0..SHAPE.h * SHAPE.h)
            .map(|k| if k % (SHAPE.h + 1) == 0 { u[k / SHAPE.h] } else { 0.0 })
            .collect();
        same_outputs("independent", &vector, &matrix);
    }
}

/// D (r h) = r (D h) of a diagonal D without a bias: only then does the order not matter.
#[test]
fn resets_before_and_after_a_diagonal_product_agree() {
    let after = CellSpec { clip: Some(0.9), ..CellSpec::gru() };
    let mut case = StackCase::random(one(after), SHAPE, true, 4);
    let mut before = case.clone();
    before.spec.cell.reset_after = false;
    assert_ne!(case.forward().y, before.forward().y, "of any other matrix they differ");
    for case in [&mut case, &mut before] {
        let h = SHAPE.h;
        let w = &mut case.weights[0];
        for (k, u) in w[Parameter::WeightHh][2 * h * h..].iter_mut().enumerate() {
            *u *= f64::from(u8::from(k % (h + 1) == 0));
        }
        w.get_mut(Parameter::BiasHh).unwrap()[2 * h..].fill(0.0);
    }
    same_outputs("diagonal", &case, &before);
}

/// sigmoid(-a) = 1 - sigmoid(a), so an MGU is a GRU with r = f and z = 1 - f, with any common options.
#[test]
fn a_minimal_gated_unit_is_a_gru_of_mirrored_gates() {
    for clip in [None, Some(0.4)] {
        let mut spec = one(CellSpec { clip, candidate_activation: Activation::Softsign, ..CellSpec::mgu() });
        spec.regularization.zoneout_h = 0.25;
        let mut minimal = StackCase::random(spec, SHAPE, true, 10);
        minimal.input.masks.candidate = Some(vec![[0.0, 2.0, 1.5, 0.5].repeat(SHAPE.t)]);
        minimal.input.masks.recurrent = Some(vec![vec![2.0, 0.0, 2.0, 0.5]]);
        let mut full = minimal.clone();
        full.spec.cell.kind = CellKind::Gru;
        let mirror = |w: &mut Vec<f64>| {
            let at = w.len() / 2;
            let gate = w[..at].to_vec();
            w.splice(at..at, gate.iter().map(|v| -v));
        };
        let w = &mut full.weights[0];
        mirror(&mut w[Parameter::WeightIh]);
        mirror(&mut w[Parameter::WeightHh]);
        w.get_mut(Parameter::BiasIh).map(mirror).unwrap();
        w.get_mut(Parameter::BiasHh).map(mirror).unwrap();
        same_outputs("mirrored", &minimal, &full);
    }
}

/// A factor on h in the product is a factor on the columns of U; z h in the GRU and zoneout see h whole.
#[test]
fn recurrent_dropout_scales_the_columns_of_the_recurrent_matrix() {
    let mask = vec![2.0, 0.0, 2.0, 0.5];
    let independent = CellSpec { independent: true, ..CellSpec::rnn_tanh() };
    for cell in cells().into_iter().chain([independent]) {
        let mut spec = one(cell);
        spec.regularization.zoneout_h = 0.25;
        let mut scaled = StackCase::random(spec, SHAPE, true, 5);
        let mut masked = scaled.clone();
        masked.input.masks.recurrent = Some(vec![mask.clone()]);
        scale_columns(&mut scaled.weights[0][Parameter::WeightHh], &mask);
        same_outputs(&format!("{cell:?}"), &masked, &scaled);
    }
}

/// Masks on inputs are factors on the columns of W, of both layers; the output's mask leaves h_n whole.
#[test]
fn variational_dropout_scales_inputs_and_the_output() {
    for cell in cells() {
        let mut scaled = StackCase::random(stack_spec(cell, SHAPE, 2, false), SHAPE, true, 6);
        let mut masked = scaled.clone();
        let inputs = vec![vec![1.25, 0.0, 1.25], vec![0.0, 1.5, 1.5, 1.5]];
        let output = vec![4.0, 0.0, 4.0, 0.0];
        masked.input.masks =
            Masks { input: Some(inputs.clone()), output: Some(output.clone()), ..Masks::default() };
        for (w, mask) in scaled.weights.iter_mut().zip(&inputs) {
            scale_columns(&mut w[Parameter::WeightIh], mask);
        }
        let (masked, scaled) = (masked.forward(), scaled.forward());
        let mut y = scaled.y;
        scale_columns(&mut y, &output);
        same("y", &masked.y, &y);
        same("h_n", &masked.h_n, &scaled.h_n);
    }
}

/// Of a linear candidate, a factor on it is a factor on its rows.
#[test]
fn candidate_dropout_scales_a_linear_candidate() {
    for mut cell in cells().into_iter().filter(|cell| cell.kind != CellKind::Rnn) {
        cell.candidate_activation = Activation::Identity;
        let mut scaled = StackCase::random(one(cell), SHAPE, true, 7);
        let mut masked = scaled.clone();
        let mask = [0.0, 2.0, 2.0, 0.5];
        let every_step = mask.repeat(SHAPE.t);
        masked.input.masks.candidate = Some(vec![every_step]);
        // Rows of g in i, f, g, o or i, g, o; of n in r, z, n or f, n.
        let after = usize::from(cell.kind == CellKind::Lstm);
        let first = (cell.gates() - 1 - after) * SHAPE.h;
        let scale = |w: &mut Vec<f64>| {
            let width = w.len() / (cell.gates() * SHAPE.h);
            for (k, row) in w.chunks_mut(width).skip(first).take(SHAPE.h).enumerate() {
                row.iter_mut().for_each(|v| *v *= mask[k]);
            }
        };
        let w = &mut scaled.weights[0];
        scale(&mut w[Parameter::WeightIh]);
        scale(&mut w[Parameter::WeightHh]);
        w.get_mut(Parameter::BiasIh).map(scale).unwrap();
        w.get_mut(Parameter::BiasHh).map(scale).unwrap();
        same_outputs(&format!("{cell:?}"), &masked, &scaled);
    }
}

/// One step: each unit of h and c is the old one or the one of a stack without zoneout, or their mean by the
/// rates. o has seen the c that would have been.
#[test]
fn zoneout_keeps_units_or_mixes_them() {
    let shape = RnnShape { t: 1, ..SHAPE };
    for cell in cells() {
        let has_c = cell.kind.has_cell_state();
        let plain = StackCase::random(stack_spec(cell, shape, 1, false), shape, true, 8);
        let fresh = plain.forward();
        let mut zoned = plain.clone();
        let zoneout_c = if has_c { 0.375 } else { 0.0 };
        zoned.spec.regularization = Regularization { zoneout_h: 0.25, zoneout_c, ..Default::default() };
        let mix = |old: &Option<Vec<f64>>, new: &[f64], keep: [f64; 4]| -> Vec<f64> {
            let old = old.as_ref().unwrap();
            (0..4).map(|k| keep[k] * old[k] + (1.0 - keep[k]) * new[k]).collect()
        };
        let check = |name: &str, case: &StackCase, keep: [[f64; 4]; 2]| {
            let out = case.forward();
            same(name, &out.h_n, &mix(&case.input.h0, &fresh.h_n, keep[0]));
            same(name, &out.y, &out.h_n);
            if let (Some(c_n), Some(fresh)) = (&out.c_n, &fresh.c_n) {
                same(name, c_n, &mix(&case.input.c0, fresh, keep[1]));
            }
        };
        check("inference", &zoned, [[0.25; 4], [0.375; 4]]);
        let keep = [[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]];
        zoned.input.masks = Masks {
            zoneout_h: Some(vec![keep[0].to_vec()]),
            zoneout_c: has_c.then(|| vec![keep[1].to_vec()]),
            ..Masks::default()
        };
        check("training", &zoned, keep);
    }
}

#[test]
fn directions_are_merged_elementwise() {
    let halves = StackCase::random(stack_spec(CellSpec::gru(), SHAPE, 1, true), SHAPE, true, 9);
    let y = halves.forward().y;
    let check = |merge: Merge, of: fn(f64, f64) -> f64| {
        let mut case = halves.clone();
        case.spec.merge = merge;
        let rows = y.chunks(2 * SHAPE.h);
        let want: Vec<f64> =
            rows.flat_map(|row| (0..SHAPE.h).map(|k| of(row[k], row[SHAPE.h + k]))).collect();
        same(&format!("{merge:?}"), &case.forward().y, &want);
    };
    check(Merge::Sum, |f, b| f + b);
    check(Merge::Mean, |f, b| 0.5 * (f + b));
    check(Merge::Mul, |f, b| f * b);
}
