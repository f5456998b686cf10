//! Values that are not finite.

use super::steps::{ROWS, Rows, bits};
use crate::folder::Folder;
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{
    Checkpoint, CheckpointConfig, Every, NonFinite, Origin, Outcome, StopReason, Symptom, TrainerConfig,
};
use rnn_api::{Result, module};
use rnn_testing::data::uniform;

const T: usize = 9;
const B: usize = 3;

struct Model {
    first: Lstm,
    second: Rnn,
}
module!(Model { first, second });

impl Model {
    fn new(device: &Device) -> Self {
        let first = LstmConfig::new(2, 4).with_num_layers(2).with_bidirectional(true).with_dropout(0.3);
        let second = RnnConfig::new(8, 5).with_activation(Activation::Relu);
        Model { first: first.init(device, 1).unwrap(), second: second.init(device, 2).unwrap() }
    }

    fn loss(&self, x: &[f32]) -> Result<Tensor> {
        let device = self.parameters()[0].device();
        let y = self.first.forward(&Tensor::from_slice(&device, x, &[T, B, 2])?, None)?.y;
        self.second.forward(&y, None)?.y.mean_all()
    }
}

/// One good step, then a bad one.
fn train(model: &impl Module, mut loss: impl FnMut(bool) -> Result<Tensor>) -> Outcome {
    let sgd = SgdConfig::new(1e-3).init(model).unwrap();
    let mut trainer = TrainerConfig::new(1).init(model, sgd).unwrap();
    let batches = Batches::new(2, &BatchConfig::new(1)).unwrap();
    trainer.fit(batches, |batch| loss(batch.indices[0] == 0)).unwrap()
}

fn origin(outcome: &Outcome) -> (&Symptom, &Origin) {
    assert_eq!(outcome.steps, 1);
    match &outcome.reason {
        StopReason::NonFinite(found) => {
            assert_eq!(found.step, 2);
            (&found.symptom, found.origin.as_ref().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_loss_is_traced_to_where_it_began(device: &Device) {
    // An input.
    let model = Model::new(device);
    let good = uniform(4, T * B * 2);
    let mut bad = good.clone();
    bad[(5 * B + 2) * 2 + 1] = f32::INFINITY;
    bad[(7 * B) * 2] = f32::NAN;
    let outcome = train(&model, |first| model.loss(if first { &good } else { &bad }));
    let (symptom, found) = origin(&outcome);
    assert!(matches!(symptom, Symptom::Loss { .. } | Symptom::Gradients { .. }), "{symptom:?}");
    let wanted = Origin::Input { layer: "first".into(), step: 5, row: 2, feature: 1 };
    assert_eq!(*found, wanted, "{}", outcome.reason);
    assert!(outcome.reason.to_string().contains("input of `first` at step 5, row 2, feature 1"));

    // A parameter.
    let model = Model::new(device);
    let (_, param) =
        model.named_parameters().into_iter().find(|(n, _)| n == "first.weight_hh_l1_reverse").unwrap();
    let outcome = train(&model, |first| {
        if !first {
            let mut values = param.value().to_vec()?;
            values[7] = f32::NAN;
            param.set(&Tensor::from_vec(device, values, param.dims())?)?;
        }
        model.loss(&good)
    });
    assert_eq!(*origin(&outcome).1, Origin::Parameter { name: "first.weight_hh_l1_reverse".into() });

    // A state that grows tenfold a step: 1e33 at the start, 1e38 five steps later, then too large.
    for (direction, step, reverse) in [(Direction::Forward, 5, false), (Direction::Reverse, T - 1 - 5, true)]
    {
        let config = RnnConfig::new(2, 5).with_activation(Activation::Identity).with_direction(direction);
        let model = config.init(device, 2).unwrap();
        let set = |name: &str, values: Vec<f32>| {
            let (_, param) = model.named_parameters().into_iter().find(|(n, _)| n == name).unwrap();
            param.set(&Tensor::from_vec(device, values, param.dims()).unwrap()).unwrap();
        };
        let outcome = train(&model, |first| {
            if !first {
                let mut diagonal = vec![0.0; 25];
                diagonal[3 * 5 + 3] = 10.0;
                set("weight_hh_l0", diagonal);
            }
            let mut h = vec![0.5; B * 5];
            h[5 + 3] = if first { 1.0 } else { 1e33 };
            let state = RnnState::new(Tensor::from_vec(device, h, &[1, B, 5])?, 1);
            let x = Tensor::from_slice(device, &good, &[T, B, 2])?;
            model.forward(&x, Some(&state))?.y.mean_all()
        });
        let (layer, gate) = ("model".into(), "h".into());
        let wanted = Origin::Unit { layer, stack_layer: 0, reverse, step, row: 1, gate, unit: 3 };
        assert_eq!(*origin(&outcome).1, wanted);
    }
}

/// A step whose loss and gradients are finite and whose weights are not must not replace good checkpoints.
pub(crate) fn weights_that_overflow_are_not_saved(device: &Device) {
    let folder = Folder::new(device, "trainer-overflow");
    let rows = Rows::new(device);
    let checkpoints = CheckpointConfig::new(&folder.0).with_every(Every::Steps(1)).with_resume(true);
    let run = |schedule: Schedule, checkpoints: CheckpointConfig| {
        let model = rows.model();
        let sgd = SgdConfig::new(0.1).init(&model).unwrap();
        let config = TrainerConfig::new(4).with_schedule(schedule).with_checkpoints(checkpoints);
        let mut trainer = config.init(&model, sgd).unwrap();
        let batches = Batches::new(ROWS, &BatchConfig::new(ROWS)).unwrap();
        trainer.fit(batches, |batch| rows.loss(&model, &batch.indices)?.scale(100.0)).unwrap()
    };
    // Two steps at 1e-9, the third at 1e38.
    let outcome = run(Schedule::step(1e-9, 2, 1e47).unwrap(), checkpoints.clone());
    match outcome.reason {
        StopReason::NonFinite(NonFinite { step: 3, symptom: Symptom::State { names }, .. }) => {
            assert!(names.contains(&"weight".to_string()), "{names:?}");
        }
        reason => panic!("{reason}"),
    }
    assert_eq!(Checkpoint::last(&folder.0).unwrap().step(), 2);
    let outcome = run(Schedule::constant(1e-3).unwrap(), checkpoints.with_allow_changes(true));
    assert_eq!((outcome.reason, outcome.steps), (StopReason::Completed, 4));
}

pub(crate) fn a_gradient_is_traced_to_a_step_and_gates(device: &Device) {
    // An LSTM whose output is small but whose recurrent weights make the gradient grow by 2e19 a step.
    let rnn = RnnConfig::new(2, 3).with_activation(Activation::Identity).init(device, 2).unwrap();
    let mut before = Vec::new();
    let outcome = train(&rnn, |first| {
        let params = rnn.named_parameters();
        for (name, param) in &params {
            let value = match name.as_str() {
                "weight_hh_l0" if !first => 1e19,
                "weight_ih_l0" => 0.5,
                _ => 0.0,
            };
            param.set(&Tensor::full(device, param.dims(), value)?)?;
        }
        before = bits(&rnn);
        // With zero inputs every state is zero, so it is finite with any weights.
        let x = Tensor::zeros(device, &[T, B, 2])?;
        let last = rnn.forward(&x, None)?.y.select(0, T - 2)?;
        last.sum_all()
    });
    let (symptom, found) = origin(&outcome);
    assert!(matches!(symptom, Symptom::Gradients { .. }), "{symptom:?}");
    // At T - 2 the gradient of h is 1, at T - 3 it is 3e19, at T - 4 it is infinite.
    let Origin::Gradient { layer, step, gates } = found else { panic!("{found:?}") };
    assert_eq!((layer.as_str(), *step), ("model", T - 4));
    assert!(gates.iter().all(|gate| gate.starts_with("weight_hh_l0")), "{gates:?}");
    assert!(outcome.reason.to_string().contains("not finite from step 5 back"), "{}", outcome.reason);
    assert_eq!(bits(&rnn), before, "the step was not taken");
}
