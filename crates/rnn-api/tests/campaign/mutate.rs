//! Mutations of bytes: of text and of binary files alike.

use rnn_testing::data::SplitMix64;

/// What readers stumble over: extreme numbers, marks of formats, broken UTF-8, other encodings' first bytes.
const TOKENS: [&[u8]; 36] = [
    b"0",
    b"-1",
    b"-0",
    b"1e400",
    b"1e-400",
    b"NaN",
    b"inf",
    b"-inf",
    b"65536",
    b"16777217",
    b"4294967295",
    b"18446744073709551615",
    b"9223372036854775808",
    b"99999999999999999999999999",
    b"0x10",
    b"1_000",
    b"\"",
    b"\"\"",
    b",",
    b";",
    b"\t",
    b"  ",
    b"\n",
    b"\r",
    b"\r\n",
    b"[",
    b"]",
    b"[[[[",
    b"{",
    b"}",
    b"null",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"\x00",
    b"\xf0\x9f\x98\x80",
];

/// Integers at the limits of their types.
const INTEGERS: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// `seed` with one to six mutations; some take bytes from `other`.
pub(crate) fn mutated(seed: &[u8], other: &[u8], rng: &mut SplitMix64) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + rng.next_below(6) {
        mutate(&mut bytes, other, rng);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut SplitMix64) {
    let at = rng.next_below(bytes.len() + 1);
    let some = at + rng.next_below(1 + (bytes.len() - at).min(16));
    match rng.next_below(10) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..some)),
        2 => {
            let copy = bytes[at..some].to_vec();
            let times = 1 + rng.next_below(20);
            bytes.splice(at..at, copy.repeat(times));
        }
        3 | 4 => {
            let token = TOKENS[rng.next_below(TOKENS.len())];
            bytes.splice(at..at, token.iter().copied());
        }
        5 => replace_number(bytes, at, rng),
        6 => {
            let limit = INTEGERS[rng.next_below(INTEGERS.len())];
            let width = [1, 2, 4, 8][rng.next_below(4)];
            let value = if rng.next_below(4) == 0 { limit.swap_bytes() } else { limit };
            bytes
                .iter_mut()
                .skip(at)
                .zip(value.to_le_bytes())
                .take(width)
                .for_each(|(byte, new)| *byte = new);
        }
        7 if !other.is_empty() => {
            let from = rng.next_below(other.len());
            let part = &other[from..(from + 1 + rng.next_below(64)).min(other.len())];
            bytes.splice(at..some, part.iter().copied());
        }
        8 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.next_below(8)),
        _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.next_below(256) as u8),
    }
}

/// Puts another number in the place of the next digits.
fn replace_number(bytes: &mut Vec<u8>, at: usize, rng: &mut SplitMix64) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|k| at + k) else { return };
    let end =
        bytes[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |k| start + k);
    let token = TOKENS[rng.next_below(16)];
    bytes.splice(start..end, token.iter().copied());
}
