//! The gradients with respect to h and c at every step, against the oracle.

use crate::pass::{OnDevice, array, masks, weights};
use rnn_kernels::cell::{Activation, CellKind, CellSpec, Direction, Merge, Regularization, StackSpec};
use rnn_runtime::ops::rnn::{
    Kept, StackCotangents, StackDraws, Wanted, backward_with_flow, flow_problem, forward_for_flow,
};
use rnn_runtime::{Device, RngKey};
use rnn_testing::compare::max_rel_err;
use rnn_testing::oracle::{CELLS, KernelSet, StackCase};
use rnn_testing::shapes::RnnShape;

const SHAPES: [RnnShape; 3] = [
    RnnShape { t: 6, b: 3, i: 4, h: 6 },
    RnnShape { t: 9, b: 5, i: 3, h: 17 },
    RnnShape { t: 1, b: 2, i: 5, h: 8 },
];

/// f32 sums over a few dozen units and steps.
const BOUND: f64 = 1e-4;

/// Every cell and every option that changes the flow, in every direction; the cases have random cotangents on y and on
/// the final states, and initial states.
fn specs(shape: RnnShape) -> Vec<StackSpec> {
    let base = |cell: CellSpec| StackSpec::new(cell, shape.i, shape.h);
    let lstm = CellSpec::lstm();
    let mut specs: Vec<StackSpec> = [
        lstm,
        CellSpec { peephole: true, ..lstm },
        CellSpec { coupled: true, ..lstm },
        CellSpec { coupled: true, peephole: true, output_activation: Activation::Softsign, ..lstm },
        CellSpec { cell_clip: Some(0.3), clip: Some(0.7), ..lstm },
        CellSpec { output_activation: Activation::ScaledTanh { alpha: 1.7, beta: 0.6 }, ..lstm },
        CellSpec::gru(),
        CellSpec { reset_after: false, ..CellSpec::gru() },
        CellSpec::mgu(),
        CellSpec::rnn_tanh(),
        CellSpec::rnn_relu(),
        CellSpec { independent: true, ..CellSpec::rnn_relu() },
    ]
    .map(base)
    .to_vec();
    specs.push(StackSpec { proj_size: shape.h - 3, ..base(lstm) });
    let both: Vec<StackSpec> = CellKind::ALL
        .map(|kind| StackSpec { direction: Direction::Bidirectional, num_layers: 2, ..base(cell_of(kind)) })
        .to_vec();
    specs.extend(both.iter().map(|spec| StackSpec { merge: Merge::Mul, ..*spec }));
    specs.extend(both);
    specs
        .extend(CellKind::ALL.map(|kind| StackSpec { direction: Direction::Reverse, ..base(cell_of(kind)) }));
    specs.extend(CellKind::ALL.map(|kind| StackSpec { num_layers: 3, ..base(cell_of(kind)) }));
    specs
}

fn cell_of(kind: CellKind) -> CellSpec {
    let of_kind = CELLS.into_iter().map(|(_, cell)| cell).find(|cell| cell.kind == kind);
    of_kind.expect("the oracle's CELLS have every kind")
}

/// On a GPU the cases are those of sets whose kernels other tests compile anyway.
fn check_sets(device: &Device, accepts: impl Fn(&KernelSet) -> bool) {
    let mut cells = Vec::new();
    for (n, set) in KernelSet::array().iter().enumerate().filter(|(_, set)| accepts(set)) {
        for pass in set.cases(n, 6).filter(|pass| flow_problem(&pass.case.spec).is_none()) {
            check(device, &pass.case, pass.draws);
            cells.push(pass.case.spec.cell.kind);
        }
    }
    // A cell whose sets all have options that cannot be measured.
    for kind in CellKind::ALL.into_iter().filter(|kind| !cells.contains(kind)) {
        let spec = StackSpec::new(cell_of(kind), SHAPES[0].i, SHAPES[0].h);
        check(device, &StackCase::random(spec, SHAPES[0], true, 7), false);
    }
}

pub(crate) fn flow_of_whole_sequences(device: &Device) {
    if !device.is_cpu() {
        return check_sets(device, KernelSet::is_whole);
    }
    for (n, &shape) in SHAPES.iter().enumerate() {
        for (k, spec) in specs(shape).into_iter().enumerate() {
            check(device, &StackCase::random(spec, shape, k % 3 > 0, (100 * n + k) as u64), false);
        }
        for (k, spec) in noisy_specs(shape).into_iter().enumerate() {
            let case = StackCase::random(spec, shape, k % 3 > 0, (900 * n + k) as u64);
            check(device, &case, false);
            check(device, &case, true);
        }
    }
}

pub(crate) fn flow_of_ragged_and_interrupted_sequences(device: &Device) {
    if !device.is_cpu() {
        return check_sets(device, |set| !set.is_whole());
    }
    let shape = SHAPES[1];
    let plain = specs(shape).into_iter().map(|spec| (spec, false));
    let noisy = noisy_specs(shape).into_iter().map(|spec| (spec, true));
    for (k, (spec, drawn)) in plain.chain(noisy).enumerate() {
        let mut case = StackCase::random(spec, shape, k % 3 > 0, 500 + k as u64);
        case.input.lengths = Some(vec![9, 1, 4, 7, 2]);
        if k % 2 == 0 {
            case.input.resets = Some((0..shape.t * shape.b).map(|at| at % 7 == 3).collect());
        }
        check(device, &case, drawn);
    }
}

/// Zoneout and dropout of every cell. Without draws zoneout mixes by its rates.
fn noisy_specs(shape: RnnShape) -> Vec<StackSpec> {
    let none = Regularization::default();
    let noises = [
        Regularization { zoneout_h: 0.3, ..none },
        Regularization { zoneout_c: 0.4, ..none },
        Regularization { recurrent_dropout: 0.4, ..none },
        Regularization { zoneout_c: 0.4, candidate_dropout: 0.3, ..none },
        Regularization { zoneout_h: 0.2, zoneout_c: 0.35, recurrent_dropout: 0.3, ..none },
    ];
    let lstm = CellSpec::lstm();
    let cells = [
        lstm,
        CellSpec { peephole: true, cell_clip: Some(0.3), ..lstm },
        CellSpec { coupled: true, peephole: true, ..lstm },
        CellSpec::gru(),
        CellSpec { reset_after: false, ..CellSpec::gru() },
        CellSpec::mgu(),
        CellSpec::rnn_tanh(),
        CellSpec { independent: true, ..CellSpec::rnn_relu() },
    ];
    let mut specs = Vec::new();
    for cell in cells {
        let allowed = |noise: &&Regularization| noise.zoneout_c == 0.0 || cell.kind.has_cell_state();
        for &regularization in noises.iter().filter(allowed) {
            let one = StackSpec { regularization, ..StackSpec::new(cell, shape.i, shape.h) };
            specs.push(one);
            specs.push(StackSpec { direction: Direction::Bidirectional, num_layers: 2, ..one });
            if cell == lstm {
                specs.push(StackSpec { proj_size: shape.h - 3, ..one });
            }
        }
    }
    specs
}

/// What cannot be measured is refused by name.
pub(crate) fn flow_names_what_it_cannot_measure(_: &Device) {
    let lstm = StackSpec::new(CellSpec::lstm(), 3, 4);
    let mut normal = lstm;
    normal.cell.layer_norm = true;
    assert_eq!(flow_problem(&lstm), None);
    assert!(flow_problem(&normal).unwrap().contains("layer normalisation"));
}

/// Checks the flow of a pass, with draws or without.
fn check(device: &Device, case: &StackCase, drawn: bool) {
    let mut case = case.clone();
    let draws = drawn.then_some(StackDraws { key: RngKey::new(77), first_step: 3, sequence: 5 });
    if let Some(draws) = draws {
        case.input.masks = masks(&case.spec, case.input.t, case.input.b, draws);
    }
    let (case, spec, input) = (&case, &case.spec, &case.input);
    let want = case.forward();
    let want = case.backward(&want);
    let on_device = OnDevice::new(device, case);
    let (_, kept) = forward_for_flow(&on_device.args(spec, draws, true)).unwrap();
    let Some(Kept::Whole(saved)) = kept else { panic!("a whole pass") };
    let traces: Vec<_> = (0..spec.num_layers).map(|layer| saved.trace(spec, layer).unwrap()).collect();
    let states = |values: &Vec<f64>, width| array(device, values, &[spec.num_states(), input.b, width]);
    let dy = array(device, &case.dy, &[input.t, input.b, spec.output_size()]);
    let dh_n = states(&case.dh_n, spec.state_size());
    let dc_n = case.dc_n.as_ref().map(|dc_n| states(dc_n, spec.hidden_size));
    let cotangents = StackCotangents { dy: Some(&dy), dh_n: Some(&dh_n), dc_n: dc_n.as_ref() };
    let wanted = Wanted { dx: true, states: false };
    let sequences = on_device.sequences();
    let weights = weights(device, case);
    let of = (&weights[..], &traces[..]);
    let saved = (saved, sequences);
    let (grads, flows) = backward_with_flow(spec, &on_device.packed, saved, of, &cotangents, wanted).unwrap();
    // The gradients themselves do not change.
    let error = max_rel_err(&grads.dx.unwrap().to_vec().unwrap(), &want.dx);
    assert!(error < BOUND, "dx of {spec:?}: {error:e}");
    assert_eq!(flows.len(), spec.num_states());
    for (state, flow) in flows.iter().enumerate() {
        let squares = |values: &[f64], width: usize| -> Vec<f64> {
            values.chunks(width).map(|row| row.iter().map(|value| value * value).sum()).collect()
        };
        let mut pairs = vec![("h", &flow.h, squares(&want.dh[state], spec.state_size()))];
        assert_eq!(flow.c.is_some(), spec.cell.kind.has_cell_state());
        if let Some(c) = &flow.c {
            pairs.push(("c", c, squares(&want.dc[state], spec.hidden_size)));
        }
        for (name, got, want) in pairs {
            let got: Vec<f32> = got.iter().map(|&square| square as f32).collect();
            let error = max_rel_err(&got, &want);
            assert!(error < BOUND, "{name} of state {state} of {spec:?}: {error:e}\n{got:?}\n{want:?}");
        }
    }
}
