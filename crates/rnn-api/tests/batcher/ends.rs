//! How a batcher ends.

use super::*;

/// Whoever ends a batcher returns when all that was accepted is done, the second one, too.
#[test]
fn two_that_end_a_batcher_both_wait() {
    let (lstm, gate) = (layer(), Gate::default());
    let batcher = batcher(&BatcherConfig::new().with_workers(2), &lstm, &gate);
    let ids: Vec<StreamId> = (0..4).map(|_| batcher.open().unwrap().wait().unwrap()).collect();
    gate.set(true);
    let tickets: Vec<_> = ids.iter().map(|&id| batcher.submit(id, [0.5; IN]).unwrap()).collect();
    std::thread::scope(|scope| {
        let ends: Vec<_> = (0..3).map(|_| scope.spawn(|| batcher.finish())).collect();
        while !matches!(batcher.open(), Err(Error::Ended { .. })) {
            std::thread::yield_now();
        }
        // Long enough for the others to be at their wait.
        std::thread::sleep(Duration::from_millis(100));
        let early = ends.iter().filter(|end| end.is_finished()).count();
        // Before any check: a thread that waits would keep a failure to itself.
        gate.set(false);
        ends.into_iter().for_each(|end| end.join().unwrap().unwrap());
        assert_eq!(early, 0, "steps waited at the gate");
    });
    assert!(tickets.iter().all(Ticket::is_ready));
    assert_eq!(batcher.stats().streams, 0, "they are gone with the workers");
}

/// A step function whose Drop panics ends its thread after its last request.
#[test]
fn everyone_who_ends_a_batcher_learns_of_a_panic() {
    struct Step;
    impl Drop for Step {
        fn drop(&mut self) {
            panic!("the model does not go away");
        }
    }
    let start = |_: &Device| {
        let own = Step;
        let step = move |x: &[()], (): &()| {
            let _own = &own;
            Ok((vec![(); x.len()], ()))
        };
        Ok(((), step))
    };
    let batcher = BatcherConfig::new().with_workers(1).start(start).unwrap();
    let id = batcher.open().unwrap().wait().unwrap();
    batcher.submit(id, ()).unwrap().wait().unwrap();
    std::thread::scope(|scope| {
        let ends: Vec<_> = (0..2).map(|_| scope.spawn(|| batcher.finish())).collect();
        for end in ends {
            refused(end.join().unwrap(), "Batcher::finish: a panic: the model does not go away");
        }
    });
    refused(batcher.finish(), "the model does not go away");
}

/// A step that ends its own batcher would wait for itself.
#[test]
fn a_step_cannot_end_its_own_batcher() {
    type Own = Arc<Mutex<Option<Batcher<bool, Option<String>>>>>;
    let own: Own = Arc::default();
    let start = |_: &Device| {
        let own = own.clone();
        let step = move |x: &[bool], (): &()| {
            let mut own = own.lock().unwrap();
            if x[0] {
                // Dropped here, on its worker.
                drop(own.take());
                return Ok((vec![None; x.len()], ()));
            }
            let error = own.as_ref().map(|own| own.finish().unwrap_err().to_string());
            Ok((vec![error; x.len()], ()))
        };
        Ok(((), step))
    };
    let new = || BatcherConfig::new().with_workers(2).start(start).unwrap();
    let submit = |batcher: &Batcher<bool, Option<String>>, x| {
        let id = batcher.open().unwrap().wait().unwrap();
        batcher.submit(id, x).unwrap()
    };
    *own.lock().unwrap() = Some(new());
    let ticket = submit(own.lock().unwrap().as_ref().unwrap(), false);
    let text = ticket.wait().unwrap().unwrap();
    assert!(text.contains("Batcher::finish on a thread of the batcher"), "{text}");
    refused(own.lock().unwrap().as_ref().unwrap().open(), "it has ended");
    own.lock().unwrap().take().unwrap().finish().unwrap();

    *own.lock().unwrap() = Some(new());
    let ticket = submit(own.lock().unwrap().as_ref().unwrap(), true);
    assert_eq!(ticket.wait().unwrap(), None);
    assert!(own.lock().unwrap().is_none());
}
