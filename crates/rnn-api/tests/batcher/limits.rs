//! What may wait: requests beside steps, and workers.

use super::*;

/// Tickets that nobody keeps: the queue grew without end.
#[test]
fn requests_beside_steps_are_counted() {
    let (lstm, gate) = (layer(), Gate::default());
    let config = BatcherConfig::new().with_workers(1).with_calls(3);
    let batcher = batcher(&config, &lstm, &gate);
    let [a, b] = [(); 2].map(|()| batcher.open().unwrap().wait().unwrap());
    gate.set(true);
    let xs = rows(1, 3);
    // The worker waits with this one at the gate.
    let mut tickets = vec![batcher.submit(a, xs[0]).unwrap()];
    while batcher.stats().waiting > 0 {
        std::thread::yield_now();
    }
    let accepted = (0..).take_while(|_| batcher.reset(b).is_ok()).count();
    assert_eq!(accepted, 3);
    let busy = "busy: 3 of at most 3 requests beside steps";
    let error = refused(batcher.reset(b), &format!("Batcher::reset: {busy}"));
    assert!(matches!(error, Error::Busy { waiting: 3, limit: 3, .. }));
    refused(batcher.save(a), busy);
    refused(batcher.close(a), busy);
    refused(batcher.fork(a), busy);
    refused(batcher.open(), busy);
    refused(batcher.load(vec![1, 2]), busy);
    assert_eq!(batcher.stats().streams, 2, "what was refused holds no place");
    // Steps are counted apart.
    tickets.extend(xs[1..].iter().map(|x| batcher.submit(a, *x).unwrap()));
    gate.set(false);
    let ys: Vec<Vec<f32>> = tickets.into_iter().map(|ticket| ticket.wait().unwrap()).collect();
    assert_eq!(ys, alone(&lstm, &xs));
    // Whoever waits for a ticket can always ask again.
    for _ in 0..20 {
        batcher.save(a).unwrap().wait().unwrap();
    }
    batcher.close(a).unwrap().wait().unwrap();
}

#[test]
fn more_workers_than_a_machine_could_have_are_refused() {
    for workers in [1025, usize::MAX] {
        let start = |_: &Device| Ok(((), |x: &[()], (): &()| Ok((vec![(); x.len()], ()))));
        let error = refused(BatcherConfig::new().with_workers(workers).start(start), "at most 1024");
        assert!(matches!(error, Error::Config { field: "workers", .. }), "{error}");
    }
}
