//! Properties that hold with all options: a sequence may be cut, and padding has no effect.

use crate::pass::{OnDevice, array};
use rnn_kernels::cell::{Direction, StackSpec};
use rnn_runtime::ops::rnn::{StackArgs, StackCotangents, StackDraws, Wanted, backward, forward};
use rnn_runtime::{Array, Device, RngKey};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::SplitMix64;
use rnn_testing::oracle::{KernelSet, PassCase, StackCase, add_lengths, random_spec};
use rnn_testing::shapes::RnnShape;

/// Random cases on the CPU; on a GPU one of every set that `wanted` names, whose kernels other tests compile, too. All
/// are such as `fits` lets pass; half or so draw.
fn cases(
    device: &Device,
    seed: u64,
    wanted: impl Fn(&KernelSet) -> bool,
    fits: impl Fn(&StackSpec) -> bool,
) -> Vec<(StackCase, Option<StackDraws>)> {
    let mut rng = SplitMix64::new(seed);
    let draws = |n: usize| StackDraws { key: RngKey::new(n as u64), first_step: 9, sequence: 2 };
    if device.is_cpu() {
        let shape = RnnShape { t: 6, b: 4, i: 3, h: 8 };
        let specs = std::iter::repeat_with(|| random_spec(&mut rng, shape)).filter(fits);
        let cases = specs.take(80).enumerate().map(|(n, spec)| {
            (StackCase::random(spec, shape, true, n as u64), (n % 2 == 0).then(|| draws(n)))
        });
        return cases.collect();
    }
    let sets = KernelSet::array().into_iter().filter(wanted).enumerate();
    let cases = sets.map(|(n, set)| {
        let mut cases = std::iter::repeat_with(|| set.case(&mut rng));
        let PassCase { case, draws: drawn, .. } =
            cases.find(|pass| pass.shape.t > CUT && fits(&pass.case.spec)).expect("the iterator has no end");
        (case, drawn.then(|| draws(n)))
    });
    cases.collect()
}

/// Steps of the first part.
const CUT: usize = 2;

/// Two parts with carried state, where there is noise with noise that is numbered on, give the values of the whole.
pub(crate) fn a_split_sequence_is_the_whole(device: &Device) {
    let few_rows = |set: &KernelSet| set.is_whole() && set.rows() <= 4;
    let cases = cases(device, 511, few_rows, |spec| spec.direction == Direction::Forward);
    for (n, (case, draws)) in cases.into_iter().enumerate() {
        let (spec, t, b) = (case.spec, case.input.t, case.input.b);
        let on_device = OnDevice::new(device, &case);
        let whole = forward(&on_device.args(&spec, draws, false)).unwrap();
        let part = |start: usize, end: usize| {
            let width = b * spec.input_size;
            array(device, &case.input.x[start * width..end * width], &[end - start, b, spec.input_size])
        };
        let (first_x, second_x) = (part(0, CUT), part(CUT, t));
        let first = forward(&StackArgs { x: &first_x, ..on_device.args(&spec, draws, false) }).unwrap();
        let later = draws.map(|draws| StackDraws { first_step: draws.first_step + CUT as u32, ..draws });
        let second = forward(&StackArgs {
            x: &second_x,
            h0: Some(&first.h_n),
            c0: first.c_n.as_ref(),
            ..on_device.args(&spec, later, false)
        })
        .unwrap();
        let host = |array: &Array| array.to_vec().unwrap();
        let parts = [host(&first.y), host(&second.y)].concat();
        let error = max_rel_err(&parts, &host(&whole.y).iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        assert!(error <= 1e-6, "{n}: {error:.1e}: {spec:?}");
        assert_eq!(host(&second.h_n).len(), host(&whole.h_n).len());
    }
}

/// NaN in the padding changes no bit.
pub(crate) fn padding_is_invisible(device: &Device) {
    let cases = cases(device, 512, KernelSet::is_ragged, |_| true);
    for (n, (mut case, draws)) in cases.into_iter().enumerate() {
        if case.input.lengths.is_none() {
            add_lengths(&mut case, &mut SplitMix64::new(n as u64));
        }
        let spec = case.spec;
        let clean = outputs_and_gradients(device, &case, draws);
        let (b, lengths) = (case.input.b, case.input.lengths.clone().unwrap());
        let spoil = |values: &mut Vec<f64>, width: usize| {
            for (k, value) in values.iter_mut().enumerate() {
                if (k / width) / b >= lengths[(k / width) % b] {
                    *value = f64::NAN;
                }
            }
        };
        spoil(&mut case.input.x, spec.input_size);
        spoil(&mut case.dy, spec.output_size());
        assert_eq!(clean, outputs_and_gradients(device, &case, draws), "{n}: {spec:?}");
        assert!(clean.iter().flatten().all(|v| v.is_finite()), "{n}: {spec:?}");
    }
}

fn outputs_and_gradients(device: &Device, case: &StackCase, draws: Option<StackDraws>) -> Vec<Vec<f32>> {
    let spec = &case.spec;
    let on_device = OnDevice::new(device, case);
    let out = forward(&on_device.args(spec, draws, true)).unwrap();
    let dy = array(device, &case.dy, &[case.input.t, case.input.b, spec.output_size()]);
    let y = out.y.to_vec().unwrap();
    let cotangents = StackCotangents { dy: Some(&dy), ..Default::default() };
    let wanted = Wanted { dx: true, states: true };
    let grads = backward(spec, &on_device.packed, out.saved.unwrap(), &cotangents, wanted).unwrap();
    let of_weights = grads.weights.iter().flat_map(|w| w.all().map(|(_, a)| a.to_vec().unwrap()));
    [y, grads.dx.unwrap().to_vec().unwrap()].into_iter().chain(of_weights.collect::<Vec<_>>()).collect()
}
