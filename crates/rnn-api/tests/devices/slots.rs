//! Streams in slots against streams of their own, on every device.

mod kept;
mod not_finite;

use crate::common::{DeviceTest, device_test};
use rnn_api::prelude::*;
use rnn_api::{BatcherConfig, Error, SlotId, Slots};
use rnn_testing::data::{indices, uniform};

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(mixed_batches_go_on_like_streams_of_their_own),
        device_test!(states_of_every_form_are_kept),
        device_test!(forks_resets_and_loads_are_streams_of_their_own),
        device_test!(kept::states_of_other_models_are_refused_by_name),
        device_test!(kept::states_with_other_numbers_are_refused),
        device_test!(kept::states_of_other_cells_are_refused),
        device_test!(kept::states_of_the_first_version_are_read),
        device_test!(not_finite::a_stream_that_is_not_finite_changes_no_bit_of_the_others),
        device_test!(not_finite::a_stream_of_one_layer_is_reset),
        device_test!(wrong_ids_and_states_are_refused_and_change_nothing),
        device_test!(a_batcher_s_streams_are_streams_of_their_own),
    ]
}

type Model = (Lstm, Gru);
type State = (LstmState, GruState);

fn model(device: &Device) -> Model {
    let lstm = LstmConfig::new(2, 5).with_num_layers(2).init(device, 1).unwrap();
    (lstm, GruConfig::new(5, 3).init(device, 2).unwrap())
}

fn slots(device: &Device, model: &Model) -> Slots<State> {
    Slots::new(device, (model.0.zero_state(1).unwrap(), model.1.zero_state(1).unwrap()))
}

/// One step of rows `[B, 2]`.
fn step(model: &Model, x: &[f32], state: &State) -> (Vec<f32>, State) {
    let device = state.0.h.device();
    let x = Tensor::from_slice(device, x, &[1, x.len() / 2, 2]).unwrap();
    let (a, b) = no_grad(|| {
        let a = model.0.forward(&x, Some(&state.0)).unwrap();
        let b = model.1.forward(&a.y, Some(&state.1)).unwrap();
        (a, b)
    });
    (b.y.to_vec().unwrap(), (a.state, b.state))
}

/// Steps some streams together.
fn together(model: &Model, slots: &mut Slots<State>, ids: &[SlotId], x: &[f32]) -> Vec<f32> {
    let (y, state) = step(model, x, &slots.gather(ids).unwrap());
    slots.scatter(ids, &state).unwrap();
    y
}

/// The CPU gives the same bits; a GPU may sum in another order.
fn same(device: &Device, got: &[f32], want: &[f32], what: &str) {
    let close = |(got, want): (&f32, &f32)| match device.is_cpu() {
        true => got.to_bits() == want.to_bits(),
        false => (got - want).abs() < 2e-6,
    };
    assert!(got.len() == want.len() && got.iter().zip(want).all(close), "{what}: {got:?} {want:?}");
}

/// Streams that open at different times, in batches of different members and orders.
fn mixed_batches_go_on_like_streams_of_their_own(device: &Device) {
    let model = model(device);
    let mut slots = slots(device, &model);
    let mut streams: Vec<(SlotId, State)> = Vec::new();
    for round in 0..12 {
        if round % 2 == 0 {
            let start = (model.0.zero_state(1).unwrap(), model.1.zero_state(1).unwrap());
            streams.push((slots.open().unwrap(), start));
        }
        if round == 7 {
            slots.close(streams.remove(1).0).unwrap();
        }
        let (mut members, mut ids) = (indices(round, 5, streams.len()), Vec::new());
        members.sort_unstable();
        members.dedup();
        members.reverse();
        ids.extend(members.iter().map(|&member| streams[member].0));
        let x = uniform(100 + round, 2 * ids.len());
        let y = together(&model, &mut slots, &ids, &x);
        for (n, &member) in members.iter().enumerate() {
            let (want, state) = step(&model, &x[2 * n..][..2], &streams[member].1);
            same(device, &y[3 * n..][..3], &want, &format!("round {round}, stream {member}"));
            streams[member].1 = state;
        }
    }
    assert_eq!(slots.len(), streams.len());
    assert_eq!(slots.bytes_per_stream(), 4 * (2 * 2 * 5 + 3));
}

fn states_of_every_form_are_kept(device: &Device) {
    let layers: Vec<Gru> = (0..3).map(|n| GruConfig::new(2, 4).init(device, n).unwrap()).collect();
    let list: Vec<GruState> = layers.iter().map(|layer| layer.zero_state(1).unwrap()).collect();
    let mut slots = Slots::new(device, list);
    let ids = [slots.open().unwrap(), slots.open().unwrap()];
    let mut state = slots.gather(&ids).unwrap();
    let values = uniform(1, 3 * 8);
    for (own, values) in state.iter_mut().zip(values.chunks(8)) {
        own.h = Tensor::from_slice(device, values, &[1, 2, 4]).unwrap();
    }
    slots.scatter(&ids, &state).unwrap();
    let back = slots.gather(&[ids[1], ids[0], ids[1]]).unwrap();
    for (own, values) in back.iter().zip(values.chunks(8)) {
        assert_eq!(own.h.to_vec().unwrap(), [&values[4..], values].concat());
    }
    let mut none = Slots::new(device, ());
    let id = none.open().unwrap();
    none.scatter(&[id], &none.gather(&[id]).unwrap()).unwrap();
}

fn forks_resets_and_loads_are_streams_of_their_own(device: &Device) {
    let model = model(device);
    let mut slots = slots(device, &model);
    let a = slots.open().unwrap();
    together(&model, &mut slots, &[a], &[0.5, -0.5]);
    let bytes = slots.save(a).unwrap();
    let b = slots.fork(a).unwrap();
    let first = together(&model, &mut slots, &[a], &[1.0, 1.0]);
    same(device, &together(&model, &mut slots, &[b], &[1.0, 1.0]), &first, "fork");
    // Another device, and another process.
    let cpu = Device::cpu();
    let other = (
        LstmConfig::new(2, 5).with_num_layers(2).init(&cpu, 1).unwrap(),
        GruConfig::new(5, 3).init(&cpu, 2).unwrap(),
    );
    let mut there = self::slots(&cpu, &other);
    let c = there.load(&bytes).unwrap();
    let got = together(&other, &mut there, &[c], &[1.0, 1.0]);
    assert!(got.iter().zip(&first).all(|(got, want)| (got - want).abs() < 2e-6), "{got:?} {first:?}");
    slots.reset(a).unwrap();
    let fresh = slots.open().unwrap();
    let y = together(&model, &mut slots, &[a, fresh], &[0.5, -0.5, 0.5, -0.5]);
    same(device, &y[..3], &y[3..], "reset");
    for length in [0, 8, bytes.len() - 1] {
        assert!(matches!(slots.load(&bytes[..length]), Err(Error::StateDict { .. })), "{length}");
    }
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 4;
    assert!(slots.load(&damaged).unwrap_err().to_string().contains("the content has changed"));
    let gru = GruConfig::new(2, 4).init(device, 1).unwrap();
    let mut others = Slots::new(device, gru.zero_state(1).unwrap());
    assert!(others.load(&bytes).unwrap_err().to_string().contains("`h`"));
    assert!(others.is_empty());
}

fn wrong_ids_and_states_are_refused_and_change_nothing(device: &Device) {
    let model = model(device);
    let mut slots = slots(device, &model).with_limit(2);
    let [a, b] = [(); 2].map(|()| slots.open().unwrap());
    together(&model, &mut slots, &[a, b], &[0.5, -0.5, 0.25, 1.0]);
    let state = slots.gather(&[a, b]).unwrap();
    let values = |slots: &Slots<State>| slots.gather(&[a]).unwrap().0.c.to_vec().unwrap();
    let before = values(&slots);
    let refused = |result: Result<(), Error>, part: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    };
    refused(slots.open().map(drop), "at most 2 streams");
    refused(slots.fork(a).map(drop), "at most 2 streams");
    refused(slots.scatter(&[a, a], &state), "every id once");
    refused(slots.scatter(&[a], &state), "[L, B, H]");
    refused(slots.scatter(&[], &state), "at least one");
    refused(slots.gather(&[]).map(drop), "at least one");
    let mut others = self::slots(device, &model);
    let foreign = others.open().unwrap();
    refused(slots.scatter(&[a, foreign], &state), "a stream of these slots");
    refused(slots.close(foreign), "a stream of these slots");
    slots.close(b).unwrap();
    refused(slots.close(b), "an open stream");
    let c = slots.open().unwrap();
    refused(slots.scatter(&[a, b], &state), "an open stream");
    refused(slots.save(b).map(drop), "an open stream");
    assert!(slots.is_open(c) && !slots.is_open(b) && slots.len() == 2);
    assert_eq!(values(&slots), before);
    let wide = model.0.zero_state(2).unwrap();
    refused(Slots::new(device, wide).open().map(drop), "a state of one row");
}

/// A worker for this device; several streams wait, so that they share batches.
fn a_batcher_s_streams_are_streams_of_their_own(device: &Device) {
    const STREAMS: usize = 5;
    let model = model(device);
    let start = |_: &Device| {
        let model = (model.0.clone(), model.1.clone());
        let initial = (model.0.zero_state(1)?, model.1.zero_state(1)?);
        let rows = move |x: &[[f32; 2]], state: &State| {
            let (y, state) = step(&model, x.as_flattened(), state);
            Ok((y.chunks_exact(3).map(<[f32]>::to_vec).collect::<Vec<_>>(), state))
        };
        Ok((initial, rows))
    };
    let batcher = BatcherConfig::new().with_devices(vec![device.clone()]).start(start).unwrap();
    let ids = [0; STREAMS].map(|_| batcher.open().unwrap().wait().unwrap());
    let mut states = [0; STREAMS].map(|_| (model.0.zero_state(1).unwrap(), model.1.zero_state(1).unwrap()));
    for round in 0..6 {
        let x = uniform(round, 2 * STREAMS);
        let rows = x.chunks_exact(2).map(|row| [row[0], row[1]]);
        let tickets: Vec<_> = ids.iter().zip(rows).map(|(&id, x)| batcher.submit(id, x).unwrap()).collect();
        for (n, ticket) in tickets.into_iter().enumerate() {
            let (want, state) = step(&model, &x[2 * n..][..2], &states[n]);
            same(device, &ticket.wait().unwrap(), &want, &format!("round {round}, stream {n}"));
            states[n] = state;
        }
    }
}
