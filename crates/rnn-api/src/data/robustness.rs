//! Whatever a file holds, reading it ends in checked values or in an error, never in a panic.

use super::*;
use rnn_testing::data::SplitMix64;

const ROUNDS: usize = 2000;

/// Some characters replaced, taken out, put in, or the end cut off.
fn spoil(text: &str, rng: &mut SplitMix64) -> String {
    const NEW: [char; 20] = [
        '0', '9', '-', '.', 'e', ',', ';', '\t', '\n', '\r', '"', ':', '?', '@', '>', '[', ']', ' ', 'é',
        '\0',
    ];
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..1 + rng.next_below(4) {
        let (at, new) = (rng.next_below(text.len() + 1), NEW[rng.next_below(NEW.len())]);
        match rng.next_below(8) {
            0 => text.truncate(at),
            1 | 2 => text.insert(at, new),
            3 | 4 => drop(text.drain(at..(at + rng.next_below(3)).min(text.len()))),
            _ => text.iter_mut().skip(at).take(1).for_each(|c| *c = new),
        }
    }
    text.into_iter().collect()
}

/// Reads spoilt texts; how many of them could be read.
fn read_spoilt(text: &str, seed: u64, read: impl Fn(&str) -> bool) -> usize {
    assert!(read(text), "the whole text is valid");
    let mut rng = SplitMix64::new(seed);
    (0..ROUNDS).filter(|_| read(&spoil(text, &mut rng))).count()
}

fn sound(sequences: &[Sequence], missing: bool) -> bool {
    let fine = |x: &f32| x.is_finite() || (missing && x.is_nan());
    sequences.iter().all(|s| s.len() * s.features() == s.values().len() && s.values().iter().all(fine))
}

#[test]
fn spoilt_files_are_errors_or_values() {
    let table = read_spoilt("a,b\n1,\"2\"\n3,4e0\n\"5\",-6\n", 1, |text| {
        let Ok(table) = Table::parse(text, &TableOptions::new()) else { return false };
        let read = table.sequence(&[0], Missing::Keep).map(|s| {
            assert!(s.len() == table.rows() && sound(&[s], true));
        });
        let _ = (table.labels("b"), table.sequence(&["a", "b"], Missing::Error));
        read.is_ok()
    });
    let options = TableOptions::new().with_decimal_comma().with_comment('#').with_missing_marks(["-9"]);
    let european = read_spoilt("# note\r a; \"b\" \r1,5;-9\r\"2;\";4\r;\r", 7, |text| {
        let Ok(table) = Table::parse(text, &options) else { return false };
        let lines = table.labels(0).map(|labels| assert_eq!(labels.len(), table.rows()));
        let _ = (lines, table.sequence(&[0, 1], Missing::Keep).map(|s| assert!(sound(&[s], true))));
        (0..table.width()).all(|c| table.strings(c).is_ok())
    });
    let spaces = read_spoilt(" a  b\n1\t 2 \n\"3\" 4e0\n", 8, |text| {
        let Ok(table) = Table::parse(text, &TableOptions::new().with_spaces()) else { return false };
        table.doubles(1, Missing::Keep).is_ok_and(|values| values.len() == table.rows())
    });
    let dates = read_spoilt("d,t\n2004-03-10,18:00\n2004-03-10,19:00:00.5\n20040311,00:00Z\n", 9, |text| {
        let Ok(table) = Table::parse(text, &TableOptions::new()) else { return false };
        let times = table.times(&["d", "t"], DateOrder::YearFirst);
        times.is_ok_and(|times| times.is_sorted() && times.iter().all(|time| time.is_finite()))
    });
    let head = "@timeStamps true\n@targetLabel true\n@data\n";
    let stamped = "(2016-01-11 17:00:00,1),(2016-01-11 17:10:00,2):(2016-01-11 17:00:00,3):13.5\n";
    let options_ts = TsOptions::new().with_unequal(UnequalDimensions::Pad(0.0));
    let stamps = read_spoilt(&format!("{head}{stamped}"), 10, |text| {
        let Ok(file) = TsFile::parse_with(text, &options_ts) else { return false };
        assert!(sound(&file.sequences, false) && [0, file.sequences.len()].contains(&file.times.len()));
        file.times.iter().zip(&file.sequences).all(|(times, sequence)| times.len() == sequence.len())
    });
    let head = "@problemName p\n@univariate false\n@classLabel true a b\n@data\n";
    let ts = read_spoilt(&format!("{head}1,2:3,4:a\n5:6:b\n"), 2, |text| {
        let Ok(file) = TsFile::parse(text, Missing::Keep) else { return false };
        assert!(!file.sequences.is_empty() && sound(&file.sequences, true));
        assert!([0, file.sequences.len()].contains(&file.labels.len()));
        true
    });
    let strings = read_spoilt("a\tACGT\nb\tGATTACA\n", 3, |text| {
        let read = LabelledStrings::parse(text);
        read.is_ok_and(|all| {
            all.texts().iter().all(|text| !text.is_empty()) && all.labels().len() == all.len()
        })
    });
    let fasta = read_spoilt(">a one\nACGT\nAC-T\n;note\n>b\nMK*\n", 4, |text| {
        Fasta::parse(text).is_ok_and(|all| all.iter().all(|record| !record.sequence.is_empty()))
    });
    let rolls = r#"{"train": [[[1, 3], [], [2]]], "valid": [[[4]]], "test": [[[1, 1]], [[2]]]}"#;
    let rolls = read_spoilt(rolls, 5, |text| {
        let Ok(rolls) = PianoRolls::parse(text, 0, 5) else { return false };
        let parts = rolls.sequences();
        assert!(sound(&parts.train, false) && sound(&parts.validation, false) && sound(&parts.test, false));
        true
    });
    // Both outcomes are met, or the test says little.
    for read in [table, european, spaces, dates, stamps, ts, strings, fasta, rolls] {
        assert!((ROUNDS / 50..ROUNDS * 49 / 50).contains(&read), "{read} of {ROUNDS}");
    }
}

/// Any bytes in any encoding are text or an error.
#[test]
fn spoilt_bytes_are_errors_or_text() {
    let text = "a,é\r\n1,ﬁ\n";
    let utf16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let plain = TextOptions::new().with_normalisation(Normalisation::Nfkd);
    let japanese = plain.clone().with_encoding("shift_jis");
    let mut rng = SplitMix64::new(11);
    for (whole, options) in
        [(utf16, &plain), (text.as_bytes().to_vec(), &plain), (b"\x83n\x82\xa0".to_vec(), &japanese)]
    {
        let mut read = 0;
        let file = text::tests::TestFile::new("spoilt.txt", &whole);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            let at = rng.next_below(bytes.len());
            bytes[at] = [0, 0xff, 0xd8, 0xdc, rng.next_below(256) as u8][rng.next_below(5)];
            bytes.truncate(bytes.len() - rng.next_below(2));
            std::fs::write(&file.0, &bytes).unwrap();
            read += usize::from(read_text_with(&file.0, options).is_ok());
        }
        assert!((4..196).contains(&read), "{read} of 200");
    }
}

#[cfg(feature = "audio")]
#[test]
fn spoilt_sound_files_are_errors_or_values() {
    use audio::wav::tests::{chunk, fmt, riff};
    let data: Vec<u8> = (0..40i16).flat_map(|sample| (sample * 99).to_le_bytes()).collect();
    let format = fmt(1, 2, 8000, 4, 16, &[0; 4]);
    let whole = riff(&[chunk(b"note", b"odd"), format, chunk(b"data", &data), chunk(b"LIST", b"INFO")]);
    let mut rng = SplitMix64::new(6);
    let mut read = 0;
    for _ in 0..ROUNDS {
        let mut bytes = whole.clone();
        for _ in 0..1 + rng.next_below(3) {
            // Chunks before the samples have 60 bytes. Lengths of 0 and of all ones are those of pipes.
            let new = [0, 255, rng.next_below(256) as u8][rng.next_below(3)];
            bytes[rng.next_below(66)] = new;
        }
        bytes.truncate(if rng.next_below(4) == 0 { rng.next_below(bytes.len()) } else { bytes.len() });
        read += usize::from(audio::Sound::from_bytes(&bytes).is_ok());
    }
    assert!((ROUNDS / 50..ROUNDS * 49 / 50).contains(&read), "{read} of {ROUNDS}");
}
