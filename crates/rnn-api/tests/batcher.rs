//! Streams of a [`Batcher`] against streams of their own; limits, failures and the end.

use rnn_api::prelude::*;
use rnn_api::{Batcher, BatcherConfig, Error, Result, StreamId, Ticket};
use rnn_testing::data::{indices, uniform};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[path = "batcher/ends.rs"]
mod ends;
#[path = "batcher/foreign.rs"]
mod foreign;
#[path = "batcher/limits.rs"]
mod limits;
#[path = "batcher/states.rs"]
mod states;

const IN: usize = 3;
const UNITS: usize = 37;
type Row = [f32; IN];

fn layer() -> Lstm {
    let lstm = LstmConfig::new(IN, UNITS).with_num_layers(2).init(&Device::cpu(), 1).unwrap();
    lstm.eval();
    lstm
}

/// Holds up the workers of a batcher, so that steps gather.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn set(&self, closed: bool) {
        *self.0.0.lock().unwrap() = closed;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |closed| *closed).unwrap());
    }
}

/// A batcher of a layer: a row in, h of the upper layer out.
fn batcher(config: &BatcherConfig, lstm: &Lstm, gate: &Gate) -> Batcher<Row, Vec<f32>> {
    let start = |device: &Device| {
        let (lstm, device, gate) = (lstm.clone(), device.clone(), gate.clone());
        let initial = lstm.zero_state(1)?;
        let step = move |x: &[Row], state: &LstmState| {
            gate.pass();
            let x = Tensor::from_slice(&device, x.as_flattened(), &[1, x.len(), IN])?;
            let out = lstm.forward(&x, Some(state))?;
            assert!(!out.y.is_tracked(), "no graph is recorded");
            let y = out.y.to_vec()?;
            Ok((y.chunks_exact(UNITS).map(<[f32]>::to_vec).collect(), out.state))
        };
        Ok((initial, step))
    };
    config.start(start).unwrap()
}

fn rows(seed: u64, count: usize) -> Vec<Row> {
    uniform(seed, count * IN).chunks_exact(IN).map(|row| row.try_into().unwrap()).collect()
}

/// The outputs of a stream of its own.
fn alone(lstm: &Lstm, xs: &[Row]) -> Vec<Vec<f32>> {
    let mut stream = lstm.stream(1).unwrap();
    let mut step = |x: &Row| {
        let x = Tensor::from_slice(&Device::cpu(), x, &[1, IN]).unwrap();
        stream.step(&x).unwrap().to_vec().unwrap()
    };
    xs.iter().map(&mut step).collect()
}

fn refused<T>(result: Result<T>, part: &str) -> Error {
    let Err(error) = result else { panic!("accepted, not refused with {part:?}") };
    assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    error
}

/// Many threads submit steps of their own streams. Which steps become one batch depends on their times.
#[test]
fn bits_do_not_depend_on_who_shares_a_batch() {
    const STREAMS: usize = 24;
    const STEPS: usize = 40;
    let (lstm, gate) = (layer(), Gate::default());
    for (workers, max_batch) in [(1, 64), (2, 5), (3, 1)] {
        let config = BatcherConfig::new().with_workers(workers).with_max_batch(max_batch);
        let batcher = batcher(&config, &lstm, &gate);
        std::thread::scope(|scope| {
            for stream in 0..STREAMS as u64 {
                let (batcher, lstm) = (&batcher, &lstm);
                scope.spawn(move || {
                    let id = batcher.open().unwrap().wait().unwrap();
                    let xs = rows(stream, STEPS);
                    let mut ys = Vec::new();
                    // Several steps at a time, of different numbers.
                    for part in xs.chunks(1 + stream as usize % 7) {
                        let submit = |x: &Row| batcher.submit(id, *x).unwrap();
                        let tickets: Vec<Ticket<Vec<f32>>> = part.iter().map(submit).collect();
                        ys.extend(tickets.into_iter().map(|ticket| ticket.wait().unwrap()));
                    }
                    assert_eq!(ys, alone(lstm, &xs), "stream {stream}");
                });
            }
        });
        let stats = batcher.stats();
        assert_eq!([stats.steps, stats.waiting as u64], [(STREAMS * STEPS) as u64, 0]);
        assert_eq!(stats.streams, STREAMS);
        assert!(max_batch == 1 || stats.batches < stats.steps, "no batch had two rows: {stats:?}");
        assert!(max_batch > 1 || stats.batches == stats.steps, "{stats:?}");
    }
}

/// Every batch has at most the maximum of rows, each stream once, and the steps of a stream are made in their order.
#[test]
fn a_batch_has_each_stream_once_and_in_order() {
    let (gate, seen) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let start = |_: &Device| {
        let (gate, seen) = (gate.clone(), seen.clone());
        let step = move |x: &[(usize, usize)], (): &()| {
            gate.pass();
            seen.lock().unwrap().push(x.to_vec());
            Ok((x.to_vec(), ()))
        };
        Ok(((), step))
    };
    let config = BatcherConfig::new().with_workers(1).with_max_batch(4).with_queue_of_stream(100);
    let batcher = config.start(start).unwrap();
    let ids: Vec<StreamId> = (0..6).map(|_| batcher.open().unwrap().wait().unwrap()).collect();
    gate.set(true);
    let mut next = [0; 6];
    // The first stream has far more than the others.
    let order = indices(5, 90, 9).into_iter().map(|n| n.saturating_sub(3));
    let submit = |stream: usize| {
        next[stream] += 1;
        batcher.submit(ids[stream], (stream, next[stream] - 1)).unwrap()
    };
    let tickets: Vec<_> = order.map(submit).collect();
    gate.set(false);
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let (seen, mut made) = (seen.lock().unwrap(), [0; 6]);
    for batch in seen.iter() {
        let streams: HashSet<usize> = batch.iter().map(|&(stream, _)| stream).collect();
        assert!(streams.len() == batch.len() && batch.len() <= 4, "{batch:?}");
        for &(stream, number) in batch {
            assert_eq!(number, made[stream], "stream {stream}");
            made[stream] += 1;
        }
    }
    assert_eq!(made, next);
    assert!(seen.iter().any(|batch| batch.len() == 4), "the steps that waited were made together");
}

#[test]
fn full_queues_say_busy_and_keep_what_they_have() {
    let (lstm, gate) = (layer(), Gate::default());
    let config = BatcherConfig::new().with_workers(1).with_queue(10).with_queue_of_stream(4);
    let batcher = batcher(&config, &lstm, &gate);
    let [a, b, c, first] = [0; 4].map(|_| batcher.open().unwrap().wait().unwrap());
    gate.set(true);
    // The worker takes this one and waits at the gate.
    let mut tickets = vec![batcher.submit(first, [0.0; IN]).unwrap()];
    while batcher.stats().waiting > 0 {
        std::thread::yield_now();
    }
    let xs = rows(3, 4);
    let mut submit = |id, count: usize| {
        for x in &xs[..count] {
            tickets.push(batcher.submit(id, *x).unwrap());
        }
    };
    submit(a, 4);
    let error =
        refused(batcher.submit(a, xs[0]), "Batcher::submit: busy: 4 of at most 4 steps of this stream");
    assert!(matches!(error, Error::Busy { waiting: 4, limit: 4, .. }));
    submit(b, 4);
    submit(c, 2);
    refused(batcher.submit(c, xs[0]), "Batcher::submit: busy: 10 of at most 10 steps");
    assert_eq!(batcher.stats().waiting, 10);
    // What is no step goes on.
    let saved = batcher.save(b).unwrap();
    assert!(!saved.is_ready());
    gate.set(false);
    let ys: Vec<Vec<f32>> = tickets.into_iter().map(|ticket| ticket.wait().unwrap()).collect();
    let want = alone(&lstm, &xs);
    assert_eq!([&ys[1..5], &ys[5..9]], [&want[..], &want[..]]);
    assert_eq!(ys[9..], want[..2], "the refused step has changed nothing");
    // The state after four steps, as the save came after them.
    let again = batcher.load(saved.wait().unwrap()).unwrap().wait().unwrap();
    let five = rows(3, 5);
    let y = batcher.submit(again, five[4]).unwrap().wait().unwrap();
    assert_eq!(y, alone(&lstm, &five)[4]);
}

/// What a row of [`touchy`] does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Do {
    Add(f32),
    Fail,
    Panic,
    /// One output too many.
    Two,
}

/// Adds up what it is given; some rows fail. The state of a GRU of one unit holds the sum.
fn touchy(gate: &Gate) -> Batcher<Do, f32> {
    let gru = GruConfig::new(1, 1).init(&Device::cpu(), 1).unwrap();
    let start = |device: &Device| {
        let (initial, device, gate) = (gru.zero_state(1)?, device.clone(), gate.clone());
        let step = move |x: &[Do], state: &GruState| {
            gate.pass();
            let add = |x: &Do| match *x {
                Do::Add(x) => Ok(x),
                Do::Fail => Err(Error::other("this row fails")),
                Do::Panic => panic!("row {} panics", 7),
                Do::Two => Ok(0.0),
            };
            let x: Vec<f32> = x.iter().map(add).collect::<Result<_>>()?;
            let h = state.h.add(&Tensor::from_slice(&device, &x, &[1, x.len(), 1])?)?;
            let mut y = h.to_vec()?;
            if x.contains(&0.0) {
                y.push(0.0);
            }
            Ok((y, GruState::new(h, 1)))
        };
        Ok((initial, step))
    };
    BatcherConfig::new().with_workers(1).start(start).unwrap()
}

#[test]
fn a_row_that_fails_fails_alone() {
    let gate = Gate::default();
    let batcher = touchy(&gate);
    let ids: Vec<StreamId> = (0..5).map(|_| batcher.open().unwrap().wait().unwrap()).collect();
    let step = |xs: [Do; 5]| {
        gate.set(true);
        let tickets: Vec<_> = ids.iter().zip(xs).map(|(&id, x)| batcher.submit(id, x).unwrap()).collect();
        gate.set(false);
        tickets.into_iter().map(Ticket::wait).collect::<Vec<_>>()
    };
    let add = |x| Do::Add(x);
    assert_eq!(step([1.0, 2.0, 3.0, 4.0, 5.0].map(add)).into_iter().flatten().sum::<f32>(), 15.0);
    let mixed = step([add(10.0), Do::Fail, Do::Panic, Do::Two, add(10.0)]);
    let [good, failed, panicked, two, other] = mixed.try_into().ok().unwrap();
    assert_eq!([good.unwrap(), other.unwrap()], [11.0, 15.0], "made once, although the batch failed");
    refused(failed, "this row fails");
    assert!(matches!(refused(panicked, "Batcher: a panic: row 7 panics"), Error::Panicked { .. }));
    refused(two, "outputs of the step must be one for each of 1 rows, got 2");
    let after: Vec<f32> = step([add(100.0); 5]).into_iter().map(Result::unwrap).collect();
    assert_eq!(after, [111.0, 102.0, 103.0, 104.0, 115.0], "failed rows have kept their states");
    batcher.finish().unwrap();
}

#[test]
fn streams_fork_reset_move_and_close() {
    let (lstm, gate) = (layer(), Gate::default());
    let [one, two] = [1, 2].map(|workers| batcher(&BatcherConfig::new().with_workers(workers), &lstm, &gate));
    let xs = rows(8, 6);
    let want = alone(&lstm, &xs);
    let last = |batcher: &Batcher<Row, Vec<f32>>, id, xs: &[Row]| {
        let tickets: Vec<_> = xs.iter().map(|x| batcher.submit(id, *x).unwrap()).collect();
        tickets.into_iter().map(|ticket| ticket.wait().unwrap()).next_back().unwrap()
    };
    let a = two.open().unwrap().wait().unwrap();
    // Nothing waits here before the end: each request comes after the earlier ones of its stream.
    let steps: Vec<_> = xs[..3].iter().map(|x| two.submit(a, *x).unwrap()).collect();
    let (fork, saved) = (two.fork(a).unwrap(), two.save(a).unwrap());
    let (more, reset) = (two.submit(a, xs[3]).unwrap(), two.reset(a).unwrap());
    let (first, closed) = (two.submit(a, xs[0]).unwrap(), two.close(a).unwrap());
    let late = two.submit(a, xs[0]).unwrap();
    for (ticket, want) in steps.into_iter().zip(&want) {
        assert_eq!(ticket.wait().unwrap(), *want);
    }
    assert_eq!(more.wait().unwrap(), want[3]);
    assert_eq!(first.wait().unwrap(), want[0]);
    reset.wait().unwrap();
    closed.wait().unwrap();
    refused(late.wait(), "an open stream");
    refused(two.close(a).unwrap().wait(), "an open stream");
    let fork = fork.wait().unwrap();
    assert_eq!(last(&two, fork, &xs[3..]), want[5]);
    let bytes = saved.wait().unwrap();
    let moved = one.load(bytes.clone()).unwrap().wait().unwrap();
    assert_eq!(last(&one, moved, &xs[3..]), want[5]);
    // A stream of the other batcher: where it has no such worker, and where it has.
    let strangers = [two.open().unwrap().wait().unwrap(), fork];
    for stranger in strangers {
        let part = "a stream of th";
        let step = one.submit(stranger, xs[0]).and_then(Ticket::wait);
        refused(step, part);
        refused(one.save(stranger).and_then(Ticket::wait), part);
        refused(one.fork(stranger).and_then(Ticket::wait), part);
        refused(one.close(stranger).and_then(Ticket::wait), part);
    }
    let damaged = [&bytes[..bytes.len() - 1], &[0]].concat();
    let error = refused(one.load(damaged).unwrap().wait(), "checksum");
    assert!(matches!(error, Error::StateDict { .. }));
    assert_eq!([one.stats().streams, two.stats().streams], [1, 2], "what failed holds no place");
}

#[test]
fn no_more_streams_than_allowed() {
    let (lstm, gate) = (layer(), Gate::default());
    let batcher = batcher(&BatcherConfig::new().with_workers(2).with_max_streams(3), &lstm, &gate);
    let ids: Vec<StreamId> = (0..3).map(|_| batcher.open().unwrap().wait().unwrap()).collect();
    let full = "busy: 3 of at most 3 streams";
    refused(batcher.open(), full);
    refused(batcher.fork(ids[0]), full);
    refused(batcher.load(vec![]), full);
    batcher.close(ids[1]).unwrap().wait().unwrap();
    refused(batcher.load(vec![1, 2, 3]).unwrap().wait(), "the state does not fit");
    batcher.fork(ids[0]).unwrap().wait().unwrap();
    refused(batcher.open(), full);
}

#[test]
fn the_end_comes_after_what_was_accepted() {
    let (lstm, gate) = (layer(), Gate::default());
    let config = BatcherConfig::new().with_workers(2).with_max_batch(2);
    let batcher = batcher(&config, &lstm, &gate);
    let ids: Vec<StreamId> = (0..6).map(|_| batcher.open().unwrap().wait().unwrap()).collect();
    gate.set(true);
    let xs = rows(9, 8);
    let tickets: Vec<_> =
        xs.iter().flat_map(|x| ids.iter().map(|&id| batcher.submit(id, *x).unwrap())).collect();
    std::thread::scope(|scope| {
        let ends = scope.spawn(|| batcher.finish());
        while !matches!(batcher.submit(ids[0], xs[0]), Err(Error::Ended { .. })) {
            std::thread::yield_now();
        }
        assert!(!ends.is_finished(), "it waits for the steps at the gate");
        gate.set(false);
        ends.join().unwrap().unwrap();
    });
    assert!(tickets.iter().all(Ticket::is_ready));
    let want = alone(&lstm, &xs);
    for (n, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().unwrap(), want[n / ids.len()]);
    }
    refused(batcher.open(), "it has ended");
    refused(batcher.close(ids[0]), "it has ended");
    batcher.finish().unwrap();
}

/// A dropped ticket is a client that went away: its step is made, and the streams go on.
#[test]
fn tickets_are_futures_and_may_be_dropped() {
    let (lstm, gate) = (layer(), Gate::default());
    let batcher = batcher(&BatcherConfig::new().with_workers(1), &lstm, &gate);
    let id = batcher.open().unwrap().wait().unwrap();
    let xs = rows(4, 3);
    let want = alone(&lstm, &xs);
    drop(batcher.submit(id, xs[0]).unwrap());
    gate.set(true);
    let later = std::thread::spawn({
        let gate = gate.clone();
        move || {
            std::thread::sleep(Duration::from_millis(20));
            gate.set(false);
        }
    });
    // The first poll finds nothing, so the worker wakes the executor.
    let y = pollster::block_on(async { batcher.submit(id, xs[1])?.await }).unwrap();
    assert_eq!(y, want[1]);
    later.join().unwrap();
    let ready = batcher.submit(id, xs[2]).unwrap();
    while !ready.is_ready() {
        std::thread::yield_now();
    }
    assert_eq!(pollster::block_on(ready).unwrap(), want[2]);
}

#[test]
fn workers_have_devices_of_one_thread() {
    let count = AtomicUsize::new(0);
    let start = |device: &Device| {
        count.fetch_add(1, Ordering::Relaxed);
        let device = device.clone();
        let step = move |x: &[()], (): &()| {
            let Device::Cpu(own) = &device else { return Err(Error::other("not the CPU")) };
            let Device::Cpu(shared) = Device::cpu() else { return Err(Error::other("not the CPU")) };
            Ok((vec![[own.threads(), shared.threads()]; x.len()], ()))
        };
        Ok(((), step))
    };
    let batcher = BatcherConfig::new().with_workers(3).start(start).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 3, "one model a worker");
    for _ in 0..6 {
        let id = batcher.open().unwrap().wait().unwrap();
        assert_eq!(batcher.submit(id, ()).unwrap().wait().unwrap(), [1, 1]);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let start = |config: BatcherConfig| config.start(|_| Ok(((), |_: &[()], (): &()| Ok((vec![(); 1], ())))));
    let zero = |config, field: &str| {
        refused(start(config), &format!("BatcherConfig: {field} must be at least 1, got 0"));
    };
    zero(BatcherConfig::new().with_workers(0), "workers");
    zero(BatcherConfig::new().with_devices(vec![]), "devices");
    zero(BatcherConfig::new().with_max_batch(0), "max_batch");
    zero(BatcherConfig::new().with_max_streams(0), "max_streams");
    zero(BatcherConfig::new().with_queue(0), "queue");
    zero(BatcherConfig::new().with_queue_of_stream(0), "queue_of_stream");
    zero(BatcherConfig::new().with_calls(0), "calls");
    let lstm = layer();
    let wide = |_: &Device| {
        let state = lstm.zero_state(2)?;
        Ok((state, |_: &[()], state: &LstmState| Ok((vec![(); 2], state.clone()))))
    };
    refused(BatcherConfig::new().with_workers(2).start(wide), "a state of one row");
    let fails = |_: &Device| {
        let step = |_: &[()], (): &()| Ok((vec![(); 1], ()));
        Err(Error::other("no model")).map(|()| ((), step))
    };
    refused(BatcherConfig::new().start(fails), "no model");
}
