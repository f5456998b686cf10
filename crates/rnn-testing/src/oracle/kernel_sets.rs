//! Options of a pass in combinations that a GPU can compile: a covering array of the constants that choose kernels, and
//! for each of its rows many cases that need no other kernel.

use rnn_kernels::cell::Activation;

use super::choices::{Choice, Choices, VALUES, has_two_directions, is_allowed, spec_of};
use super::options::{ACTIVATIONS, add_lengths, add_resets};
use super::sample::{GRU, RECURRENCES, StackCase};
use crate::covering::{Row, allowed_rows, covering};
use crate::data::SplitMix64;
use crate::shapes::RnnShape;

/// Cases of a set, so that those of all sets are at least 500 and every two options meet in one.
pub const CASES: usize = 24;

/// What a recurrence draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noise {
    None,
    /// Nothing: zoneout mixes by its rates.
    Mean,
    Draws,
}

/// The clips, which are one constant of a kernel: none, of the pre-activations alone, or of c with or without those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clip {
    None,
    Sums,
    Cells,
}

/// How rows of a batch run through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowKind {
    Whole,
    Ragged,
    /// With resets.
    Interrupted,
}

/// What is compiled into a recurrence's kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelSet {
    /// Values of [`FIXED`].
    fixed: [usize; FIXED.len()],
    /// Of gates, candidate and output.
    activations: [Activation; 3],
    clip: Clip,
    noise: Noise,
    row_kind: RowKind,
    /// Rows of an invocation: 1, 4, 8, 16 or 32.
    rows: usize,
}

/// Options that are constants as they are.
const FIXED: [Choice; 4] = [Choice::Cell, Choice::Peephole, Choice::Projection, Choice::LayerNorm];

/// A case and whether its pass draws.
#[derive(Clone, Debug)]
pub struct PassCase {
    /// Without the masks of the draws, which a backend chooses.
    pub case: StackCase,
    /// T, B, I, H
    pub shape: RnnShape,
    /// Whether the pass has draws.
    pub draws: bool,
    /// What was chosen.
    #[cfg(test)]
    choices: Choices,
}

/// Rows of an invocation that meet every other constant. 16 and 32 take several times as long to compile.
const ROWS: [usize; 3] = [1, 4, 8];

const NOISES: [Noise; 3] = [Noise::None, Noise::Mean, Noise::Draws];
const CLIPS: [Clip; 3] = [Clip::None, Clip::Sums, Clip::Cells];
const ROW_KINDS: [RowKind; 3] = [RowKind::Whole, RowKind::Ragged, RowKind::Interrupted];

/// Values of a set's options: [`FIXED`], then clip, noise, row_kind, rows.
const SET_VALUES: [usize; 8] =
    [RECURRENCES.len(), 2, 2, 2, CLIPS.len(), NOISES.len(), ROW_KINDS.len(), ROWS.len()];

impl KernelSet {
    /// Sets in which every two constants meet that may meet.
    pub fn array() -> Vec<KernelSet> {
        covering(&Self::allowed()).iter().enumerate().map(|(n, row)| Self::of(row, n)).collect()
    }

    /// A set of every second cell with as many rows to an invocation as are costly to compile.
    pub fn with_many_rows() -> Vec<KernelSet> {
        let array = Self::array();
        let of_cell = |cell| array.iter().rfind(|set| set.fixed[0] == cell);
        let sets = (0..RECURRENCES.len()).step_by(2).filter_map(of_cell).enumerate();
        sets.map(|(n, set)| KernelSet { rows: [16, 32][n % 2], ..*set }).collect()
    }

    /// Two sets of every cell that f16 storage takes: the array's without what it refuses.
    pub fn of_half_storage() -> Vec<KernelSet> {
        let mut sets: Vec<KernelSet> = Vec::new();
        for set in Self::array() {
            let [cell, peephole, ..] = set.fixed;
            let cell = if RECURRENCES[cell].reset_after { cell } else { GRU };
            if sets.iter().filter(|other| other.fixed[0] == cell).count() < 2 {
                sets.push(KernelSet { fixed: [cell, peephole, 0, 0], clip: Clip::None, ..set });
            }
        }
        sets
    }

    /// Sets of every cell that may run beside others of their kind: whole rows, one product a step, and nothing drawn
    /// within the steps.
    pub fn of_layers_side_by_side() -> Vec<KernelSet> {
        let array = Self::array();
        let cells = (0..RECURRENCES.len()).filter(|&cell| RECURRENCES[cell].reset_after);
        let first = |cell| array.iter().find(|set| set.fixed[0] == cell);
        let sets = cells.filter_map(first).enumerate().map(|(n, set)| KernelSet {
            fixed: [set.fixed[0], set.fixed[1], 0, 0],
            clip: CLIPS[usize::from(n % 3 == 1)],
            noise: NOISES[n / 2 % 2],
            row_kind: RowKind::Whole,
            rows: [4, 1][n % 2],
            ..*set
        });
        sets.collect()
    }

    /// Rows of options that go together.
    fn allowed() -> Vec<Row> {
        allowed_rows(&SET_VALUES, |row| {
            let mut choices = [0; VALUES.len()];
            let clip = usize::from(row[4] > 0);
            let clip = (if row[4] == 2 { Choice::CellClip } else { Choice::Clip }, clip);
            let free = [clip, (Choice::ZoneoutH, row[5].min(1))];
            for (choice, value) in FIXED.into_iter().zip(row.iter().copied()).chain(free) {
                choices[choice as usize] = value;
            }
            is_allowed(&choices)
        })
    }

    /// Row `n` of an array. Every set has one set of activations, which are constants, too: those that keep outputs
    /// alive.
    fn of(row: &[usize], n: usize) -> KernelSet {
        KernelSet {
            fixed: [row[0], row[1], row[2], row[3]],
            activations: ACTIVATIONS[n % (ACTIVATIONS.len() - 1)],
            clip: CLIPS[row[4]],
            noise: NOISES[row[5]],
            row_kind: ROW_KINDS[row[6]],
            rows: ROWS[row[7]],
        }
    }

    /// Rows of an invocation: 1, 4, 8, 16 or 32.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether all rows have all steps and keep their state.
    pub fn is_whole(&self) -> bool {
        self.row_kind == RowKind::Whole
    }

    /// Whether rows are ragged and keep their state.
    pub fn is_ragged(&self) -> bool {
        self.row_kind == RowKind::Ragged
    }

    /// Whether a pass with these options needs this set's kernels. It does not compare [`FIXED`].
    fn serves(&self, choices: &Choices) -> bool {
        let on = |choice: Choice| choices[choice as usize] > 0;
        let zoneout = on(Choice::ZoneoutH) || on(Choice::ZoneoutC);
        let drawn = zoneout || on(Choice::CandidateDropout) || on(Choice::RecurrentDropout);
        let noise = match on(Choice::Draws) {
            true if drawn => Noise::Draws,
            false if zoneout => Noise::Mean,
            _ => Noise::None,
        };
        let row_kind = match (on(Choice::Lengths), on(Choice::Resets)) {
            (_, true) => RowKind::Interrupted,
            (true, false) => RowKind::Ragged,
            (false, false) => RowKind::Whole,
        };
        let clip = match (on(Choice::Clip), on(Choice::CellClip)) {
            (_, true) => Clip::Cells,
            (true, false) => Clip::Sums,
            (false, false) => Clip::None,
        };
        (clip, noise, row_kind) == (self.clip, self.noise, self.row_kind)
    }

    /// Draws the options that are no constants, until they go together.
    fn choices(&self, rng: &mut SplitMix64) -> Choices {
        loop {
            let mut choices = VALUES.map(|count| rng.next_below(count));
            for (choice, value) in FIXED.into_iter().zip(self.fixed) {
                choices[choice as usize] = value;
            }
            if self.serves(&choices) && is_allowed(&choices) {
                return choices;
            }
        }
    }

    /// Sizes for which the planner gives an invocation this many rows where two workgroups run at a time, as with Mesa
    /// on two cores. Elsewhere they are as good, and there are other kernels.
    fn shape(&self, choices: &Choices, rng: &mut SplitMix64) -> RnnShape {
        // Ragged rows run one direction at a time.
        let two = has_two_directions(choices) && self.is_whole();
        let (batches, units) = match self.rows {
            1 => (if two { [1, 1] } else { [2, 2] }, [9, 20]),
            4 => ([3, 4], [5, 8]),
            8 => (if two { [5, 8] } else { [9, 12] }, [9, 12]),
            16 => (if two { [9, 16] } else { [17, 20] }, [5, 8]),
            _ => (if two { [17, 20] } else { [33, 36] }, [5, 8]),
        };
        let mut within = |[low, high]: [usize; 2]| low + rng.next_below(high - low + 1);
        RnnShape { t: within([2, 7]), b: within(batches), i: within([3, 8]), h: within(units) }
    }

    /// A case that needs the kernels of this set and no others.
    pub fn case(&self, rng: &mut SplitMix64) -> PassCase {
        let choices = self.choices(rng);
        let shape = self.shape(&choices, rng);
        let mut number = |low: f32, high: f32| low + (high - low) * 0.5 * (rng.next_uniform() + 1.0);
        let mut spec = spec_of(&choices, shape, &mut number);
        let [gate, candidate, output] = self.activations;
        spec.cell.gate_activation = gate;
        spec.cell.candidate_activation = candidate;
        spec.cell.output_activation = output;
        let on = |choice: Choice| choices[choice as usize] > 0;
        let mut case = StackCase::random(spec, shape, on(Choice::State), rng.next_u64());
        if on(Choice::Lengths) {
            add_lengths(&mut case, rng);
        }
        if on(Choice::Resets) {
            add_resets(&mut case, rng);
        }
        PassCase {
            case,
            shape,
            draws: on(Choice::Draws),
            #[cfg(test)]
            choices,
        }
    }

    /// The cases of a set in the tests of devices; those of set `n` have their own.
    pub fn cases(&self, n: usize, count: usize) -> impl Iterator<Item = PassCase> {
        let mut rng = SplitMix64::new(5100 + n as u64);
        (0..count).map(move |_| self.case(&mut rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::covering::{Pair, pairs, pairs_of};
    use rnn_kernels::cell::Storage;
    use std::collections::BTreeSet;

    #[test]
    fn every_allowed_pair_of_constants_is_in_the_array_and_no_row_can_be_spared() {
        let allowed = KernelSet::allowed();
        let all = pairs_of(&allowed);
        let array = covering(&allowed);
        println!("{} rows hold {} pairs", array.len(), all.len());
        assert_eq!(pairs_of(&array), all);
        for spared in 0..array.len() {
            let others = array.iter().enumerate().filter(|(n, _)| *n != spared).map(|(_, row)| row);
            assert_ne!(pairs_of(others), all, "row {spared}");
        }
    }

    /// The pairs that a pass tests. Without draws dropout does nothing, so its pairs test nothing.
    fn tested(choices: &Choices) -> impl Iterator<Item = Pair> {
        let draws = Choice::Draws as usize;
        let dropouts =
            [Choice::RecurrentDropout, Choice::CandidateDropout, Choice::InputDropout, Choice::OutputDropout];
        let idle = move |(option, value): (usize, usize)| {
            let layers = option == Choice::Layers as usize && value == 2;
            layers || value == 1 && dropouts.iter().any(|&dropout| dropout as usize == option)
        };
        let drawn = choices[draws] == 1;
        pairs(choices).filter(move |&[a, b]| drawn || a.0 == draws || b.0 == draws || !(idle(a) || idle(b)))
    }

    /// Every pair of options that goes together with some cell, directions and draws: an option that is off forbids none.
    fn allowed_pairs() -> BTreeSet<Pair> {
        let mut all = BTreeSet::new();
        let (cell, directions, draws) =
            (Choice::Cell as usize, Choice::Directions as usize, Choice::Draws as usize);
        for given in allowed_rows(&[VALUES[cell], VALUES[directions], VALUES[draws]], |_| true) {
            for [a, b] in pairs(&[0; VALUES.len()]) {
                for values in allowed_rows(&[VALUES[a.0], VALUES[b.0]], |_| true) {
                    let mut choices = [0; VALUES.len()];
                    (choices[cell], choices[directions], choices[draws]) = (given[0], given[1], given[2]);
                    (choices[a.0], choices[b.0]) = (values[0], values[1]);
                    if is_allowed(&choices) {
                        all.extend(tested(&choices));
                    }
                }
            }
        }
        all
    }

    #[test]
    fn sets_of_half_storage_and_of_layers_side_by_side_have_every_cell() {
        for (sets, storage) in [
            (KernelSet::of_half_storage(), Storage::Half),
            (KernelSet::of_layers_side_by_side(), Storage::F32),
        ] {
            let cells: BTreeSet<usize> = sets.iter().map(|set| set.fixed[0]).collect();
            assert_eq!(cells.len(), RECURRENCES.len() - 1, "all but the GRU that resets before");
            for (n, set) in sets.iter().enumerate() {
                assert!(set.cases(n, CASES).all(|pass| storage.check(&pass.case.spec).is_ok()));
            }
            println!("{} sets", sets.len());
        }
        let row_kinds: Vec<RowKind> = KernelSet::of_half_storage().iter().map(|set| set.row_kind).collect();
        assert!(ROW_KINDS.iter().all(|row_kind| row_kinds.contains(row_kind)));
        assert!(KernelSet::of_layers_side_by_side().iter().all(|set| set.noise != Noise::Draws));
    }

    #[test]
    fn no_case_of_the_array_is_dead() {
        for (n, set) in KernelSet::array().iter().enumerate() {
            for PassCase { case, .. } in set.cases(n, CASES) {
                let out = case.forward();
                let grads = case.backward(&out);
                let lives =
                    |values: &[f64]| values.iter().filter(|v| v.abs() > 1e-3).count() * 4 > values.len();
                assert!(lives(&out.h_n) && lives(&grads.dx), "{:?}", case.spec);
            }
        }
    }

    #[test]
    fn every_allowed_pair_of_options_is_in_the_cases_of_the_array() {
        let sets = KernelSet::array();
        let cases = sets.iter().enumerate().flat_map(|(n, set)| set.cases(n, CASES));
        let held: BTreeSet<Pair> = cases.flat_map(|case| tested(&case.choices).collect::<Vec<_>>()).collect();
        let all = allowed_pairs();
        let missing: Vec<_> = all.difference(&held).collect();
        println!("{} sets, {} pairs", sets.len(), all.len());
        assert!(missing.is_empty(), "{missing:?}");
        assert!(held.is_subset(&all));
        assert!(sets.len() * CASES >= 500);
    }
}
