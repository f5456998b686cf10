//! What the states of streams hold: the name of their model, and values that are not finite.

use super::*;

#[test]
fn a_saved_state_names_its_model() {
    let (lstm, gate) = (layer(), Gate::default());
    let named = |name: &str| {
        let config = BatcherConfig::new().with_workers(1).with_model(name);
        batcher(&config, &lstm, &gate)
    };
    let [first, second, other] = ["lstm, 37 units", "lstm, 37 units", "another"].map(named);
    let id = first.open().unwrap().wait().unwrap();
    let bytes = first.save(id).unwrap().wait().unwrap();
    second.load(bytes.clone()).unwrap().wait().unwrap();
    refused(
        other.load(bytes).unwrap().wait(),
        "of the model \"lstm, 37 units\"; these slots are of the model",
    );
}

/// One row of a batch is NaN: its stream alone, and only until it is reset.
#[test]
fn a_stream_that_is_not_finite_changes_no_bit_of_the_others() {
    let (lstm, gate) = (layer(), Gate::default());
    let batcher = batcher(&BatcherConfig::new().with_workers(1), &lstm, &gate);
    let ids = [(); 5].map(|()| batcher.open().unwrap().wait().unwrap());
    let of = |stream: usize| rows(stream as u64, 6);
    let step = |n: usize| {
        gate.set(true);
        let x = |stream: usize| if stream == 2 && n == 1 { [f32::NAN; IN] } else { of(stream)[n] };
        let tickets = [0, 1, 2, 3, 4].map(|stream| batcher.submit(ids[stream], x(stream)).unwrap());
        gate.set(false);
        tickets.map(|ticket| ticket.wait().unwrap())
    };
    let want = [0, 1, 2, 3, 4].map(|stream| alone(&lstm, &of(stream)));
    for n in 0..4 {
        for (stream, y) in step(n).into_iter().enumerate() {
            if stream != 2 || n == 0 {
                assert_eq!(y, want[stream][n], "stream {stream}, step {n}");
            } else {
                assert!(y.iter().all(|y| y.is_nan()), "it stays");
            }
        }
    }
    let finite = || ids.map(|id| batcher.is_finite(id).unwrap().wait().unwrap());
    assert_eq!(finite(), [true, true, false, true, true]);
    refused(batcher.save(ids[2]).unwrap().wait(), "state must be finite");
    batcher.reset(ids[2]).unwrap().wait().unwrap();
    assert_eq!(finite(), [true; 5]);
    let fresh = alone(&lstm, &of(2)[4..]);
    for n in 4..6 {
        let ys = step(n);
        assert_eq!((&ys[2], &ys[3]), (&fresh[n - 4], &want[3][n]), "step {n}");
    }
}
