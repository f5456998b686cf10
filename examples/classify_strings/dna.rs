//! Generated DNA: half of the strings contain a TATA box, `TATAAA` or `TATATA`. The others contain the same letters
//! in another order.

use rnn_api::RngKey;
use std::fmt::Write;

/// Lines of label, tab, sequence.
pub(crate) fn lines(count: u32, seed: u64) -> String {
    let key = RngKey::new(seed).derive(0x646e_6161, 0);
    let mut text = String::new();
    for n in 0..count {
        let below = |draw: u32, bound: usize| (key.uniform(n, draw) * bound as f32) as usize;
        let length = 30 + below(0, 31);
        let mut bases: Vec<char> =
            (0..length).map(|k| ['A', 'C', 'G', 'T'][below(10 + k as u32, 4)]).collect();
        let promoter = n % 2 == 0;
        let motif = match (promoter, below(1, 2)) {
            (true, 0) => "TATAAA",
            (true, _) => "TATATA",
            (false, 0) => "TTAAAA",
            (false, _) => "ATATTA",
        };
        let at = below(2, length - 6);
        bases.splice(at..at + 6, motif.chars());
        let label = if promoter { "promoter" } else { "other" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label}\t{}", bases.into_iter().collect::<String>());
    }
    text
}
