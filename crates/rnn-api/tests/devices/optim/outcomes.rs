//! Steps whose outcome the host learns later: what a refused step leaves, which call says so, and who waits.

use super::{Cell, Reader, own_device};
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::optim::Optimizer;
use rnn_api::prelude::*;
use rnn_api::train::TrainerConfig;
use rnn_api::{CacheDir, Error, GpuOptions, Result};
use rnn_runtime::Fault;

/// A step with gradients of these sizes.
fn step(cell: &Cell, optimizer: &mut dyn Optimizer, sizes: [f32; 3]) -> Result<()> {
    optimizer.step(&cell.gradients(sizes))
}

/// Bits of the parameters, and counts and running means.
fn state(cell: &Cell, optimizer: &dyn Optimizer) -> impl PartialEq + std::fmt::Debug + use<> {
    let state = optimizer.state_dict();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
    let arrays = state.arrays.values().map(|array| bits(array.to_vec().unwrap())).collect::<Vec<_>>();
    (cell.values().map(bits), arrays, state.steps, state.parameter_steps, state.momentum_products)
}

fn optimizers(cell: &Cell, strict: bool) -> [Box<dyn Optimizer>; 3] {
    let mut sgd = SgdConfig::new(0.1).with_momentum(0.5);
    let mut adam = AdamConfig::new(0.1).with_clip_norm(1.0);
    let mut nadam = NadamConfig::new(0.1).with_clip_tensor_norm(2.0);
    (sgd.strict, adam.strict, nadam.strict) = (strict, strict, strict);
    let (sgd, adam, nadam) = (sgd.init(cell).unwrap(), adam.init(cell).unwrap(), nadam.init(cell).unwrap());
    [Box::new(sgd), Box::new(adam), Box::new(nadam)]
}

const GOOD: [[f32; 3]; 3] = [[1.0, 2.0, -1.0], [0.5, -1.0, 3.0], [2.0, 0.25, 1.0]];
const BAD: [f32; 3] = [1.0, f32::NAN, 1.0];

/// The state is that before the refused step, whenever its outcome arrives, and training goes on from there.
pub(crate) fn a_nan_in_mid_run_leaves_the_state_before_it(device: &Device) {
    for n in 0..3 {
        let (cell, wanted) = (Cell::new(device), Cell::new(device));
        let mut late = optimizers(&cell, false).into_iter().nth(n).unwrap();
        let mut strict = optimizers(&wanted, true).into_iter().nth(n).unwrap();
        for sizes in GOOD {
            step(&cell, &mut *late, sizes).unwrap();
            step(&wanted, &mut *strict, sizes).unwrap();
        }
        // Two good steps behind the bad one: they are computed and change nothing.
        let calls = [BAD, GOOD[0], GOOD[1]].map(|sizes| step(&cell, &mut *late, sizes));
        let mut errors: Vec<Error> = calls.into_iter().filter_map(Result::err).collect();
        errors.extend(late.settle().err());
        match &errors[..] {
            [Error::NonFinite { step: 4, parameters }] => assert_eq!(*parameters, ["weight_hh_l0"], "{n}"),
            other => panic!("{n}: {other:?}"),
        }
        match step(&wanted, &mut *strict, BAD) {
            Err(Error::NonFinite { step: 4, .. }) => {}
            other => panic!("{n}: {other:?}"),
        }
        // On the CPU the error comes from the bad step itself. A call that returns the error on a GPU takes no step, and
        // those after it are steps like others.
        let behind = late.steps() as usize - 3;
        assert!(behind <= if device.is_cpu() { 2 } else { 1 }, "{n}: {behind}");
        for sizes in &GOOD[2 - behind..2] {
            step(&wanted, &mut *strict, *sizes).unwrap();
        }
        assert_eq!(state(&cell, &*late), state(&wanted, &*strict), "{n}");
        for sizes in GOOD {
            step(&cell, &mut *late, sizes).unwrap();
            step(&wanted, &mut *strict, sizes).unwrap();
        }
        assert_eq!(state(&cell, &*late), state(&wanted, &*strict), "{n}, later");
    }
}

/// Nobody asks after the last step but the state and the file.
pub(crate) fn a_nan_in_the_last_step_is_not_saved(device: &Device) {
    let cell = Cell::new(device);
    let mut adam = AdamConfig::new(0.1).init(&cell).unwrap();
    step(&cell, &mut adam, GOOD[0]).unwrap();
    let before = state(&cell, &adam);
    let at_once = step(&cell, &mut adam, BAD);
    assert_eq!(state(&cell, &adam), before);
    if device.is_cpu() {
        assert!(matches!(at_once, Err(Error::NonFinite { step: 2, .. })), "{at_once:?}");
    } else {
        let saved = adam.save(&std::env::temp_dir().join("never-written.safetensors"));
        assert!(matches!(saved, Err(Error::NonFinite { step: 2, .. })), "{saved:?}");
        let settled = adam.settle();
        assert!(matches!(settled, Err(Error::NonFinite { step: 2, .. })), "{settled:?}");
    }
    assert_eq!(adam.steps(), 1);
    adam.settle().unwrap();
    step(&cell, &mut adam, GOOD[0]).unwrap();
    adam.settle().unwrap();
    assert_eq!(adam.steps(), 2);
}

/// Wherever in the step the memory ends: every further round has room for one or two more small arrays.
pub(crate) fn a_step_without_memory_changes_nothing(_: &Device) {
    static FAULT: Fault = Fault::none();
    let options = GpuOptions { fault: Some(&FAULT), cache_dir: CacheDir::Off, ..GpuOptions::default() };
    let device = Device::gpu_with((), options).unwrap();
    let cells = [Cell::new(&device), Cell::new(&device)];
    let mut optimizers = cells.each_ref().map(|cell| AdamConfig::new(0.1).init(cell).unwrap());
    for (cell, adam) in cells.iter().zip(&mut optimizers) {
        (0..2).for_each(|_| step(cell, adam, GOOD[0]).unwrap());
    }
    let ([cell, wanted], [mut adam, mut always]) = (cells, optimizers);
    let gradients = cell.gradients(GOOD[1]);
    let before = state(&cell, &adam);
    for room in 0.. {
        // Handles of the state, so that the step needs memory for all of it.
        let shared = adam.state_dict();
        FAULT.set_memory(0);
        let mut taken = Vec::new();
        while let Ok(array) = Tensor::zeros(&device, &[4]) {
            taken.push(array);
        }
        FAULT.set_memory(device.stats().bytes_held as u64 + 512 * room);
        let result = adam.step(&gradients);
        FAULT.set_memory(u64::MAX);
        drop((taken, shared));
        match result {
            Ok(()) => {
                assert!(room > 4, "nine arrays of parameters and state, and those of the norm: {room}");
                break;
            }
            Err(error) => assert!(error.to_string().contains("out of memory"), "{error}"),
        }
        assert!(state(&cell, &adam) == before, "{room}");
    }
    step(&wanted, &mut always, GOOD[1]).unwrap();
    assert_eq!(state(&cell, &adam), state(&wanted, &always));
}

pub(crate) fn a_steady_step_waits_for_nothing(device: &Device) {
    let device = &own_device(device);
    let cell = Cell::new(device);
    let waits = |strict: bool| {
        let mut adam = AdamConfig::new(0.1).with_clip_norm(1.0);
        adam.strict = strict;
        let mut adam = adam.init(&cell).unwrap();
        (0..2).for_each(|_| step(&cell, &mut adam, GOOD[0]).unwrap());
        adam.settle().unwrap();
        let before = device.waits();
        (0..10).for_each(|_| step(&cell, &mut adam, GOOD[1]).unwrap());
        let steps = device.waits() - before;
        adam.settle().unwrap();
        assert!(device.waits() - before <= steps + 1);
        // A program that never looks is held up now and then, so that work does not pile up.
        (0..40).for_each(|_| step(&cell, &mut adam, GOOD[2]).unwrap());
        adam.settle().unwrap();
        assert_eq!(adam.steps(), 52);
        steps
    };
    assert_eq!([waits(false), waits(true)], [0, 10]);
}

/// As in a browser, where no thread may wait: a program that reads its losses with async calls trains.
pub(crate) fn training_with_async_reads_never_waits(device: &Device) {
    let device = &own_device(device);
    let model = Reader::new(device, 0.2);
    let mut adam = AdamConfig::new(0.02).with_clip_norm(1.0).init(&model).unwrap();
    // The first use of a cell on a device tests it, which in a browser has happened when the device was opened.
    model.loss(device, 0).unwrap().item().unwrap();
    let before = device.waits();
    let mut losses = Vec::new();
    for step in 0..30 {
        let loss = model.loss(device, step).unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
        losses.push(pollster::block_on(loss.to_vec_async()).unwrap()[0]);
    }
    assert_eq!(device.waits(), before);
    assert!(losses[29] < losses[0], "{losses:?}");
}

/// A prepared step learns its outcome from a wait for something else, and refuses at once.
pub(crate) fn a_prepared_step_refuses_at_once(device: &Device) {
    let device = &own_device(device);
    let cell = Cell::new(device);
    let mut adam = AdamConfig::new(0.1).init(&cell).unwrap();
    for (sizes, good) in [(GOOD[0], true), (BAD, false), (GOOD[1], true)] {
        let gradients = cell.gradients(sizes);
        adam.prepare(&gradients).unwrap();
        device.synchronize().unwrap();
        let result = adam.step(&gradients);
        assert_eq!(result.is_ok(), good, "{result:?}");
        // Other gradients than those prepared have an outcome of their own.
        adam.prepare(&gradients).unwrap();
        adam.step(&cell.gradients(GOOD[2])).unwrap();
        adam.settle().unwrap();
    }
    assert_eq!(adam.steps(), 5);
}

/// The trainer waits for the loss, and for nothing else; its doctor also for the updates of steps 1, 2, 4, 8 and so on.
pub(crate) fn a_trainer_waits_once_a_step(device: &Device) {
    let device = &own_device(device);
    let cell = Cell::new(device);
    let waits = |items: usize| {
        let sgd = SgdConfig::new(0.01).init(&cell).unwrap();
        let mut trainer = TrainerConfig::new(1).with_doctor(false).init(&cell, sgd).unwrap();
        let batches = Batches::new(items, &BatchConfig::new(1)).unwrap();
        let before = device.waits();
        trainer.fit(batches, |_| cell.weight_ih_l0.value().scale(0.5)?.sum_all()).unwrap();
        device.waits() - before
    };
    let (few, many) = (waits(3), waits(13));
    assert_eq!(many - few, 10 * usize::from(few > 0), "{few} {many}");
}
