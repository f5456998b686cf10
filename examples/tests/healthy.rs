//! The doctor finds nothing in healthy runs of all examples, to their end. These take minutes, so they are ignored by default:
//!
//! ```sh
//! cargo build --release --examples
//! cargo test --release --test healthy -- --ignored
//! ```
//!
//! Cargo does not build examples for a single test. Data are looked for in `RNN_DATA`, else in `../shared/data` beside the checkout.

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names of the runs, and their command lines after the name of the example. `@` is the folder of data.
const RUNS: [(&str, &str); 23] = [
    ("amp", "amp"),
    ("char_lm", "char_lm"),
    ("char_lm_shakespeare", "char_lm --text @tinyshakespeare/input.txt --epochs 1"),
    ("char_lm_gru", "char_lm --cell gru --text @tinyshakespeare/input.txt --epochs 1"),
    ("classify", "classify"),
    ("classify_vowels", "classify --train @japanese_vowels/JapaneseVowels_TRAIN.ts"),
    (
        "classify_vowels_forward",
        "classify --train @japanese_vowels/JapaneseVowels_TRAIN.ts --forward-only --pooling last",
    ),
    ("classify_strings", "classify_strings"),
    ("classify_strings_names", "classify_strings --data @names"),
    ("describe", "describe"),
    ("feedforward", "feedforward --data @digits8x8/digits.csv.gz --train 1437"),
    ("forecast", "forecast"),
    ("image_rows", "image_rows"),
    ("image_rows_digits", "image_rows --data @digits8x8/digits.csv.gz --train 1437"),
    ("image_patches_digits", "image_rows --data @digits8x8/digits.csv.gz --train 1437 --patch 2"),
    ("long_memory", "long_memory"),
    ("long_memory_lstm", "long_memory --cell lstm --forget-lag 100"),
    ("music", "music --data @jsb_chorales/JSB_Chorales.json"),
    ("music_gru", "music --data @jsb_chorales/JSB_Chorales.json --cell gru --hidden 46"),
    ("reber", "reber"),
    ("reber_gru", "reber --cell gru"),
    ("speech", "speech"),
    ("translate", "translate"),
];

fn data() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("RNN_DATA").map_or_else(beside, PathBuf::from)
}

/// The built example, in the folder beside that of the tests.
fn program(example: &str) -> Result<PathBuf, Failed> {
    let own = std::env::current_exe()?;
    let built = own.parent().and_then(Path::parent).ok_or("the test is in no folder of builds")?;
    let program = built.join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION);
    if !program.is_file() {
        return Err(format!("no {}: first `cargo build --release --examples`", program.display()).into());
    }
    Ok(program)
}

/// All findings in the logs of a folder. A run of several networks has several logs.
fn findings(folder: &Path) -> Result<Vec<String>, Failed> {
    let (mut logs, mut found) = (0, Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        for line in std::fs::read_to_string(&path)?.lines() {
            let entry: serde_json::Value = serde_json::from_str(line)?;
            let Some(findings) = entry.get("findings").and_then(serde_json::Value::as_array) else {
                continue;
            };
            logs += 1;
            found.extend(findings.iter().map(|finding| format!("{}: {finding:#}", path.display())));
        }
    }
    if logs == 0 { Err("no log says how its run ended".into()) } else { Ok(found) }
}

fn run(name: &str, line: &str) -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("rnn-healthy-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut words = line.split_whitespace();
    let mut command = Command::new(program(words.next().unwrap_or_default())?);
    let data = data();
    command.args(words.map(|word| match word.strip_prefix('@') {
        Some(file) => data.join(file).into_os_string(),
        None => word.into(),
    }));
    command.args(["--device", "cpu", "--quiet", "--log"]).arg(folder.join("log.jsonl"));
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let found = findings(&folder)?;
    std::fs::remove_dir_all(&folder)?;
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}

fn main() {
    let trial = |&(name, line): &(&str, &'static str)| {
        let owned = name.to_owned();
        Trial::test(name, move || run(&owned, line)).with_ignored_flag(true)
    };
    libtest_mimic::run(&Arguments::from_args(), RUNS.iter().map(trial).collect()).exit();
}
