//! Going on after the loss of a device: snapshots on the host, restored on another device.

use crate::common::{DeviceTest, device_test, own_device};
use crate::folder::Folder;
use crate::reader::Reader;
use rnn_api::prelude::*;
use rnn_api::{Error, Result, io};

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(a_snapshot_restores_a_run_bit_for_bit),
        device_test!(a_snapshot_of_something_else_is_refused_and_changes_nothing),
        device_test!(a_run_goes_on_after_a_loss).gpu_only(),
        device_test!(the_host_keeps_what_it_has).gpu_only(),
    ]
}

const STEPS: u64 = 12;
const BETWEEN_SNAPSHOTS: u64 = 4;
/// Between two snapshots, so that steps are lost and repeated.
const LOST_AT: u64 = 10;

/// What a step was about to do when the device went away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Forward,
    Readback,
    Backward,
    Update,
    Snapshot,
}

struct Run {
    device: Device,
    model: Reader,
    adam: AdamW,
}

impl Run {
    fn new(device: &Device) -> Self {
        let model = Reader::new(device, 0.3);
        let config = AdamWConfig::new(0.02).with_no_decay(|name| name.contains("bias")).with_clip_norm(1.0);
        let adam = config.init(&model).unwrap();
        Run { device: device.clone(), model, adam }
    }

    /// A run on `device` that continues from `snapshot`.
    fn restored(device: &Device, snapshot: &Snapshot) -> Self {
        let mut run = Self::new(device);
        snapshot.restore(&run.model, &mut run.adam).unwrap();
        run
    }

    /// Trains to the end and returns the last loss. At step `LOST_AT` the device goes away at `lost`.
    fn train(&mut self, last: &mut Option<Snapshot>, lost: Option<Moment>) -> Result<f32> {
        let mut value = f32::NAN;
        while self.adam.steps() < STEPS {
            let step = self.adam.steps();
            let at = |moment: Moment| {
                if step == LOST_AT && lost == Some(moment) {
                    self.device.destroy();
                }
            };
            at(Moment::Snapshot);
            if step.is_multiple_of(BETWEEN_SNAPSHOTS) || lost == Some(Moment::Snapshot) {
                *last = Some(Snapshot::take(&self.model, &self.adam)?);
            }
            at(Moment::Forward);
            let loss = self.model.loss(&self.device, step)?;
            at(Moment::Readback);
            value = loss.item()?;
            at(Moment::Backward);
            let gradients = loss.backward()?;
            at(Moment::Update);
            self.adam.step(&gradients)?;
        }
        Ok(value)
    }
}

fn a_snapshot_restores_a_run_bit_for_bit(device: &Device) {
    let mut whole = Run::new(device);
    let mut last = None;
    let loss = whole.train(&mut last, None).unwrap();
    let snapshot = last.unwrap();
    assert_eq!(snapshot.steps(), 8);

    let mut again = Run::restored(&own_device(device), &snapshot);
    assert_eq!(again.train(&mut None, None).unwrap().to_bits(), loss.to_bits());
    assert_eq!(again.model.bits(), whole.model.bits());
    // Taken back on the same model, too, and as often as wanted: training has not touched it.
    snapshot.restore(&whole.model, &mut whole.adam).unwrap();
    assert_eq!(whole.train(&mut None, None).unwrap().to_bits(), loss.to_bits());
    assert_eq!(again.model.bits(), whole.model.bits());
}

fn a_snapshot_of_something_else_is_refused_and_changes_nothing(device: &Device) {
    let mut run = Run::new(device);
    let before = run.model.bits();
    let problems = |result: Result<()>| match result {
        Err(Error::StateDict { problems }) => problems,
        other => panic!("expected StateDict, got {other:?}"),
    };
    let other = LinearConfig::new(2, 3).init(device, 5).unwrap();
    let adam = AdamWConfig::new(0.1).init(&other).unwrap();
    let found = problems(Snapshot::take(&other, &adam).unwrap().restore(&run.model, &mut run.adam));
    assert!(found.iter().any(|p| p == "`weight` is unknown"), "{found:?}");
    assert!(found.iter().any(|p| p.starts_with("missing source of draws")), "{found:?}");

    let trained = Reader::new(device, 0.3);
    let mut sgd = SgdConfig::new(0.1).with_momentum(0.9).init(&trained).unwrap();
    sgd.step(&trained.loss(device, 0).unwrap().backward().unwrap()).unwrap();
    let found = problems(Snapshot::take(&trained, &sgd).unwrap().restore(&run.model, &mut run.adam));
    assert!(found.iter().any(|p| p.contains("SgdConfig") && p.contains("AdamWConfig")), "{found:?}");
    assert_eq!((run.model.bits(), run.adam.steps()), (before, 0));
    assert!(run.model.draw_positions().values().all(|&position| position == 0));
}

fn a_run_goes_on_after_a_loss(device: &Device) {
    let mut whole = Run::new(device);
    let loss = whole.train(&mut None, None).unwrap();
    for moment in [Moment::Forward, Moment::Readback, Moment::Backward, Moment::Update, Moment::Snapshot] {
        let mut last = None;
        let mut run = Run::new(&own_device(device));
        let error = run.train(&mut last, Some(moment)).unwrap_err();
        assert!(error.is_device_lost(), "{moment:?}: {error}");
        // Nothing of it can be saved any more, and every attempt says so.
        assert!(Snapshot::take(&run.model, &run.adam).unwrap_err().is_device_lost());
        assert!(run.model.to_device(&Device::cpu()).unwrap_err().is_device_lost());
        let snapshot = last.unwrap();
        assert_eq!(snapshot.steps(), if moment == Moment::Snapshot { LOST_AT - 1 } else { 8 });

        let mut again = Run::restored(&own_device(device), &snapshot);
        assert_eq!(again.train(&mut None, None).unwrap().to_bits(), loss.to_bits(), "{moment:?}");
        assert_eq!(again.model.bits(), whole.model.bits(), "{moment:?}");

        let mut on_cpu = Run::restored(&Device::cpu(), &snapshot);
        let cpu_loss = on_cpu.train(&mut None, None).unwrap();
        assert!((cpu_loss - loss).abs() <= CPU_TOLERANCE, "{moment:?}: {cpu_loss} and {loss}");
        for ((name, a), (_, b)) in on_cpu.model.values().iter().zip(whole.model.values()) {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                assert!((a - b).abs() <= CPU_TOLERANCE, "{moment:?}: {name}[{n}]: {a} and {b}");
            }
        }
    }
}

/// The four steps that are repeated are 0.02 long at most. Their directions differ by rounding, most where
/// a gradient is small, because AdamW divides by its size.
const CPU_TOLERANCE: f32 = 1e-4;

fn the_host_keeps_what_it_has(device: &Device) {
    let folder = Folder::empty(device, "recovery");
    let path = folder.0.join("model.safetensors");
    let device = own_device(device);
    let host = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0], &[2]).unwrap();
    let moved = host.to_device(&device).unwrap();
    let run = Run::new(&device);
    let values = run.model.values();
    io::save(&run.model, &path).unwrap();
    device.destroy();

    assert_eq!(host.scale(2.0).unwrap().to_vec().unwrap(), [2.0, 4.0]);
    let error = moved.to_vec().unwrap_err();
    assert!(error.is_device_lost(), "{error}");
    let lost = io::save(&run.model, &path).unwrap_err();
    assert!(lost.is_device_lost(), "{lost}");
    // The failed attempt has left the file of the first one.
    let loaded = Reader::new(&Device::cpu(), 0.3);
    io::load(&loaded, &path).unwrap();
    assert_eq!(loaded.values(), values);
}
