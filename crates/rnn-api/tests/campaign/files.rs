//! Readers of data: every file gives checked values or an error.

use crate::target::Target;
use rnn_api::data::{
    DateOrder, Fasta, LabelledStrings, Missing, PianoRolls, Sequence, Table, TableOptions, TsFile, TsOptions,
    UnequalDimensions,
};
use std::path::Path;

/// "a,b\n1,2\n3,4\n", compressed.
const PACKED: [u8; 32] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0x4b, 0xd4, 0x49, 0xe2, 0x32, 0xd4, 0x31,
    0xe2, 0x32, 0xd6, 0x31, 0xe1, 0x02, 0x00, 0xe5, 0xe9, 0xd6, 0xce, 0x0c, 0x00, 0x00, 0x00,
];

pub(crate) fn targets() -> Vec<Target> {
    let text = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let head = "@problemName p\n@univariate false\n@classLabel true a b\n@data\n";
    let stamped =
        "@timeStamps true\n@targetLabel true\n@data\n(2016-01-11 17:00:00,1):(2016-01-11 17:00:00,3):13.5\n";
    #[allow(unused_mut, reason = "builds without `audio` add none")]
    let mut targets = vec![
        Target {
            name: "table",
            seeds: text(&[
                "a,b\n1,\"2\"\n3,4e0\n\"5\",-6\n",
                "d;x\n2004-03-10;1\n2004-03-11;2\n",
                "1 2\n3 4\n",
            ])
            .into_iter()
            .chain([PACKED.to_vec()])
            .collect(),
            has_checksums: false,
            run: table,
        },
        Target {
            name: "table_options",
            seeds: text(&["# note\nx;y\n1,5;2\n-;\"3,25\"\n"]),
            has_checksums: false,
            run: table_with_options,
        },
        Target {
            name: "ts",
            seeds: text(&[&format!("{head}1,2:3,4:a\n5:6:b\n"), stamped]),
            has_checksums: false,
            run: ts,
        },
        Target {
            name: "strings",
            seeds: text(&["a\tACGT\nb\tGATTACA\n"]),
            has_checksums: false,
            run: strings,
        },
        Target {
            name: "fasta",
            seeds: text(&[">a one\nACGT\nAC-T\n;note\n>b\nMK*\n"]),
            has_checksums: false,
            run: fasta,
        },
        Target {
            name: "piano_rolls",
            seeds: text(&[
                r#"{"train": [[[60, 64], [], [62]]], "valid": [[[64]]], "test": [[[61, 61]], [[62]]]}"#,
                r#"{"train": [[[60, -1, 64.0]]], "valid": [[[-1]]], "test": [[[61]]]}"#,
            ]),
            has_checksums: false,
            run: piano_rolls,
        },
    ];
    #[cfg(feature = "audio")]
    targets.push(Target { name: "sound", seeds: sounds(), has_checksums: false, run: sound });
    targets
}

/// As many values as steps of features, all of them numbers unless missing ones are kept.
fn check(sequences: &[Sequence], missing: bool) {
    for sequence in sequences {
        assert_eq!(sequence.len() * sequence.features(), sequence.values().len());
        assert!(sequence.values().iter().all(|x| x.is_finite() || (missing && x.is_nan())));
    }
}

fn table(path: &Path) -> bool {
    let Ok(table) = Table::read(path, &TableOptions::new()) else { return false };
    let mut read = false;
    for column in 0..table.width().min(4) {
        for missing in [Missing::Keep, Missing::Error] {
            if let Ok(sequence) = table.sequence(&[column], missing) {
                assert_eq!(sequence.len(), table.rows());
                check(&[sequence], true);
                read = true;
            }
        }
        if let Ok(labels) = table.labels(column) {
            assert_eq!(labels.len(), table.rows());
        }
        if let Ok(times) = table.times(&[column], DateOrder::YearFirst) {
            assert!(times.iter().all(|time| time.is_finite()));
        }
    }
    read
}

fn table_with_options(path: &Path) -> bool {
    let options = TableOptions::new()
        .with_delimiter(';')
        .with_decimal_comma()
        .with_comment('#')
        .with_missing_marks(["-"]);
    let Ok(table) = Table::read(path, &options) else { return false };
    let Ok(sequence) = table.sequence(&(0..table.width()).collect::<Vec<_>>(), Missing::Keep) else {
        return false;
    };
    check(&[sequence], true);
    true
}

fn ts(path: &Path) -> bool {
    let options = TsOptions::new().with_missing(Missing::Keep).with_unequal(UnequalDimensions::Pad(0.0));
    let Ok(file) = TsFile::read_with(path, &options) else { return false };
    assert!(!file.sequences.is_empty());
    assert!([0, file.sequences.len()].contains(&file.labels.len()));
    check(&file.sequences, true);
    true
}

fn strings(path: &Path) -> bool {
    let Ok(all) = LabelledStrings::read(path) else { return false };
    assert!(!all.is_empty() && all.labels().len() == all.len());
    assert!(all.texts().iter().all(|text| !text.is_empty()));
    true
}

fn fasta(path: &Path) -> bool {
    let Ok(all) = Fasta::read(path) else { return false };
    assert!(!all.is_empty() && all.iter().all(|record| !record.sequence.is_empty()));
    true
}

fn piano_rolls(path: &Path) -> bool {
    let Ok(rolls) = PianoRolls::read(path, 21, 88) else { return false };
    let parts = rolls.sequences();
    [&parts.train, &parts.validation, &parts.test].into_iter().for_each(|part| check(part, false));
    true
}

#[cfg(feature = "audio")]
fn sound(path: &Path) -> bool {
    let Ok(channels) = rnn_api::data::audio::Sound::read_channels(path) else { return false };
    assert!(!channels.is_empty());
    for sound in channels {
        assert!(sound.rate() > 0 && sound.samples().iter().all(|x| x.is_finite()));
    }
    true
}

/// PCM of 16 bits, and floats behind a chunk of odd length.
#[cfg(feature = "audio")]
fn sounds() -> Vec<Vec<u8>> {
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let mut bytes = name.to_vec();
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let format = |tag: u16, bits: u16| {
        let block = bits / 8;
        let mut bytes = [tag.to_le_bytes(), 1u16.to_le_bytes()].concat();
        bytes.extend(8000u32.to_le_bytes());
        bytes.extend((8000 * u32::from(block)).to_le_bytes());
        bytes.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
        chunk(b"fmt ", &bytes)
    };
    let file = |chunks: Vec<u8>| chunk(b"RIFF", &[b"WAVE".to_vec(), chunks].concat());
    let samples: Vec<u8> = (0..40i16).flat_map(|k| (k * 99).to_le_bytes()).collect();
    let floats: Vec<u8> = (0..20).flat_map(|k| (k as f32 / 20.0).to_le_bytes()).collect();
    vec![
        file([format(1, 16), chunk(b"data", &samples)].concat()),
        file([chunk(b"note", b"odd"), format(3, 32), chunk(b"data", &floats)].concat()),
    ]
}
