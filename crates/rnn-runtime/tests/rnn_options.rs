//! Every option of the recurrent stack on every device against the f64 oracle: values and all gradients, with ragged
//! rows, resets and noise.
//!
//! A GPU compiles kernels for every combination of some options. So the cases are those of a covering array of these
//! options, [`KernelSet`], and on the CPU 500 random combinations beside them. `RNN_COMBINATIONS` sets the number of
//! random combinations, on the GPU too: as many as there is time for, before a release.

mod common;
#[path = "rnn_options/flow.rs"]
mod flow;
#[path = "rnn_options/half.rs"]
mod half;
#[path = "rnn_options/non_finite.rs"]
mod non_finite;
mod pass;
#[path = "rnn_options/properties.rs"]
mod properties;

use common::device_tests;
use pass::{masks, run};
use rnn_kernels::cell::{CellSpec, StackSpec, Storage};
use rnn_runtime::ops::rnn::StackDraws;
use rnn_runtime::{Device, RngKey};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::SplitMix64;
use rnn_testing::oracle::{CASES, EVERY_ACTIVATION, KernelSet, StackCase, random_spec, with_options};
use rnn_testing::shapes::RnnShape;

fn main() {
    common::run(device_tests![
        first_quarter_of_all_pairs_of_options,
        second_quarter_of_all_pairs_of_options,
        third_quarter_of_all_pairs_of_options,
        last_quarter_of_all_pairs_of_options,
        many_rows_to_an_invocation,
        every_activation_at_every_place,
        first_half_of_random_combinations,
        second_half_of_random_combinations,
        flow::flow_of_whole_sequences,
        flow::flow_of_ragged_and_interrupted_sequences,
        flow::flow_names_what_it_cannot_measure,
        half::half_gates_cost_their_rounding,
        half::half_storage_costs_its_rounding,
        half::half_storage_is_refused_by_name,
        non_finite::an_infinity_in_the_input_stays_in_its_unit,
        non_finite::inf_and_nan_in_every_argument,
        non_finite::saturated_gates_pass_no_gradient,
        non_finite::subnormal_inputs_change_nothing_that_can_be_seen,
        properties::a_split_sequence_is_the_whole,
        properties::padding_is_invisible,
    ]);
}

/// As in `tests/rnn.rs`. A normalisation of a few units that are nearly alike magnifies rounding by the inverse of
/// their deviation, up to 300 here.
const BOUND: f64 = 1e-4;
const NORM_BOUND: f64 = 2e-3;

const SHAPES: [RnnShape; 4] = [
    RnnShape { t: 5, b: 3, i: 4, h: 6 },
    RnnShape { t: 4, b: 9, i: 3, h: 12 },
    RnnShape { t: 7, b: 1, i: 5, h: 17 },
    RnnShape { t: 3, b: 20, i: 8, h: 5 },
];

/// The combinations that fail, and the largest error of those without normalisation, which says nothing of the others.
#[derive(Default)]
struct Verdict {
    worst: f64,
    failures: Vec<String>,
}

impl Verdict {
    /// Runs a case, with draws where it has some.
    fn add(&mut self, device: &Device, n: usize, mut case: StackCase, drawn: bool, inference: bool) {
        let spec = case.spec;
        let draws = StackDraws { key: RngKey::new(n as u64), first_step: 3, sequence: 5 + n as u32 };
        let draws = drawn.then_some(draws);
        if let Some(draws) = draws {
            case.input.masks = masks(&spec, case.input.t, case.input.b, draws);
        }
        let bound = if spec.cell.layer_norm { NORM_BOUND } else { BOUND };
        for (name, got, want) in run(device, &case, draws, Storage::F32, inference) {
            let error = max_rel_err(&got, &want);
            if error > bound || error.is_nan() {
                let (t, b, lengths, resets) =
                    (case.input.t, case.input.b, &case.input.lengths, &case.input.resets);
                self.failures.push(format!(
                    "{n}: {name} has relative error {error:.1e}: T {t} B {b} {spec:?} {draws:?} {lengths:?} {resets:?}"
                ));
                break;
            }
            self.worst = if spec.cell.layer_norm { self.worst } else { self.worst.max(error) };
        }
    }

    #[track_caller]
    fn finish(self, device: &Device) {
        println!("{}: worst relative error without normalisation: {:.2e}", device.name(), self.worst);
        let shown = self.failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.failures.is_empty(), "{} combinations fail\n{shown}", self.failures.len());
    }
}

// Four trials, because what takes the time on a GPU is compiling kernels, which threads can share.
fn first_quarter_of_all_pairs_of_options(device: &Device) {
    all_pairs_of_options_match_the_oracle(device, 0);
}

fn second_quarter_of_all_pairs_of_options(device: &Device) {
    all_pairs_of_options_match_the_oracle(device, 1);
}

fn third_quarter_of_all_pairs_of_options(device: &Device) {
    all_pairs_of_options_match_the_oracle(device, 2);
}

fn last_quarter_of_all_pairs_of_options(device: &Device) {
    all_pairs_of_options_match_the_oracle(device, 3);
}

/// `rnn_testing` proves that every pair of options is in these cases, and that they are 500. On a GPU each algorithm has two
/// quarters, because both have the same cells.
fn all_pairs_of_options_match_the_oracle(device: &Device, quarter: usize) {
    let device = &common::with_algorithm(device, ["step", "sequence"][quarter % 2]);
    let mut verdict = Verdict::default();
    for (n, set) in KernelSet::array().iter().enumerate().filter(|(n, _)| n % 4 == quarter) {
        // Inference has a kernel of its own, which is compiled where it is small. One row meets every other option.
        let inference = device.is_cpu() || set.rows() == 1;
        for (k, pass) in set.cases(n, CASES).enumerate() {
            verdict.add(device, n * CASES + k, pass.case, pass.draws, inference);
        }
    }
    verdict.finish(device);
}

fn many_rows_to_an_invocation(device: &Device) {
    let mut verdict = Verdict::default();
    for (n, set) in KernelSet::with_many_rows().iter().enumerate() {
        for (k, pass) in set.cases(n, 4).enumerate() {
            verdict.add(device, n * 4 + k, pass.case, pass.draws, device.is_cpu());
        }
    }
    verdict.finish(device);
}

/// An LSTM has all three places.
fn every_activation_at_every_place(device: &Device) {
    let mut verdict = Verdict::default();
    let shape = RnnShape { t: 3, b: 2, i: 4, h: 6 };
    let count = EVERY_ACTIVATION.len();
    for n in 0..count {
        let of = |place: usize| EVERY_ACTIVATION[(n + place) % count];
        let cell = CellSpec {
            gate_activation: of(0),
            candidate_activation: of(1),
            output_activation: of(2),
            ..CellSpec::lstm()
        };
        let case = StackCase::random(StackSpec::new(cell, shape.i, shape.h), shape, true, n as u64);
        verdict.add(device, n, case, false, device.is_cpu());
    }
    verdict.finish(device);
}

fn first_half_of_random_combinations(device: &Device) {
    random_combinations_match_the_oracle(device, 0);
}

fn second_half_of_random_combinations(device: &Device) {
    random_combinations_match_the_oracle(device, 1);
}

/// How many random combinations a device has.
fn combinations(device: &Device) -> usize {
    match std::env::var("RNN_COMBINATIONS") {
        Ok(number) => number.parse().expect("RNN_COMBINATIONS is a number"),
        Err(_) if device.is_cpu() => 500,
        // Every one has kernels of its own to compile.
        Err(_) => 0,
    }
}

fn random_combinations_match_the_oracle(device: &Device, half: usize) {
    let mut rng = SplitMix64::new(510 + half as u64);
    let mut verdict = Verdict::default();
    for n in (0..combinations(device)).filter(|n| n % 2 == half) {
        let shape = SHAPES[n / 2 % SHAPES.len()];
        let spec = random_spec(&mut rng, shape);
        let case = with_options(StackCase::random(spec, shape, n % 3 > 0, n as u64), &mut rng);
        verdict.add(device, n, case, n / 2 % 2 == 0, true);
    }
    verdict.finish(device);
}
