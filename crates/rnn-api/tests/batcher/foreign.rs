//! Code of the program that panics on a worker's thread outside of a step: the Drop of inputs, outputs and errors, and wakers.
//! The worker and its other streams go on.

use super::*;
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

/// Panics when it is dropped, unless it has been told not to.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "a bomb is dropped");
    }
}

impl std::fmt::Debug for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bomb")
    }
}

impl std::fmt::Display for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bomb")
    }
}

impl std::error::Error for Bomb {}

/// What a step does with its input.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Answer,
    /// The output is a bomb.
    Bomb,
    Fail,
    /// The payload of its panic is a bomb.
    Panic,
}

/// One worker whose steps count up a stream of its own in the state.
fn bombs(gate: &Gate) -> Batcher<(Bomb, Then), (f32, Bomb)> {
    let gru = GruConfig::new(1, 1).init(&Device::cpu(), 1).unwrap();
    let start = |_: &Device| {
        let (initial, gate) = (gru.zero_state(1)?, gate.clone());
        let step = move |x: &[(Bomb, Then)], state: &GruState| {
            gate.pass();
            if x.iter().any(|(_, then)| *then == Then::Fail) {
                return Err(Error::other(Bomb(true)));
            }
            if x.iter().any(|(_, then)| *then == Then::Panic) {
                std::panic::panic_any(Bomb(true));
            }
            let h = state.h.shift(1.0)?;
            let y = h.to_vec()?.into_iter().zip(x).map(|(h, (_, then))| (h, Bomb(*then == Then::Bomb)));
            Ok((y.collect(), GruState::new(h, 1)))
        };
        Ok((initial, step))
    };
    BatcherConfig::new().with_workers(1).start(start).unwrap()
}

/// The stream makes its next step, which is step number `n`.
#[track_caller]
fn goes_on(batcher: &Batcher<(Bomb, Then), (f32, Bomb)>, id: StreamId, n: f32) {
    let y = batcher.submit(id, (Bomb(false), Then::Answer)).unwrap().wait().unwrap();
    assert_eq!(y.0, n);
}

#[test]
fn inputs_and_outputs_whose_drop_panics_end_nothing() {
    let gate = Gate::default();
    let batcher = bombs(&gate);
    let [a, b] = [(); 2].map(|()| batcher.open().unwrap().wait().unwrap());
    let one = |id, bomb, then| batcher.submit(id, (Bomb(bomb), then)).unwrap();
    // Inputs, two in a batch, each of which panics.
    gate.set(true);
    let tickets = [one(a, true, Then::Answer), one(b, true, Then::Answer)];
    gate.set(false);
    for ticket in tickets {
        assert_eq!(ticket.wait().unwrap().0, 1.0);
    }
    goes_on(&batcher, a, 2.0);
    // A ticket is dropped before its step: later, its result would be dropped by this thread.
    let drop_ticket = |bomb, then| {
        gate.set(true);
        drop(one(a, bomb, then));
        gate.set(false);
    };
    // Outputs that nobody waits for.
    drop_ticket(false, Then::Bomb);
    goes_on(&batcher, a, 4.0);
    // Errors: alone, in a batch, and that nobody waits for.
    for then in [Then::Fail, Then::Panic] {
        drop_ticket(true, then);
        gate.set(true);
        let [first, second] = [one(a, true, then), one(b, true, Then::Answer)];
        gate.set(false);
        let error = first.wait().map(std::mem::forget).unwrap_err();
        assert!(matches!(error, Error::Other(_) | Error::Panicked { .. }), "{error}");
        // Here it would panic in this thread.
        std::mem::forget(error);
        assert!(second.wait().is_ok());
    }
    goes_on(&batcher, a, 5.0);
    goes_on(&batcher, b, 4.0);
    // The input of a stream that is closed.
    gate.set(true);
    let (step, closed) = (one(b, false, Then::Answer), batcher.close(b).unwrap());
    let late = one(b, true, Then::Answer);
    gate.set(false);
    step.wait().unwrap();
    closed.wait().unwrap();
    refused(late.wait(), "an open stream");
    goes_on(&batcher, a, 6.0);
    batcher.finish().unwrap();
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker panics");
    }
}

/// Polls a ticket once, when its step waits at the gate.
fn poll<T>(ticket: &mut Ticket<T>, waker: &Waker) -> bool {
    pin!(ticket).as_mut().poll(&mut Context::from_waker(waker)).is_pending()
}

#[test]
fn wakers_that_panic_end_nothing() {
    let gate = Gate::default();
    let batcher = bombs(&gate);
    let [a, b] = [(); 2].map(|()| batcher.open().unwrap().wait().unwrap());
    let waker = Waker::from(Arc::new(Panics));
    gate.set(true);
    let mut tickets = [a, b, a].map(|id| batcher.submit(id, (Bomb(false), Then::Answer)).unwrap());
    let mut reset = batcher.reset(b).unwrap();
    assert!(tickets.iter_mut().all(|ticket| poll(ticket, &waker)) && poll(&mut reset, &waker));
    gate.set(false);
    let ys = tickets.map(|ticket| ticket.wait().unwrap().0);
    assert_eq!(ys, [1.0, 1.0, 2.0]);
    reset.wait().unwrap();
    goes_on(&batcher, a, 3.0);
    goes_on(&batcher, b, 1.0);
    batcher.finish().unwrap();
}

type Hook = Box<dyn FnOnce()>;

thread_local! {
    /// What the next Clone and the next Drop of a [`hooked`] waker do on this thread.
    static HOOKS: [Cell<Option<Hook>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

/// A waker that does nothing, but for the hooks.
fn hooked() -> Waker {
    fn run(hook: usize) {
        if let Some(hook) = HOOKS.with(|hooks| hooks[hook].take()) {
            hook();
        }
    }
    fn raw() -> RawWaker {
        RawWaker::new(std::ptr::null(), &TABLE)
    }
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |_| {
            run(0);
            raw()
        },
        |_| {},
        |_| {},
        |_| run(1),
    );
    // SAFETY: the functions of the table do not use the pointer.
    unsafe { Waker::from_raw(raw()) }
}

/// Clone and Drop of a waker are code of the program: the worker may finish the step meanwhile, and a lock would stop it.
#[test]
fn a_result_may_come_while_a_waker_is_cloned_or_dropped() {
    let gate = Gate::default();
    let batcher = Arc::new(bombs(&gate));
    let id = batcher.open().unwrap().wait().unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let hook = || -> Hook {
        let (gate, batcher, came) = (gate.clone(), batcher.clone(), came.clone());
        Box::new(move || {
            gate.set(false);
            // The worker comes to this after it has kept the promise of the step.
            let later = batcher.save(id).unwrap();
            for _ in 0..500 {
                if later.is_ready() {
                    came.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let waker = hooked();
    let poll = |ticket: &mut Ticket<(f32, Bomb)>| {
        let result = pin!(ticket).poll(&mut Context::from_waker(&waker));
        result.map(|result| result.unwrap().0)
    };
    gate.set(true);
    let mut ticket = batcher.submit(id, (Bomb(false), Then::Answer)).unwrap();
    HOOKS.with(|hooks| hooks[0].set(Some(hook())));
    assert_eq!(poll(&mut ticket), Poll::Ready(1.0), "it came while the waker was cloned");
    assert_eq!(came.load(Ordering::Relaxed), 1, "the worker did not wait");

    gate.set(true);
    let mut ticket = batcher.submit(id, (Bomb(false), Then::Answer)).unwrap();
    assert_eq!(poll(&mut ticket), Poll::Pending);
    HOOKS.with(|hooks| hooks[1].set(Some(hook())));
    assert_eq!(
        poll(&mut ticket),
        Poll::Pending,
        "the waker of the first poll is dropped at the end of the second"
    );
    assert_eq!(came.load(Ordering::Relaxed), 2, "the worker did not wait");
    assert_eq!(poll(&mut ticket), Poll::Ready(2.0));
}
