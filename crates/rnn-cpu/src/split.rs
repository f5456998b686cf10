//! Splitting a result over threads. The pieces are fixed by the sizes alone, so that no result
//! depends on the number of threads.

use super::team;

/// Elements of a piece: 64 KiB of f32, an eighth of a usual second-level cache. Below two pieces a
/// thread switch costs more than it saves.
const PIECE: usize = 16 * 1024;

/// Results of at least this many elements are split.
const FLOOR: usize = 4 * PIECE;

/// Calls `work(first element, piece)` for every piece of `out`.
pub fn elements(out: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() < FLOOR {
        return work(0, out);
    }
    team::pieces(out, PIECE, |k, piece| work(k * PIECE, piece));
}

/// Calls `work(row, row of out)` for every row of `cols` elements.
pub fn rows(out: &mut [f32], cols: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let per_piece = (PIECE / cols).max(1);
    let piece = |first: usize, rows: &mut [f32]| {
        for (k, row) in rows.chunks_exact_mut(cols).enumerate() {
            work(first + k, row);
        }
    };
    if out.len() < FLOOR {
        return piece(0, out);
    }
    team::pieces(out, per_piece * cols, |k, rows| piece(k * per_piece, rows));
}

/// As [`rows`], for kernels that also write one number per row.
pub(crate) fn rows_with(
    out: &mut [f32],
    cols: usize,
    per_row: &mut [f32],
    work: impl Fn(usize, &mut [f32], &mut f32) + Sync,
) {
    let per_piece = (PIECE / cols).max(1);
    let piece = |first: usize, rows: &mut [f32], numbers: &mut [f32]| {
        for (k, (row, number)) in rows.chunks_exact_mut(cols).zip(numbers).enumerate() {
            work(first + k, row, number);
        }
    };
    if out.len() < FLOOR {
        return piece(0, out, per_row);
    }
    let pairs = out.chunks_mut(per_piece * cols).zip(per_row.chunks_mut(per_piece));
    let mut pairs: Vec<_> = pairs.collect();
    team::pieces(&mut pairs, 1, |k, pair| {
        for (rows, numbers) in pair {
            piece(k * per_piece, rows, numbers);
        }
    });
}

/// Calls `work(first element, tile)` for every `tile` elements of `out`, where everything together
/// reads `reads` elements.
pub(crate) fn tiles(out: &mut [f32], tile: usize, reads: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if reads < FLOOR {
        out.chunks_mut(tile).enumerate().for_each(|(k, piece)| work(k * tile, piece));
    } else {
        team::pieces(out, tile, |k, piece| work(k * tile, piece));
    }
}

/// `work(first, end)` for the pieces of `0..len`, results in order.
pub(crate) fn map_ranges<T: Send>(
    len: usize,
    piece: usize,
    work: impl Fn(usize, usize) -> T + Sync,
) -> Vec<T> {
    let range = |k: usize| work(k * piece, ((k + 1) * piece).min(len));
    let pieces = len.div_ceil(piece);
    if pieces < 4 {
        (0..pieces).map(range).collect()
    } else {
        let mut results: Vec<Option<T>> = (0..pieces).map(|_| None).collect();
        team::pieces(&mut results, 1, |k, slot| slot.fill_with(|| Some(range(k))));
        results.into_iter().flatten().collect()
    }
}
