//! The memory that reading takes, counted by the allocator.

use super::{Path, Trial};
use rnn_api::data::*;
use rnn_testing::data::SplitMix64;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

/// Counts the bytes that each thread holds, and their peak.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    // The default `realloc` allocates, copies and frees, so that both blocks count.
}

/// The result of a call, and the most bytes that it held at once.
fn peak<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = call();
    (result, (PEAK.get() - before) as usize)
}

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![Trial::test("memory::a_table_takes_three_times_its_text", || {
        tables();
        Ok(())
    })];
    tests.push(Trial::test("memory::spoilt_files_take_no_more_than_whole_ones", || {
        spoilt();
        Ok(())
    }));
    let packed = Trial::test("memory::a_small_file_does_not_fill_the_memory", || {
        bomb();
        Ok(())
    });
    tests.push(packed.with_ignored_flag(cfg!(not(feature = "gzip"))));
    tests
}

fn file(name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("rnn-api-memory-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Names of files, buffers of the decoder, and the sample for the delimiter.
const ASIDE: usize = 1 << 17;

fn assert_small(what: &str, path: &Path, options: &TableOptions, text: usize) {
    let (table, most) = peak(|| Table::read(path, options));
    let (_, after) = peak(|| table.as_ref().map(|table| table.numbers(0, Missing::Keep).map(drop)));
    std::fs::remove_file(path).unwrap();
    assert!(most <= 3 * text + ASIDE, "{what}: {most} bytes for a text of {text}");
    // A column of f32, and nothing else.
    if let Ok(table) = table {
        assert!(after <= 4 * table.rows() + ASIDE, "{what}: {after} bytes for {} rows", table.rows());
    }
}

/// The worst texts: one byte per field, one field per row, no rows at all, one long field, many columns.
fn tables() {
    let bare = TableOptions::new().with_header(false);
    let long = format!("{},1\n", "x".repeat(999_999));
    let (quoted, wide) = ("\"1\"\"\",2.5\n".repeat(60_000), format!("{}1\n", "1,".repeat(999)).repeat(500));
    for (what, text) in [
        ("empty fields", ",\n".repeat(300_000) + "1,1\n"),
        ("narrow rows", "1\n".repeat(400_000)),
        ("empty lines", "\n".repeat(900_000) + "1\n"),
        ("long fields", long),
        ("quotes", quoted),
        ("columns", wide),
        ("numbers", "0.12345,-1.5e3,17\n".repeat(40_000)),
    ] {
        let path = file("plain.csv", text.as_bytes());
        assert_small(what, &path, &bare, text.len());
        // Two bytes in the file for each byte of the text.
        let utf16: Vec<u8> =
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_small(what, &file("utf16.csv", &utf16), &bare, text.len());
    }
    if cfg!(feature = "gzip") {
        let text = "0.12345,-1.5e3,17\n".repeat(40_000);
        assert_small("packed", &file("packed.csv.gz", &packed(text.as_bytes())), &bare, text.len());
    }
    let latin1: Vec<u8> = b"\xb0,\xb0\n".repeat(100_000);
    let options = bare.with_text(TextOptions::new().with_encoding("latin1"));
    assert_small("latin1", &file("latin1.csv", &latin1), &options, 6 * 100_000);
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

/// 32 MiB in 32 KiB.
fn bomb() {
    let path = file("bomb.gz", &packed(&vec![b'x'; 32 << 20]));
    let options = TextOptions::new().with_max_unpacked(4 << 20);
    let (text, most) = peak(|| read_text_with(&path, &options));
    std::fs::remove_file(&path).unwrap();
    let error = text.unwrap_err().to_string();
    assert!(error.contains("at most 4194304 bytes") && error.contains("with_max_unpacked"), "{error}");
    assert!(most <= (4 << 20) + 4 * ASIDE, "{most} bytes");
}

/// Numbers in a file that state a size must not become memory before the file has as much.
fn spoilt() {
    let mut head =
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data"
            .to_vec();
    head.extend_from_slice(b"\x08\0\0\0abcdefgh");
    type Read = fn(&[u8]);
    let files: [(&[u8], Read); 6] = [
        (b"a,b\n1,\"2\"\n3,4\n", |bytes| {
            let table = Table::parse(&String::from_utf8_lossy(bytes), &TableOptions::new());
            drop(table.map(|table| table.sequence(&[0, 1], Missing::Keep)));
        }),
        (b"@seriesLength 2\n@dimensions 2\n@timeStamps true\n@data\n(1,2),(3,4):(1,5)\n", |bytes| {
            let options = TsOptions::new().with_unequal(UnequalDimensions::Pad(0.0));
            drop(TsFile::parse_with(&String::from_utf8_lossy(bytes), &options));
        }),
        (b"{\"train\": [[[1, 3], []]], \"valid\": [[[4]]], \"test\": [[[99999]]]}", |bytes| {
            drop(PianoRolls::parse(&String::from_utf8_lossy(bytes), 0, 88).map(|rolls| rolls.sequences()));
        }),
        (b">a one\nACGT\n>b\nMK*\n", |bytes| drop(Fasta::parse(&String::from_utf8_lossy(bytes)))),
        (b"a\tACGT\nb\tGATTACA\n", |bytes| drop(LabelledStrings::parse(&String::from_utf8_lossy(bytes)))),
        (&head, sound),
    ];
    let mut rng = SplitMix64::new(12);
    for (whole, read) in files {
        for _ in 0..500 {
            let mut bytes = whole.to_vec();
            for _ in 0..1 + rng.next_below(4) {
                let at = rng.next_below(bytes.len());
                bytes[at] = [0, 255, b'9', b'"', rng.next_below(256) as u8][rng.next_below(5)];
            }
            let ((), most) = peak(|| read(&bytes));
            assert!(most <= 1 << 16, "{most} bytes for {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[cfg(feature = "audio")]
fn sound(bytes: &[u8]) {
    drop(audio::Sound::from_bytes(bytes));
}

/// Without the feature there is nothing to read.
#[cfg(not(feature = "audio"))]
fn sound(_: &[u8]) {}
