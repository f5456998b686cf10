//! Steps that accumulate items of unequal weight.

use crate::language::{SYMBOLS, streams};
use rnn_api::data::{BatchConfig, Batches, Chunk};
use rnn_api::prelude::*;
use rnn_api::train::{Event, Flow, TrainerConfig};
use rnn_api::{LossOptions, Result, module};
use rnn_testing::data::uniform;

const STEPS: usize = 7;
const LENGTHS: [usize; 6] = [7, 2, 1, 3, 6, 1];

struct Tagger {
    lstm: Lstm,
    head: Linear,
}
module!(Tagger { lstm, head });

impl Tagger {
    fn new(device: &Device) -> Self {
        Tagger {
            lstm: LstmConfig::new(3, 5).init(device, 1).unwrap(),
            head: LinearConfig::new(5, 2).init(device, 2).unwrap(),
        }
    }

    /// The mean over the valid steps of some rows.
    fn loss(&self, device: &Device, rows: &[usize]) -> Result<Tensor> {
        let of = |seed: usize, width: usize| -> Vec<f32> {
            let all: Vec<Vec<f32>> =
                rows.iter().map(|&row| uniform((seed + row) as u64, STEPS * width)).collect();
            let at = |t: usize, row: &Vec<f32>| row[t * width..(t + 1) * width].to_vec();
            (0..STEPS).flat_map(|t| all.iter().flat_map(move |row| at(t, row)).collect::<Vec<_>>()).collect()
        };
        let lengths: Vec<usize> = rows.iter().map(|&row| LENGTHS[row]).collect();
        let x = Tensor::from_vec(device, of(10, 3), &[STEPS, rows.len(), 3])?;
        let y = Tensor::from_vec(device, of(50, 2), &[STEPS, rows.len(), 2])?;
        let out = self.lstm.forward(&x, None)?;
        self.head.forward(&out.y)?.mse_over(&y, &LossOptions::new().with_lengths(&lengths))
    }

    fn values(&self) -> Vec<f32> {
        self.parameters().iter().flat_map(|param| param.value().to_vec().unwrap()).collect()
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Sums of at most forty products, each rounded to 6e-8 of values below 1, in another order.
const ROUNDING: f32 = 3e-6;

pub(crate) fn ragged_items_make_the_step_of_one_batch(device: &Device) {
    let step = |batch_size: usize, weighted: bool| {
        let model = Tagger::new(device);
        let sgd = SgdConfig::new(0.5).init(&model).unwrap();
        let config = TrainerConfig::new(1).with_accumulate((LENGTHS.len() / batch_size) as u64);
        let mut loss = 0.0;
        let mut trainer = config.init(&model, sgd).unwrap();
        trainer.on_event(|event: &Event<'_>| {
            if let Event::Step(step) = event {
                loss = step.loss;
            }
            Ok(Flow::Continue)
        });
        let batches = Batches::new(LENGTHS.len(), &BatchConfig::new(batch_size)).unwrap();
        let outcome = match weighted {
            true => trainer.fit_weighted(batches, |batch| {
                let steps: usize = batch.copy(&LENGTHS)?.iter().sum();
                Ok((model.loss(device, &batch.indices)?, steps as f32))
            }),
            false => trainer.fit(batches, |batch| model.loss(device, &batch.indices)),
        };
        assert_eq!(outcome.unwrap().steps, 1);
        drop(trainer);
        (model.values(), loss)
    };
    let (whole, loss) = step(LENGTHS.len(), true);
    for batch_size in [1, 2, 3] {
        let (parts, loss_of_parts) = step(batch_size, true);
        let difference = largest_difference(&whole, &parts);
        assert!(difference < ROUNDING, "{batch_size} rows at a time: {difference}");
        assert!((loss - loss_of_parts).abs() < ROUNDING, "{loss} {loss_of_parts}");
    }
    // What the weights are for.
    assert!(largest_difference(&whole, &step(1, false).0) > 1e-3);
}

pub(crate) fn a_short_last_chunk_weighs_less(device: &Device) {
    // Without a state, chunks are independent.
    struct Bigrams {
        embedding: Embedding,
    }
    module!(Bigrams { embedding });
    let step = |steps: usize, accumulate: u64| {
        let embedding = EmbeddingConfig::new(SYMBOLS, SYMBOLS).init(device, 1).unwrap();
        let model = Bigrams { embedding };
        let sgd = SgdConfig::new(0.5).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(1).with_accumulate(accumulate).init(&model, sgd).unwrap();
        let loss = |chunk: &Chunk<u32>, _: Option<&()>| {
            let logits = model.embedding.forward(&chunk.x.to_tensor(device)?)?;
            Ok((logits.cross_entropy(&chunk.y.to_tensor(device)?)?, ()))
        };
        let outcome = trainer.fit_streams(&mut streams(steps), loss).unwrap();
        assert_eq!(outcome.steps, 1);
        drop(trainer);
        model.parameters()[0].value().to_vec().unwrap()
    };
    let length = streams(1000).steps_per_epoch();
    assert_eq!(length % 4, 1, "the last chunk has one step");
    let difference = largest_difference(&step(1000, 1), &step(4, length.div_ceil(4) as u64));
    assert!(difference < ROUNDING, "{difference}");
}

pub(crate) fn a_weight_that_is_none_is_refused(device: &Device) {
    for weight in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let model = Tagger::new(device);
        let before = model.values();
        let sgd = SgdConfig::new(0.5).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(1).with_accumulate(2).init(&model, sgd).unwrap();
        let batches = Batches::new(LENGTHS.len(), &BatchConfig::new(1)).unwrap();
        let refused =
            trainer.fit_weighted(batches, |batch| Ok((model.loss(device, &batch.indices)?, weight)));
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("weight") && error.contains("finite and positive"), "{error}");
        drop(trainer);
        assert_eq!(model.values(), before);
    }
}
