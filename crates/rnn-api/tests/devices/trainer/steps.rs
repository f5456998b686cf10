//! What a step is.

use crate::language::{Language, streams};
use rnn_api::Result;
use rnn_api::data::{Batch, BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{Callback, Event, Flow, Score, TrainerConfig};
use rnn_testing::data::uniform;

/// Rows of a regression that a line cannot solve.
pub(crate) struct Rows {
    pub(crate) device: Device,
    values: Vec<f32>,
}

pub(crate) const ROWS: usize = 22;

impl Rows {
    pub(crate) fn new(device: &Device) -> Self {
        Rows { device: device.clone(), values: uniform(3, ROWS * 4) }
    }

    pub(crate) fn loss(&self, model: &Linear, rows: &[usize]) -> Result<Tensor> {
        let of = |row: usize| &self.values[row * 4..row * 4 + 4];
        let x: Vec<f32> = rows.iter().flat_map(|&row| of(row)[..3].to_vec()).collect();
        let y: Vec<f32> = rows.iter().map(|&row| of(row)[0] * of(row)[1] + 0.3 * of(row)[3]).collect();
        let x = Tensor::from_vec(&self.device, x, &[rows.len(), 3])?;
        model.forward(&x)?.mse(&Tensor::from_vec(&self.device, y, &[rows.len(), 1])?)
    }

    pub(crate) fn model(&self) -> Linear {
        LinearConfig::new(3, 1).init(&self.device, 5).unwrap()
    }
}

pub(crate) fn bits(model: &impl Module) -> Vec<Vec<u32>> {
    let bits = |array: rnn_api::Array| array.to_vec().unwrap().into_iter().map(f32::to_bits).collect();
    model.state_dict().into_values().map(bits).collect()
}

pub(crate) fn a_plain_loop_gives_the_same_bits(device: &Device) {
    let schedule = Schedule::cosine(0.02, 1e-4, 40).unwrap();
    let by_hand = Language::new(device, 0.25);
    let mut adam = AdamWConfig::new(1.0).with_clip_norm(0.5).init(&by_hand).unwrap();
    let mut losses = Vec::new();
    let mut text = streams(6);
    for _ in 0..2 {
        let mut state: Option<LstmState> = None;
        for chunk in text.by_ref() {
            schedule.apply(&mut adam);
            let (loss, next) = by_hand.loss(&chunk, state.as_ref()).unwrap();
            state = Some(next.detach());
            losses.push(loss.item().unwrap());
            adam.step(&loss.backward().unwrap()).unwrap();
        }
    }

    let model = Language::new(device, 0.25);
    let adam = AdamWConfig::new(1.0).with_clip_norm(0.5).init(&model).unwrap();
    let mut reported = Vec::new();
    let outcome = {
        let mut trainer = TrainerConfig::new(2).with_schedule(schedule.clone()).init(&model, adam).unwrap();
        trainer.on_event(|event: &Event<'_>| {
            if let Event::Step(step) = event {
                assert_eq!(step.lr, schedule.lr(step.step - 1));
                assert!(step.grad_norm > 0.0 && !step.skipped && step.update_ratio.is_none());
                reported.push((step.step, step.epoch, step.loss));
            }
            Ok(Flow::Continue)
        });
        trainer.fit_streams(&mut streams(6), |chunk, state| model.loss(chunk, state)).unwrap()
    };
    assert!(model.bits() == by_hand.bits());
    assert_eq!(outcome.steps as usize, losses.len());
    assert_eq!(outcome.epochs.len(), 2);
    let per_epoch = losses.len() as u64 / 2;
    for (k, (step, epoch, loss)) in reported.into_iter().enumerate() {
        assert_eq!((step, epoch, loss), (k as u64 + 1, k as u64 / per_epoch, losses[k]));
    }
    let mean =
        losses[..per_epoch as usize].iter().map(|&loss| f64::from(loss)).sum::<f64>() / per_epoch as f64;
    assert!((outcome.epochs[0].loss - mean).abs() < 1e-12);
}

pub(crate) fn accumulated_items_are_one_step(device: &Device) {
    let rows = Rows::new(device);
    // 22 rows: by 4 five whole batches and a half one; three and three of them make a step.
    let train = |batch_size: usize, accumulate: u64| {
        let model = rows.model();
        let sgd = SgdConfig::new(0.1).init(&model).unwrap();
        let config = TrainerConfig::new(3).with_accumulate(accumulate);
        let mut trainer = config.init(&model, sgd).unwrap();
        let batches = Batches::new(ROWS, &BatchConfig::new(batch_size)).unwrap();
        let outcome = trainer.fit(batches, |batch| rows.loss(&model, &batch.indices)).unwrap();
        drop(trainer);
        (outcome, model)
    };
    let (outcome, model) = train(4, 3);
    assert_eq!(outcome.steps, 6);
    let by_hand = rows.model();
    let mut sgd = SgdConfig::new(0.1).init(&by_hand).unwrap();
    for _ in 0..3 {
        for part in [&[0..4, 4..8, 8..12], &[12..16, 16..20, 20..22]] {
            let losses: Vec<Tensor> =
                part.iter().map(|r| rows.loss(&by_hand, &r.clone().collect::<Vec<_>>()).unwrap()).collect();
            let rows: Vec<f32> = part.iter().map(|rows| rows.len() as f32).collect();
            let sum = losses.iter().zip(&rows).map(|(loss, &rows)| loss.scale(rows).unwrap());
            let sum = sum.reduce(|a, b| a.add(&b).unwrap()).unwrap();
            let mean = sum.scale(1.0 / rows.iter().sum::<f32>()).unwrap();
            sgd.step(&mean.backward().unwrap()).unwrap();
        }
    }
    for (a, b) in model.parameters().iter().zip(by_hand.parameters()) {
        for (a, b) in a.value().to_vec().unwrap().iter().zip(b.value().to_vec().unwrap()) {
            // Six steps add up the same terms in another order.
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
    // Five items do not make two steps of three: the last two are a step of their own.
    assert_eq!(train(5, 3).0.steps, 6);
    assert_eq!(train(5, 1).0.steps, 15);
}

/// The gradient of a step by definition: one pass over the steps before the chunk and over it, with the loss on the
/// chunk alone.
fn truncated(model: &Language, device: &Device, backward: usize, forward: usize) {
    let one_row = |from: usize, to: usize| -> (Tensor, Tensor) {
        let all: Vec<_> = streams(1000).next().into_iter().collect();
        let (x, y, batch) = (all[0].x.values(), all[0].y.values(), all[0].x.dims()[1]);
        let part =
            |v: &[u32]| Tensor::from_indices(device, &v[from * batch..to * batch], &[to - from, batch]);
        (part(x).unwrap(), part(y).unwrap())
    };
    let length = streams(1000).next().unwrap().x.dims()[0];
    let mut sgd = SgdConfig::new(0.5).init(model).unwrap();
    let step = |x: &Tensor, state: Option<&LstmState>| {
        model.lstm.forward(&model.embedding.forward(x).unwrap(), state).unwrap()
    };
    // Carried states by their time, from the last pass over that time.
    let mut kept: Vec<(usize, LstmState)> = Vec::new();
    let mut end = 0;
    while end < length {
        let start = end;
        end = (end + forward).min(length);
        // Steps without a gradient, context, steps with a loss.
        let (from, loss_from) = if backward >= forward {
            ((start + forward).saturating_sub(backward), start)
        } else {
            (start, start.max(end.saturating_sub(backward)))
        };
        let state = kept.iter().rfind(|(time, _)| *time == from).map(|(_, state)| state.clone());
        let mut state = if from == 0 { None } else { Some(state.unwrap()) };
        let mut time = from;
        let mut loss = None;
        // In the same pieces, so that the state between them can be kept.
        while time < end {
            let next =
                if backward < forward && time < loss_from { loss_from } else { (time + forward).min(end) };
            let (x, y) = one_row(time, next);
            let out = step(&x, state.as_ref());
            let with_loss = time >= loss_from;
            if with_loss {
                loss = Some(model.head.forward(&out.y).unwrap().cross_entropy(&y).unwrap());
            }
            let cut = backward < forward && !with_loss;
            state = Some(if cut { out.state.detach() } else { out.state });
            if time == from || backward < forward {
                kept.push((next, state.clone().unwrap().detach()));
            }
            time = next;
        }
        sgd.step(&loss.unwrap().backward().unwrap()).unwrap();
        kept.retain(|(time, _)| *time + backward.max(forward) > end);
    }
}

pub(crate) fn gradients_flow_back_as_far_as_they_are_told(device: &Device) {
    let mut all = Vec::new();
    for backward in [2, 4, 8, 12] {
        let by_hand = Language::new(device, 0.0);
        truncated(&by_hand, device, backward, 4);
        let model = Language::new(device, 0.0);
        let sgd = SgdConfig::new(0.5).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(1).with_backward_steps(backward).init(&model, sgd).unwrap();
        trainer.fit_streams(&mut streams(4), |chunk, state| model.loss(chunk, state)).unwrap();
        assert!(model.bits() == by_hand.bits(), "backward over {backward} steps");
        all.push(model.bits());
    }
    for (k, one) in all.iter().enumerate() {
        assert!(all[k + 1..].iter().all(|other| one != other), "each length is another gradient");
    }
    let model = Language::new(device, 0.0);
    let sgd = SgdConfig::new(0.5).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(1).with_backward_steps(6).init(&model, sgd).unwrap();
    let refused = trainer.fit_streams(&mut streams(4), |chunk, state| model.loss(chunk, state));
    assert!(refused.unwrap_err().to_string().contains("backward_steps must be less than the 4 steps"));
    // A multiple of 5 and of 1; memory for that many chunks was asked for at once.
    for forward in [1, 5] {
        let sgd = SgdConfig::new(0.5).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(1).with_backward_steps(usize::MAX).init(&model, sgd).unwrap();
        let refused = trainer.fit_streams(&mut streams(forward), |chunk, state| model.loss(chunk, state));
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("backward_steps must be at most 1048576 chunks"), "{error}");
    }
}

pub(crate) fn averages_are_validated_and_kept(device: &Device) {
    use rnn_api::optim::EmaConfig;
    let rows = Rows::new(device);
    let all: Vec<usize> = (0..ROWS).collect();
    let by_hand = rows.model();
    let mut sgd = SgdConfig::new(0.2).init(&by_hand).unwrap();
    let mut ema = EmaConfig::new(0.8).init(&by_hand).unwrap();
    let mut scores = Vec::new();
    for _ in 0..4 {
        for part in all.chunks(8) {
            sgd.step(&rows.loss(&by_hand, part).unwrap().backward().unwrap()).unwrap();
            ema.update().unwrap();
        }
        scores.push(ema.averaged(|| rows.loss(&by_hand, &all)?.item()).unwrap());
    }

    let model = rows.model();
    let sgd = SgdConfig::new(0.2).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(4).with_ema(EmaConfig::new(0.8)).init(&model, sgd).unwrap();
    trainer.validate(|| Ok(Score::min("mse", rows.loss(&model, &all)?.item()?.into())));
    let batches = Batches::new(ROWS, &BatchConfig::new(8)).unwrap();
    let outcome = trainer.fit(batches, |batch: &Batch| rows.loss(&model, &batch.indices)).unwrap();
    let seen: Vec<f32> =
        outcome.epochs.iter().map(|epoch| epoch.score.as_ref().unwrap().value as f32).collect();
    assert_eq!(seen, scores);
    let best = scores.iter().copied().fold(f32::MAX, f32::min);
    assert_eq!(rows.loss(&model, &all).unwrap().item().unwrap(), best);
    trainer.restore_last().unwrap();
    assert_eq!(bits(&model), bits(&by_hand));

    // Without a validation the averages are what a run ends with.
    let model = rows.model();
    let sgd = SgdConfig::new(0.2).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(4).with_ema(EmaConfig::new(0.8)).init(&model, sgd).unwrap();
    let batches = Batches::new(ROWS, &BatchConfig::new(8)).unwrap();
    trainer.fit(batches, |batch: &Batch| rows.loss(&model, &batch.indices)).unwrap();
    assert_eq!(rows.loss(&model, &all).unwrap().item().unwrap(), scores[3]);
}

struct WithRatios<'a>(&'a mut Vec<(f64, f64)>);

impl Callback for WithRatios<'_> {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        if let Event::Step(step) = event {
            self.0.push((step.update_ratio.unwrap(), step.update_ratios["weight"]));
            assert_eq!(step.update_ratios.len(), 2);
        }
        Ok(Flow::Continue)
    }

    fn wants_update_ratios(&self) -> bool {
        true
    }
}

pub(crate) fn update_ratios_are_those_of_the_step(device: &Device) {
    let rows = Rows::new(device);
    let model = rows.model();
    let values = || -> Vec<f64> {
        model.state_dict()["weight"].to_vec().unwrap().into_iter().map(f64::from).collect()
    };
    let before = values();
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let mut seen = Vec::new();
    let mut trainer = TrainerConfig::new(1).init(&model, sgd).unwrap();
    trainer.on_event(WithRatios(&mut seen));
    let batches = Batches::new(ROWS, &BatchConfig::new(ROWS)).unwrap();
    trainer.fit(batches, |batch: &Batch| rows.loss(&model, &batch.indices)).unwrap();
    drop(trainer);
    let change: f64 = values().iter().zip(&before).map(|(a, b)| (a - b) * (a - b)).sum();
    let norm: f64 = before.iter().map(|b| b * b).sum();
    let (whole, weight) = seen[0];
    assert!((weight - (change / norm).sqrt()).abs() < 1e-5 * weight, "f32 sums of three squares");
    assert!(whole > 0.0 && whole != weight);
}
