//! Dropout and zoneout inside the recurrence, as a layer draws them.

use super::{close, random};
use rnn_api::prelude::*;

/// Fed in chunks, a sequence in training has the noise of the whole: the state carries the number under which the
/// masks of a sequence are drawn. Another state starts another sequence.
pub(crate) fn masks_of_a_sequence_continue_with_the_state(device: &Device) {
    let config = LstmConfig::new(4, 8)
        .with_num_layers(2)
        .with_dropout(0.2)
        .with_recurrent_dropout(0.4)
        .with_input_dropout(0.3)
        .with_output_dropout(0.25)
        .with_candidate_dropout(0.2)
        .with_zoneout(0.1, 0.3);
    let make = || config.init(device, 7).unwrap();
    let x = random(device, 1, &[6, 3, 4]).requires_grad();
    let weights = random(device, 2, &[6, 3, 8]);
    let whole = make().forward(&x, None).unwrap();
    let gradient = whole.y.backward_with(&weights).unwrap().get(&x).unwrap();

    let chunked = make();
    let a = chunked.forward(&x.slice(0, 0..2).unwrap(), None).unwrap();
    let b = chunked.forward(&x.slice(0, 2..6).unwrap(), Some(&a.state)).unwrap();
    let y = Tensor::concat(&[&a.y, &b.y], 0).unwrap();
    close("y", &y, &whole.y);
    close("h", &b.state.h, &whole.state.h);
    close("c", &b.state.c, &whole.state.c);
    close("dx", &y.backward_with(&weights).unwrap().get(&x).unwrap(), &gradient);

    // Detached it is the same sequence; the same values as a new state are not.
    let other = |fresh: bool| {
        let layer = make();
        let a = layer.forward(&x.slice(0, 0..2).unwrap(), None).unwrap();
        let state =
            if fresh { LstmState::new(a.state.h, a.state.c, 1) } else { RecurrentState::detach(&a.state) };
        layer.forward(&x.slice(0, 2..6).unwrap(), Some(&state)).unwrap().y
    };
    close("detached", &other(false), &b.y);
    assert_ne!(other(true).to_vec().unwrap(), b.y.to_vec().unwrap(), "a new sequence, new masks");

    // Variational masks: with nothing else, what is dropped at one step is dropped at all.
    let dropped = LstmConfig::new(4, 8).with_output_dropout(0.5).init(device, 3).unwrap();
    let y = dropped.forward(&x, None).unwrap().y.to_vec().unwrap();
    let zero = |t: usize| y[t * 24..][..24].iter().map(|&y| y == 0.0).collect::<Vec<_>>();
    assert!((1..6).all(|t| zero(t) == zero(0)) && zero(0).contains(&true) && zero(0).contains(&false));
    dropped.eval();
    let plain = LstmConfig::new(4, 8).init(device, 3).unwrap();
    close("evaluation", &dropped.forward(&x, None).unwrap().y, &plain.forward(&x, None).unwrap().y);
}

/// In training a zoned unit keeps its value; in evaluation it mixes by the rate.
pub(crate) fn zoneout_mixes_in_inference(device: &Device) {
    let rate = 0.3;
    let gru = GruConfig::new(4, 8).with_zoneout(rate).init(device, 5).unwrap();
    let plain = GruConfig::new(4, 8).init(device, 5).unwrap();
    let x = random(device, 3, &[1, 50, 4]);
    let h = random(device, 4, &[1, 50, 8]);
    let state = HiddenState::new(h.clone(), 1);
    let fresh = plain.forward(&x, Some(&state)).unwrap().y;
    let drawn = gru.forward(&x, Some(&state)).unwrap().y.to_vec().unwrap();
    let (old, new) = (h.to_vec().unwrap(), fresh.to_vec().unwrap());
    let same = |a: f32, b: f32| (a - b).abs() < 1e-6;
    let kept = drawn.iter().zip(&old).filter(|(y, h)| same(**y, **h)).count();
    // Four standard deviations of 400 draws.
    assert!((83..=157).contains(&kept), "{kept} of 400 kept");
    assert!((0..400).all(|k| same(drawn[k], old[k]) || same(drawn[k], new[k])));
    gru.eval();
    let mixed = h.scale(rate).unwrap().add(&fresh.scale(1.0 - rate).unwrap()).unwrap();
    close("evaluation", &gru.forward(&x, Some(&state)).unwrap().y, &mixed.reshape(&[1, 50, 8]).unwrap());
}

/// DropConnect: a pass is that of a layer whose U has zeros and larger other entries, and so is its gradient.
pub(crate) fn dropped_weights_get_no_gradient(device: &Device) {
    let rate = 0.4;
    let layer = LstmConfig::new(4, 8).with_weight_dropout(rate).init(device, 6).unwrap();
    let x = random(device, 5, &[5, 3, 4]);
    let weights = random(device, 6, &[5, 3, 8]);
    let u =
        |lstm: &Lstm| lstm.named_parameters().into_iter().find(|(name, _)| name == "weight_hh_l0").unwrap().1;
    let y = layer.forward(&x, None).unwrap().y;
    let gradient = y.backward_with(&weights).unwrap().get(&u(&layer)).unwrap();
    let mask: Vec<f32> =
        gradient.to_vec().unwrap().iter().map(|&d| if d == 0.0 { 0.0 } else { 1.0 / (1.0 - rate) }).collect();
    let zeros = mask.iter().filter(|&&m| m == 0.0).count();
    // Four standard deviations of 256 draws.
    assert!((71..=134).contains(&zeros), "{zeros} of 256 dropped");
    let mask = Tensor::from_vec(device, mask, &[32, 8]).unwrap();
    let plain = LstmConfig::new(4, 8).init(device, 6).unwrap();
    u(&plain).set(&u(&layer).value().mul(&mask).unwrap().detach()).unwrap();
    let want = plain.forward(&x, None).unwrap().y;
    close("y", &y, &want);
    let through = want.backward_with(&weights).unwrap().get(&u(&plain)).unwrap();
    close("dU", &gradient, &through.mul(&mask).unwrap());
    assert_ne!(layer.forward(&x, None).unwrap().y.to_vec().unwrap(), y.to_vec().unwrap(), "a mask per pass");
    layer.eval();
    let plain = LstmConfig::new(4, 8).init(device, 6).unwrap();
    close("evaluation", &layer.forward(&x, None).unwrap().y, &plain.forward(&x, None).unwrap().y);
}
