//! Ragged and interrupted sequences.

use super::{close, combinations, random};
use rnn_api::backward;
use rnn_api::prelude::*;

const LENGTHS: [usize; 3] = [2, 5, 1];
const STEPS: usize = 5;

/// NaN in the padding of x and of the cotangent changes no bit of any output or gradient.
pub(crate) fn padding_is_invisible(device: &Device) {
    let lengths = Lengths::new(LENGTHS).unwrap();
    // On a GPU these are the kernels of the oracle's test.
    let resets =
        (!device.is_cpu()).then(|| Resets::new((0..STEPS * 3).map(|k| k % 5 == 3).collect::<Vec<_>>()));
    for (name, layer) in combinations(device) {
        layer.module().eval();
        let width = layer.spec().output_size();
        let values = |spoilt: bool| {
            let spoil = |seed: u64, features: usize| {
                let mut values = random(device, seed, &[STEPS, 3, features]).to_vec().unwrap();
                for (k, value) in values.iter_mut().enumerate() {
                    let (t, row) = (k / features / 3, k / features % 3);
                    if spoilt && t >= LENGTHS[row] {
                        *value = f32::NAN;
                    }
                }
                Tensor::from_vec(device, values, &[STEPS, 3, features]).unwrap()
            };
            let x = spoil(1, 4).requires_grad();
            let (h, c) = layer.some_state(device, 3);
            let (h, c) = (h.requires_grad(), c.map(Tensor::requires_grad));
            let out = layer.forward(&x, Some((&h, c.as_ref())), Some(&lengths), resets.as_ref());
            let mut all: Vec<Vec<f32>> = [&out.y, &out.h].map(|t| t.to_vec().unwrap()).into();
            let grads = backward(&[(out.y, spoil(2, width).into_array())]).unwrap();
            all.push(grads.get(&x).unwrap().to_vec().unwrap());
            all.push(grads.get(&h).unwrap().to_vec().unwrap());
            for (_, param) in layer.module().named_parameters() {
                all.push(grads.get(&param).unwrap().to_vec().unwrap());
            }
            all
        };
        let (clean, spoilt) = (values(false), values(true));
        assert_eq!(clean, spoilt, "{name}");
        assert!(clean.iter().flatten().all(|value| value.is_finite()), "{name}");
        let y = clean[0].chunks(width).enumerate().filter(|(n, _)| n / 3 >= LENGTHS[n % 3]);
        assert!(y.flat_map(|(_, row)| row).all(|&value| value == 0.0), "{name}: padded outputs are zero");
    }
}

/// The valid steps of each row of `[T, B, width]` in the opposite order.
fn turned(x: &Tensor) -> Tensor {
    let (values, width) = (x.to_vec().unwrap(), x.dims()[2]);
    let mut out = values.clone();
    for (row, &length) in LENGTHS.iter().enumerate() {
        for t in 0..length {
            let [from, to] = [t, length - 1 - t].map(|t| (t * LENGTHS.len() + row) * width);
            out[to..to + width].copy_from_slice(&values[from..from + width]);
        }
    }
    Tensor::from_vec(x.device(), out, x.dims()).unwrap()
}

/// Outputs, final states, pooling and gradients of ragged rows, with the same names of weights. PyTorch has no layer of
/// only the reverse direction; a program turns the rows by itself, and its state dicts load.
pub(crate) fn a_reverse_layer_is_a_forward_layer_on_turned_rows(device: &Device) {
    let config = LstmConfig::new(4, 10).with_num_layers(2);
    let forward = config.clone().init(device, 1).unwrap();
    let reverse = config.with_direction(Direction::Reverse).init(device, 2).unwrap();
    let names = |lstm: &Lstm| lstm.named_parameters().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&reverse), names(&forward));
    reverse.load_state_dict(&forward.state_dict()).unwrap();
    assert_eq!(reverse.spec().num_directions(), 1);
    let lengths = Lengths::new(LENGTHS).unwrap();
    let run = |lstm: &Lstm, turn: &dyn Fn(&Tensor) -> Tensor| {
        let of = |seed: u64, dims: &[usize]| random(device, seed, dims);
        let x = turn(&of(1, &[STEPS, 3, 4])).requires_grad();
        let (h, c) = (of(2, &[2, 3, 10]).requires_grad(), of(3, &[2, 3, 10]).requires_grad());
        let state = LstmState::new(h.clone(), c.clone(), 1);
        let args = ForwardArgs { state: Some(&state), lengths: Some(&lengths), ..ForwardArgs::default() };
        let out = lstm.forward_with(&x, args).unwrap();
        let last = out.last().unwrap();
        let cotangents = [(&out.y, 4), (&out.state.h, 5), (&out.state.c, 6), (&last, 7)];
        let cotangents = cotangents.map(|(tensor, seed)| {
            let cotangent = of(seed, tensor.dims());
            (tensor.clone(), if seed == 4 { turn(&cotangent) } else { cotangent }.into_array())
        });
        let grads = backward(&cotangents).unwrap();
        let mut all = vec![turn(&out.y), out.state.h, out.state.c, last, turn(&grads.get(&x).unwrap())];
        all.extend([&h, &c].map(|state| grads.get(state).unwrap()));
        all.extend(lstm.named_parameters().iter().map(|(_, param)| grads.get(param).unwrap()));
        all
    };
    for (n, (got, want)) in run(&reverse, &Tensor::clone).iter().zip(&run(&forward, &turned)).enumerate() {
        close(&n.to_string(), got, want);
    }
}

/// The steps from which a row's feature is pooled, with their shares.
type ByHand<'a> = Box<dyn Fn(usize, usize) -> Vec<(usize, f32)> + 'a>;

/// last, mean_pool and max_pool, and the gradients through them, against the same by hand.
pub(crate) fn pooling_sees_valid_steps_only(device: &Device) {
    let (half, width) = (4, 8);
    let lstm = LstmConfig::new(3, half).with_num_layers(2).with_bidirectional(true).init(device, 1).unwrap();
    let x = random(device, 1, &[STEPS, 3, 3]).requires_grad();
    let ragged = Lengths::new(LENGTHS).unwrap();
    let weights = random(device, 2, &[3, width]);
    let host_weights = weights.to_vec().unwrap();
    for lengths in [Some(&ragged), None] {
        let ends = if lengths.is_some() { LENGTHS } else { [STEPS; 3] };
        let run = || lstm.forward_with(&x, ForwardArgs { lengths, ..ForwardArgs::default() }).unwrap();
        let y = run().y.to_vec().unwrap();
        let at = |t: usize, row: usize, k: usize| (t * 3 + row) * width + k;
        let last: ByHand<'_> = Box::new(|row, k| vec![(if k < half { ends[row] - 1 } else { 0 }, 1.0)]);
        let mean: ByHand<'_> =
            Box::new(|row, _| (0..ends[row]).map(|t| (t, 1.0 / ends[row] as f32)).collect());
        let max: ByHand<'_> = Box::new(|row, k| {
            let of = |t: usize| y[at(t, row, k)];
            vec![((0..ends[row]).max_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap(), 1.0)]
        });
        for (name, by_hand) in [("last", last), ("mean_pool", mean), ("max_pool", max)] {
            let out = run();
            let pooled = match name {
                "last" => out.last(),
                "mean_pool" => out.mean_pool(),
                _ => out.max_pool(),
            }
            .unwrap();
            let (mut want, mut dy) = (vec![0.0; 3 * width], vec![0.0; y.len()]);
            for row in 0..3 {
                for k in 0..width {
                    for (t, share) in by_hand(row, k) {
                        want[row * width + k] += share * y[at(t, row, k)];
                        dy[at(t, row, k)] += share * host_weights[row * width + k];
                    }
                }
            }
            close(name, &pooled, &Tensor::from_vec(device, want, &[3, width]).unwrap());
            let got = pooled.backward_with(&weights).unwrap().get(&x).unwrap();
            let dy = Tensor::from_vec(device, dy, &[STEPS, 3, width]).unwrap();
            close(name, &got, &run().y.backward_with(&dy).unwrap().get(&x).unwrap());
        }
        let mask = run().valid_mask().unwrap();
        let valid = mask.map(|mask| mask.to_vec().unwrap().iter().sum::<f32>());
        assert_eq!(valid, lengths.map(|lengths| lengths.total() as f32));
    }
}

/// Two episodes in a row, with a reset between, are two rows: outputs, and gradients that do not cross.
pub(crate) fn resets_separate_episodes(device: &Device) {
    for (name, layer) in combinations(device) {
        layer.module().eval();
        let x = random(device, 3, &[6, 3, 4]).requires_grad();
        let resets = Resets::new((0..6 * 3).map(|k| k / 3 == 2).collect::<Vec<_>>());
        let joined = layer.forward(&x, None, None, Some(&resets));
        let parts = [0..2, 2..6].map(|range| layer.forward(&x.slice(0, range).unwrap(), None, None, None).y);
        close(name, &joined.y, &Tensor::concat(&[&parts[0], &parts[1]], 0).unwrap());
        // The second episode alone has a cotangent: nothing reaches the first.
        let late = joined.y.slice(0, 2..6).unwrap().sum_all().unwrap();
        let dx = late.backward().unwrap().get(&x).unwrap().to_vec().unwrap();
        assert!(dx[..24].iter().all(|&d| d == 0.0), "{name}: the gradient is cut");
        assert!(dx[24..].iter().any(|&d| d != 0.0), "{name}");
    }
}
