//! Properties that hold with all options.

use rnn_kernels::cell::{Direction, Merge, StackSpec};
use rnn_testing::data::SplitMix64;
use rnn_testing::oracle::{Forward, Masks, StackCase, StackInput, forward, random_masks, random_spec};
use rnn_testing::shapes::RnnShape;

/// The columns of rows `rows` in every block of `b` rows of `width` values.
fn pick(values: &[f64], b: usize, width: usize, rows: &[usize]) -> Vec<f64> {
    let block = |block: &[f64]| -> Vec<f64> {
        rows.iter().flat_map(|&row| block[row * width..][..width].to_vec()).collect()
    };
    values.chunks(b * width).flat_map(block).collect()
}

/// The masks of some rows of a case.
fn masks_of_rows(spec: &StackSpec, masks: &Masks, b: usize, rows: &[usize]) -> Masks {
    let (h, p, out) = (spec.hidden_size, spec.state_size(), spec.output_size());
    let each = |masks: &Option<Vec<Vec<f64>>>, width: usize| -> Option<Vec<Vec<f64>>> {
        masks.as_ref().map(|masks| masks.iter().map(|mask| pick(mask, b, width, rows)).collect())
    };
    let of_layer = |(layer, mask): (usize, &Vec<f64>)| pick(mask, b, spec.layer_input_size(layer), rows);
    Masks {
        between: each(&masks.between, out),
        input: masks.input.as_ref().map(|masks| masks.iter().enumerate().map(of_layer).collect()),
        output: masks.output.as_ref().map(|mask| pick(mask, b, out, rows)),
        recurrent: each(&masks.recurrent, p),
        candidate: each(&masks.candidate, h),
        zoneout_h: each(&masks.zoneout_h, p),
        zoneout_c: each(&masks.zoneout_c, h),
    }
}

/// The masks of the steps `from..to` of a case in one direction.
fn masks_of_steps(spec: &StackSpec, masks: &Masks, b: usize, [from, to]: [usize; 2]) -> Masks {
    let (h, p, out) = (spec.hidden_size, spec.state_size(), spec.output_size());
    let each = |masks: &Option<Vec<Vec<f64>>>, width: usize| -> Option<Vec<Vec<f64>>> {
        let steps = |mask: &Vec<f64>| mask[from * b * width..to * b * width].to_vec();
        masks.as_ref().map(|masks| masks.iter().map(steps).collect())
    };
    Masks {
        between: each(&masks.between, out),
        candidate: each(&masks.candidate, h),
        zoneout_h: each(&masks.zoneout_h, p),
        zoneout_c: each(&masks.zoneout_c, h),
        ..masks.clone()
    }
}

/// A case with resets, and with noise when n is even.
fn noisy_case(spec: StackSpec, shape: RnnShape, n: u64, rng: &mut SplitMix64) -> StackCase {
    let mut case = StackCase::random(spec, shape, true, n);
    case.input.resets = Some((0..shape.t * shape.b).map(|_| rng.next_below(4) == 0).collect());
    if n.is_multiple_of(2) {
        case.input.masks = random_masks(&spec, shape.t, shape.b, rng);
    }
    case
}

/// Rows run in another number and order are the same rows, with their own lengths, resets and noise.
#[test]
fn rows_are_independent() {
    let mut rng = SplitMix64::new(9);
    let shape = RnnShape { t: 5, b: 4, i: 2, h: 4 };
    for n in 0..60 {
        let spec = random_spec(&mut rng, shape);
        let mut case = noisy_case(spec, shape, n, &mut rng);
        case.input.lengths = Some(vec![5, 2, 4, 1]);
        let whole = case.forward();
        let rows = [3, 0, 2];
        let of = |values: &Vec<f64>, width: usize| pick(values, shape.b, width, &rows);
        let StackInput { x, h0, c0, lengths, resets, masks, .. } = &case.input;
        let some = StackInput {
            t: shape.t,
            b: rows.len(),
            x: of(x, shape.i),
            h0: h0.as_ref().map(|h0| of(h0, spec.state_size())),
            c0: c0.as_ref().map(|c0| of(c0, shape.h)),
            lengths: lengths.as_ref().map(|lengths| rows.map(|row| lengths[row]).to_vec()),
            resets: resets
                .as_ref()
                .map(|resets| resets.chunks(shape.b).flat_map(|step| rows.map(|row| step[row])).collect()),
            masks: masks_of_rows(&spec, masks, shape.b, &rows),
        };
        let some = forward(&spec, &case.weights, &some);
        assert_eq!(some.y, of(&whole.y, spec.output_size()), "{n}: {spec:?}");
        assert_eq!(some.h_n, of(&whole.h_n, spec.state_size()), "{n}: {spec:?}");
        assert_eq!(some.c_n, whole.c_n.map(|c_n| of(&c_n, shape.h)), "{n}: {spec:?}");
    }
}

/// Two parts with carried state are the whole, resets and noise included, wherever the cut is.
#[test]
fn a_split_sequence_is_the_whole() {
    let mut rng = SplitMix64::new(10);
    let shape = RnnShape { t: 5, b: 3, i: 2, h: 4 };
    for n in 0..60 {
        let spec = random_spec(&mut rng, shape);
        let spec = StackSpec { direction: Direction::Forward, merge: Merge::Concat, ..spec };
        let case = noisy_case(spec, shape, n, &mut rng);
        let whole = case.forward();
        let part = |[from, to]: [usize; 2], h0: Option<Vec<f64>>, c0: Option<Vec<f64>>| -> Forward {
            let StackInput { x, resets, masks, .. } = &case.input;
            let steps = from * shape.b..to * shape.b;
            let input = StackInput {
                t: to - from,
                b: shape.b,
                x: x[steps.start * shape.i..steps.end * shape.i].to_vec(),
                h0,
                c0,
                lengths: None,
                resets: resets.as_ref().map(|resets| resets[steps].to_vec()),
                masks: masks_of_steps(&spec, masks, shape.b, [from, to]),
            };
            forward(&spec, &case.weights, &input)
        };
        let cut = 1 + n as usize % (shape.t - 1);
        let first = part([0, cut], case.input.h0.clone(), case.input.c0.clone());
        let second = part([cut, shape.t], Some(first.h_n), first.c_n);
        assert_eq!(whole.y, [first.y, second.y].concat(), "{n}: {spec:?}");
        assert_eq!((whole.h_n, whole.c_n), (second.h_n, second.c_n), "{n}: {spec:?}");
    }
}

/// A reset before t = 0 clears what the forward direction starts from, and lies behind the reverse one's end.
#[test]
fn a_reset_before_the_first_step_concerns_the_forward_direction() {
    let mut rng = SplitMix64::new(11);
    let shape = RnnShape { t: 3, b: 2, i: 2, h: 4 };
    for n in 0..20 {
        let spec = random_spec(&mut rng, shape);
        let spec =
            StackSpec { num_layers: 1, direction: Direction::Bidirectional, merge: Merge::Concat, ..spec };
        let case = StackCase::random(spec, shape, true, n);
        let with_state = case.forward();
        let mut reset = case.clone();
        reset.input.resets = Some((0..shape.t * shape.b).map(|k| k < shape.b).collect());
        let cleared = reset.forward();
        let without_state = StackInput { h0: None, c0: None, ..case.input.clone() };
        let without_state = forward(&spec, &case.weights, &without_state);
        let width = spec.state_size();
        let half = |out: &Forward, d: usize| pick(&out.y, 2, width, &[d]);
        assert_eq!(half(&cleared, 0), half(&without_state, 0), "{n}: {spec:?}");
        assert_eq!(half(&cleared, 1), half(&with_state, 1), "{n}: {spec:?}");
        let grads = reset.backward(&cleared);
        assert!(grads.dh0[..shape.b * width].iter().all(|&d| d == 0.0), "{n}: {spec:?}");
    }
}

/// The valid steps of each row of `[T, B, width]` in the opposite order; the padding stays.
fn turned(values: &[f64], lengths: &[usize], width: usize) -> Vec<f64> {
    let mut out = values.to_vec();
    for (b, &length) in lengths.iter().enumerate() {
        for t in 0..length {
            let [from, to] = [t, length - 1 - t].map(|t| (t * lengths.len() + b) * width);
            out[to..to + width].copy_from_slice(&values[from..from + width]);
        }
    }
    out
}

/// A stack that runs backwards in time is one that runs forward over turned rows, states and noise included.
#[test]
fn a_reverse_stack_is_a_forward_stack_on_turned_rows() {
    let mut rng = SplitMix64::new(12);
    let shape = RnnShape { t: 5, b: 4, i: 3, h: 4 };
    for n in 0..60 {
        let spec = random_spec(&mut rng, shape);
        let spec = StackSpec { direction: Direction::Reverse, merge: Merge::Concat, ..spec };
        let mut reverse = StackCase::random(spec, shape, true, n);
        let lengths = if n % 3 == 0 { vec![shape.t; shape.b] } else { vec![5, 2, 4, 1] };
        reverse.input.lengths = Some(lengths.clone());
        if n % 2 == 0 {
            reverse.input.masks = random_masks(&spec, shape.t, shape.b, &mut rng);
        }
        let mut forward = reverse.clone();
        forward.spec.direction = Direction::Forward;
        let turn = |values: &[f64], width: usize| turned(values, &lengths, width);
        forward.input.x = turn(&reverse.input.x, shape.i);
        forward.dy = turn(&reverse.dy, spec.output_size());
        // Masks between layers stand at the time of what they drop, those within the recurrence at its step.
        for mask in forward.input.masks.between.iter_mut().flatten() {
            *mask = turn(mask, spec.output_size());
        }
        let (got, want) = (reverse.forward(), forward.forward());
        assert_eq!(got.y, turn(&want.y, spec.output_size()), "{n}: {spec:?}");
        assert_eq!((&got.h_n, &got.c_n), (&want.h_n, &want.c_n), "{n}: {spec:?}");
        let (got, want) = (reverse.backward(&got), forward.backward(&want));
        assert_eq!(got.dx, turn(&want.dx, shape.i), "{n}: {spec:?}");
        assert_eq!((got.dh0, got.dc0, got.weights), (want.dh0, want.dc0, want.weights), "{n}: {spec:?}");
    }
}

/// What stands in the padding changes nothing, and nothing flows into it.
#[test]
fn padding_is_invisible() {
    let mut rng = SplitMix64::new(7);
    for n in 0..60 {
        let shape = RnnShape { t: 5, b: 3, i: 2, h: 4 };
        let spec = random_spec(&mut rng, shape);
        let mut case = StackCase::random(spec, shape, true, n);
        let lengths = vec![3, 5, 1];
        case.input.lengths = Some(lengths.clone());
        let out = case.forward();
        let grads = case.backward(&out);
        let mut other = case.clone();
        let padding = |k: usize, width: usize| {
            let row = k / width;
            row / shape.b >= lengths[row % shape.b]
        };
        for k in 0..other.input.x.len() {
            if padding(k, shape.i) {
                other.input.x[k] = 1e6;
                assert_eq!(grads.dx[k], 0.0, "{n}: {spec:?}");
            }
        }
        for k in 0..other.dy.len() {
            if padding(k, spec.output_size()) {
                other.dy[k] = -1e6;
                assert_eq!(out.y[k], 0.0, "{n}: {spec:?}");
            }
        }
        let other_out = other.forward();
        assert_eq!((&out.y, &out.h_n, &out.c_n), (&other_out.y, &other_out.h_n, &other_out.c_n), "{spec:?}");
        assert_eq!(grads, other.backward(&other_out), "{spec:?}");
        // Each row alone, without padding, is the same.
        for (b, &length) in lengths.iter().enumerate() {
            let pick = |states: &Vec<f64>, width: usize| -> Vec<f64> {
                states.chunks(width).skip(b).step_by(shape.b).flatten().copied().collect()
            };
            let alone = StackInput {
                t: length,
                b: 1,
                x: pick(&case.input.x, shape.i)[..length * shape.i].to_vec(),
                h0: case.input.h0.as_ref().map(|h0| pick(h0, spec.state_size())),
                c0: case.input.c0.as_ref().map(|c0| pick(c0, shape.h)),
                ..StackInput::default()
            };
            let alone = forward(&spec, &case.weights, &alone);
            assert_eq!(alone.h_n, pick(&out.h_n, spec.state_size()), "{n}, row {b}: {spec:?}");
            assert_eq!(alone.y, pick(&out.y, spec.output_size())[..alone.y.len()], "{n}, row {b}: {spec:?}");
        }
    }
}

/// A reset is a border between sequences: either side alone is the same.
#[test]
fn a_reset_separates_sequences() {
    let mut rng = SplitMix64::new(8);
    for n in 0..40 {
        let shape = RnnShape { t: 4, b: 2, i: 2, h: 4 };
        let spec = random_spec(&mut rng, shape);
        let mut case = StackCase::random(StackSpec { num_layers: 1, ..spec }, shape, false, n);
        case.input.resets =
            Some([false, false, true].iter().flat_map(|&r| [r; 2]).chain([false; 2]).collect());
        let whole = case.forward().y;
        let half = shape.b * shape.i * 2;
        let part = |x: &[f64]| {
            forward(
                &case.spec,
                &case.weights,
                &StackInput { t: 2, b: 2, x: x.to_vec(), ..StackInput::default() },
            )
            .y
        };
        let parts = [part(&case.input.x[..half]), part(&case.input.x[half..])].concat();
        assert_eq!(whole, parts, "{n}: {spec:?}");
    }
}
