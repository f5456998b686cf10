//! Streams against what the definition says.

use super::*;
use rnn_testing::data::SplitMix64;

#[test]
fn rows_go_on_where_they_ended() {
    let text: Vec<u32> = (0..24).collect();
    let mut streams = Streams::of_indices(vec![text], &StreamConfig::new(2, 4)).unwrap();
    assert_eq!((streams.steps_per_epoch(), streams.chunks_per_epoch()), (11, 3));
    let chunks: Vec<_> = streams.by_ref().collect();
    assert_eq!(chunks[0].x.values(), [0, 11, 1, 12, 2, 13, 3, 14]);
    assert_eq!(chunks[0].y.values(), [1, 12, 2, 13, 3, 14, 4, 15]);
    assert_eq!(chunks[0].resets, [true, true, false, false, false, false, false, false]);
    assert_eq!(chunks[1].x.values()[..2], [4, 15]);
    assert_eq!(chunks[2].x.dims(), [3, 2]);
    assert!(chunks[0].first && !chunks[1].first && !chunks[1].resets.contains(&true));
    assert_eq!(streams.cursor(), Cursor { epoch: 1, position: 0 });
}

#[test]
fn a_chunk_is_split_like_shorter_chunks() {
    let text: Vec<u32> = (0..24).collect();
    let of = |steps| Streams::of_indices(vec![text.clone()], &StreamConfig::new(2, steps)).unwrap();
    let (head, tail) = of(5).next().unwrap().split_at(2).unwrap();
    let mut short = of(2);
    assert_eq!(short.next().unwrap(), head);
    let mut long = of(3);
    long.seek(Cursor { epoch: 0, position: 2 }).unwrap();
    assert_eq!(long.next().unwrap(), tail);
    assert!(tail.split_at(0).is_err() && tail.split_at(3).is_err());
}

#[test]
fn values_and_documents() {
    let a = Sequence::new(vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5], 2).unwrap();
    let b = Sequence::new(vec![7.0, 7.5, 8.0, 8.5], 2).unwrap();
    let chunk = Streams::of_sequences(&[a, b], &StreamConfig::new(1, 9)).unwrap().next().unwrap();
    assert_eq!(chunk.x.dims(), [3, 1, 2]);
    assert_eq!(chunk.x.values(), [0.0, 0.5, 1.0, 1.5, 7.0, 7.5]);
    assert_eq!(chunk.y.values(), [1.0, 1.5, 2.0, 2.5, 8.0, 8.5]);
    assert_eq!(chunk.resets, [true, false, true]);
}

/// The concatenated chunks are the streams. The concatenated streams are the documents, each element with its
/// successor, except for at most B - 1 pairs.
#[test]
fn chunks_together_are_the_documents() {
    let mut rng = SplitMix64::new(6);
    for seed in 0..100 {
        let mut size = |n| 1 + rng.next_below(n);
        let lengths: Vec<usize> = (0..size(5)).map(|_| 1 + size(40)).collect();
        // Element k of document d is 1000 d + k.
        let documents: Vec<Vec<u32>> =
            (0u32..).zip(&lengths).map(|(d, &n)| (0..n as u32).map(|k| 1000 * d + k).collect()).collect();
        let pairs: usize = lengths.iter().map(|n| n - 1).sum();
        let (batch, steps) = (size(6).min(pairs), size(9));
        let mut config = StreamConfig::new(batch, steps);
        config.seed = (seed % 3 > 0).then_some(seed);
        let mut streams = Streams::of_indices(documents, &config).unwrap();
        for epoch in 0..2 {
            let mut rows = vec![Vec::new(); batch];
            for chunk in streams.by_ref() {
                for (k, (&x, &y)) in chunk.x.values().iter().zip(chunk.y.values()).enumerate() {
                    assert_eq!(y, x + 1, "never across a border");
                    rows[k % batch].push((x, chunk.resets[k]));
                }
            }
            assert!(rows.iter().all(|row| row.len() == pairs / batch));
            for row in &rows {
                assert!(row[0].1);
                for pair in row.windows(2) {
                    let ((before, _), (x, reset)) = (pair[0], pair[1]);
                    assert_eq!(reset, x % 1000 == 0);
                    assert!(reset || x == before + 1);
                }
            }
            let mut all: Vec<u32> = rows.concat().into_iter().map(|(x, _)| x).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), pairs / batch * batch, "nothing twice, epoch {epoch}");
        }
    }
}

#[test]
fn epochs_differ_with_a_seed_and_a_resumed_run_goes_on_alike() {
    let documents: Vec<Vec<u32>> = (0..4).map(|d| (0..30 + d).map(|k| 100 * d + k).collect()).collect();
    let config = StreamConfig::new(3, 7).with_shuffle(5);
    let fresh = || Streams::of_indices(documents.clone(), &config).unwrap();
    let mut whole = fresh();
    let run: Vec<Option<Chunk<u32>>> = (0..20).map(|_| whole.next()).collect();
    assert_ne!(run[0].as_ref().unwrap().x, run[fresh().chunks_per_epoch() + 1].as_ref().unwrap().x);
    for stop in 0..run.len() - 1 {
        let Some(chunk) = &run[stop] else { continue };
        let mut resumed = fresh();
        resumed.seek(chunk.next).unwrap();
        for expected in &run[stop + 1..] {
            assert_eq!(&resumed.next(), expected);
        }
    }
    let error = fresh().seek(Cursor { epoch: 0, position: 999 }).unwrap_err().to_string();
    assert!(error.contains("steps of an epoch"), "{error}");
}

#[test]
fn nonsense_is_refused() {
    let error = |documents: &[&[u32]], batch, steps| {
        let documents = documents.iter().map(|d| d.to_vec()).collect();
        Streams::of_indices(documents, &StreamConfig::new(batch, steps)).unwrap_err().to_string()
    };
    assert!(error(&[&[1, 2]], 0, 1).contains("batch_size") && error(&[&[1, 2]], 1, 0).contains("steps"));
    assert!(error(&[], 1, 1).contains("empty"));
    assert_eq!(error(&[&[1, 2], &[1]], 1, 1), "sequence 1: a sequence of 1 steps is too short, 2 are needed");
    assert!(error(&[&[]], 1, 1).contains("0 steps"));
    assert!(error(&[&[1, 2, 3]], 3, 1).contains("at most the 2 steps"));
    let missing = Sequence::with_missing(vec![0.0, f32::NAN], 1).unwrap();
    assert!(Streams::of_sequences(&[missing], &StreamConfig::new(1, 1)).is_err());
}
