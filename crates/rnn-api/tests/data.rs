//! The readers on real files. Counts, sums and single values were computed from the same files by a
//! few lines of Python (`csv`, `json`, `gzip` and `str.split`), not by this crate.
//!
//! The files are looked for in `RNN_DATA`, else in `../shared/data` beside the checkout. A test whose
//! files are absent shows as ignored, and the run says so.

#[path = "data/memory.rs"]
mod memory;
#[path = "data/wild.rs"]
mod wild;

use libtest_mimic::{Arguments, Failed, Trial};
use rnn_api::data::*;
use rnn_api::metrics::*;
use rnn_api::{Device, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var_os("RNN_DATA").map_or_else(beside, PathBuf::from)
}

/// A test that reads `file` of the data folder and is named after its part of it.
fn on(file: &'static str, test: fn(&Path) -> Result<(), Error>) -> Trial {
    named(file.split('/').next().unwrap_or(file), file, test)
}

/// A test that reads `file` of the data folder.
fn named(name: &'static str, file: &'static str, test: fn(&Path) -> Result<(), Error>) -> Trial {
    let path = folder().join(file);
    let absent = !path.exists();
    if absent {
        eprintln!("ignored: no {}; set RNN_DATA to the folder of real data", path.display());
    }
    let run = move || test(&path).map_err(|error| Failed::from(error.to_string()));
    Trial::test(name, run).with_ignored_flag(absent)
}

fn main() {
    let mut tests = vec![
        on("japanese_vowels/JapaneseVowels_TRAIN.ts", japanese_vowels),
        on("jsb_chorales/JSB_Chorales.json", jsb_chorales),
        on("names", names),
        on("tinyshakespeare/input.txt", tinyshakespeare),
        on("series", series),
        named("baselines_of_the_sunspots", "series/sunspots.csv", baselines_of_the_sunspots),
        named("baselines_of_shakespeare", "tinyshakespeare/input.txt", baselines_of_shakespeare),
    ];
    if cfg!(feature = "gzip") {
        tests.push(on("digits8x8/digits.csv.gz", digits));
    } else {
        eprintln!("ignored: digits8x8 is compressed; build with the feature `gzip`");
        tests.push(Trial::test("digits8x8", || Ok(())).with_ignored_flag(true));
    }
    tests.extend(wild::tests());
    tests.extend(memory::tests());
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

fn sum(sequences: &[Sequence]) -> f64 {
    sequences.iter().flat_map(|s| s.values()).map(|&x| f64::from(x)).sum()
}

fn counts(labels: &Labels) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    labels.values().iter().for_each(|label| *counts.entry(label.as_str()).or_default() += 1);
    counts
}

/// 270 and 370 utterances, 12 features, 7 to 29 steps, 9 speakers.
fn japanese_vowels(path: &Path) -> Result<(), Error> {
    let train = TsFile::read(path, Missing::Error)?;
    let test = TsFile::read(path.with_file_name("JapaneseVowels_TEST.ts"), Missing::Error)?;
    let steps = |file: &TsFile| file.sequences.iter().map(Sequence::len).collect::<Vec<_>>();
    for (file, count, total, longest, values) in
        [(&train, 270, 4274, 26, -1057.4523030000091), (&test, 370, 5687, 29, -2146.513429999953)]
    {
        assert_eq!((file.sequences.len(), steps(file).iter().sum::<usize>()), (count, total));
        assert_eq!((steps(file).iter().min(), steps(file).iter().max()), (Some(&7), Some(&longest)));
        assert!(file.sequences.iter().all(|sequence| sequence.features() == 12));
        // Each of some 60000 values is rounded to f32, about 3e-8 of its size.
        assert!((sum(&file.sequences) - values).abs() < 1e-2);
    }
    assert_eq!(train.sequences[0].column(11)?[..2], [0.088728, 0.093011]);
    assert_eq!(test.sequences[369].column(11)?[10], 0.224688);
    assert_eq!(counts(&train.labels).values().collect::<Vec<_>>(), [&30; 9]);
    assert_eq!(counts(&test.labels).into_values().collect::<Vec<_>>(), [31, 35, 88, 44, 29, 24, 40, 50, 29]);

    let classes = Classes::fit(&train.labels)?;
    assert_eq!(classes.names(), train.declared_classes);
    let labels = classes.encode(&test.labels)?;
    assert_eq!((labels[0], labels[369]), (0, 8));

    // A held-out part with every speaker's share, then batches of similar lengths.
    let shares = Shares::new(0.2, 0.0)?;
    let parts = stratified(train.labels.values(), shares, 1)?;
    let held = train.labels.select(&parts.validation)?;
    assert_eq!(counts(&held).values().collect::<Vec<_>>(), [&6; 9]);
    let config = BatchConfig::new(32).with_shuffle(3).with_bucket_width(8);
    let labels = classes.encode(&train.labels)?;
    let mut seen = 0;
    let (sequences, lengths) = (train.sequences.clone(), steps(&train));
    let batches = Batches::by_length(&lengths, &config)?.map(move |batch| {
        let x = pad(&batch.pick(&sequences)?, batch.bucket)?;
        Ok((x, batch.copy(&labels)?, batch))
    });
    for item in Prefetch::new(batches, 2)? {
        let (x, y, batch) = item?;
        let tensor = x.values.to_tensor(&Device::cpu())?;
        assert_eq!(tensor.dims(), [batch.bucket.unwrap_or(0), y.len(), 12]);
        for (b, &index) in batch.indices.iter().enumerate() {
            assert_eq!(x.lengths[b], lengths[index]);
            let last = ((x.lengths[b] - 1) * y.len() + b) * 12;
            let want = train.sequences[index].steps().last();
            assert_eq!(Some(&x.values.values()[last..last + 12]), want);
        }
        seen += y.len();
    }
    assert_eq!(seen, 270);
    Ok(())
}

/// 1797 images of 8 x 8, values 0 to 16, and the digit.
fn digits(path: &Path) -> Result<(), Error> {
    let table = Table::read(path, &TableOptions::new().with_header(false))?;
    assert_eq!((table.rows(), table.width()), (1797, 65));
    let pixels = table.sequence(&(0..64).collect::<Vec<usize>>(), Missing::Error)?;
    assert_eq!(sum(std::slice::from_ref(&pixels)), 561_718.0);
    let labels = table.labels(64)?;
    let per_digit = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];
    assert_eq!(counts(&labels).into_values().collect::<Vec<_>>(), per_digit);
    assert_eq!(Classes::fit(&labels)?.encode(&labels)?[1796], 8);
    let images = Image::from_steps(&pixels, 8, 8, 1)?;
    let rows = images[0].rows();
    assert_eq!((rows.len(), rows.features()), (8, 8));
    assert_eq!(rows.slice(0..1)?.values(), [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
    let patches = images[0].patches(2, 2)?;
    assert_eq!((patches.len(), patches.features()), (16, 4));
    assert_eq!(patches.slice(1..2)?.values(), [5.0, 13.0, 13.0, 15.0]);
    Ok(())
}

/// 229, 76 and 77 chorales; pitches 0 to 87.
fn jsb_chorales(path: &Path) -> Result<(), Error> {
    let parts = PianoRolls::read(path, 0, 88)?.sequences();
    // Pieces, steps, notes, sum of all pitches, shortest, longest.
    let facts = |pieces: &[Sequence]| {
        let steps = pieces.iter().flat_map(Sequence::steps);
        let pitches = |step: &[f32]| (0..88).filter(|&p| step[p] == 1.0).sum::<usize>();
        let pitches: usize = steps.map(pitches).sum();
        let lengths: Vec<usize> = pieces.iter().map(Sequence::len).collect();
        let (min, max) = (lengths.iter().min().copied(), lengths.iter().max().copied());
        (pieces.len(), lengths.iter().sum::<usize>(), sum(pieces), pitches, min, max)
    };
    assert_eq!(facts(&parts.train), (229, 13807, 53824.0, 2_854_113, Some(25), Some(129)));
    assert_eq!(facts(&parts.validation), (76, 4602, 17811.0, 954_107, Some(32), Some(144)));
    assert_eq!(facts(&parts.test), (77, 4725, 18367.0, 971_510, Some(32), Some(160)));
    let (x, y) = parts.train[0].next_step_pair()?;
    assert_eq!(x.slice(1..x.len())?, y.slice(0..y.len() - 1)?);
    let error = PianoRolls::read(path, 45, 88).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("JSB_Chorales.json") && error.contains("a pitch in 45..133"), "{error}");
    Ok(())
}

/// 20,050 names of 18 languages.
fn names(folder: &Path) -> Result<(), Error> {
    let all = LabelledStrings::read_folder(folder)?;
    let counts = counts(all.labels());
    assert_eq!((all.len(), counts.len(), counts["Russian"], counts["Vietnamese"]), (20_050, 18, 9384, 73));
    let vocabulary = VocabularyConfig::characters().fit(all.texts())?;
    assert_eq!(vocabulary.len(), 83);
    let encoded = all.encode(&vocabulary)?;
    assert_eq!(encoded.iter().map(Vec::len).max(), Some(20));
    assert_eq!(vocabulary.decode(&encoded[777])?, all.texts()[777]);

    let parts = stratified(all.labels().values(), Shares::new(0.0, 0.1)?, 5)?;
    assert_eq!((parts.train.len(), parts.test.len()), (18_045, 2005));
    let (train, test) = (all.select(&parts.train)?, all.select(&parts.test)?);
    let classes = Classes::fit(train.labels())?;
    assert_eq!(classes.encode(test.labels())?.len(), 2005);
    // Without one of the languages in training its names are refused with their place.
    let known = Labels::new(train.labels().values().iter().filter(|label| *label != "Greek").cloned());
    let error = Classes::fit(&known)?.encode(test.labels()).unwrap_err().to_string();
    assert!(error.contains("Greek.txt, line ") && error.contains("the label \"Greek\""), "{error}");
    Ok(())
}

/// 1,115,394 bytes, 65 symbols.
fn tinyshakespeare(path: &Path) -> Result<(), Error> {
    let text = read_text(path)?;
    let parts = chronological_text(&text, Shares::new(0.05, 0.05)?)?;
    assert_eq!((text.len(), parts.train.len()), (1_115_394, 1_003_855));
    let vocabulary = VocabularyConfig::characters().fit([parts.train])?;
    assert_eq!((vocabulary.len(), vocabulary.encode("First")?), (65, vec![18, 47, 56, 57, 58]));
    let train = vocabulary.encode(parts.train)?;
    let mut streams = Streams::of_indices(vec![train.clone()], &StreamConfig::new(32, 50))?;
    let length = (train.len() - 1) / 32;
    assert_eq!(streams.chunks_per_epoch(), length.div_ceil(50));
    let mut row: Vec<u32> = Vec::new();
    for chunk in streams.by_ref() {
        row.extend(chunk.x.values().iter().skip(7).step_by(32));
        assert_eq!(chunk.resets.contains(&true), chunk.first);
    }
    assert_eq!(row, train[7 * length..8 * length]);
    Ok(())
}

/// Sunspots 1700-2008, weekly CO2 with gaps, quarterly macroeconomics, monthly passengers.
fn series(folder: &Path) -> Result<(), Error> {
    let table = Table::read(folder.join("sunspots.csv"), &TableOptions::new())?;
    let years = table.numbers("YEAR", Missing::Error)?;
    let spots = table.sequence(&["SUNACTIVITY"], Missing::Error)?;
    let from = |year: f32| years.iter().position(|&y| y == year).unwrap_or(0);
    let (train, test) = (0..from(1921.0), from(1921.0)..from(1956.0));
    assert_eq!((spots.len(), train.len(), test.len()), (309, 221, 35));
    let normaliser = Normaliser::fit(Scaling::ZScore, [&spots.slice(train)?])?;
    assert!((normaliser.shift()[0] - 43.480_542_986).abs() < 1e-5, "{normaliser:?}");
    assert!((normaliser.scale()[0] - 34.189_317_636).abs() < 1e-5, "{normaliser:?}");
    let windows = Windows::with_targets_in(normaliser.apply(&spots)?, test, &WindowConfig::new(12))?;
    let all = windows.all()?;
    assert_eq!((windows.len(), all.x.dims(), all.y.dims()), (35, &[12, 35, 1][..], &[1, 35, 1][..]));
    let mut targets = all.y.into_values();
    normaliser.invert(&mut targets)?;
    // 1921 and 1955; scaling and back costs a few units in the last place.
    assert!((targets[0] - 26.1).abs() < 1e-4 && (targets[34] - 38.0).abs() < 1e-4);

    let table = Table::read(folder.join("co2.csv"), &TableOptions::new())?;
    let error = table.numbers("co2", Missing::Error).unwrap_err().to_string();
    assert!(error.contains("co2.csv, line 8, field \"co2\": a value is missing"), "{error}");
    let co2 = table.sequence(&["co2"], Missing::Keep)?;
    let present: Vec<f64> = co2.values().iter().filter(|x| !x.is_nan()).map(|&x| x.into()).collect();
    assert_eq!((co2.len(), present.len()), (2284, 2225));
    assert!((present.iter().sum::<f64>() - 756_816.5).abs() < 0.1);
    assert!(Windows::new(vec![co2.clone()], &WindowConfig::new(52)).is_err());
    assert_eq!(Windows::new(vec![co2.fill(Fill::Linear)?], &WindowConfig::new(52))?.len(), 2284 - 52);

    let table = Table::read(folder.join("macrodata.csv"), &TableOptions::new())?;
    let macros = table.sequence(&["realgdp", "infl"], Missing::Error)?;
    assert_eq!((table.rows(), table.width()), (203, 14));
    assert_eq!(macros.slice(202..203)?.values(), [12990.341, 3.56]);
    let table = Table::read(folder.join("Airline.csv"), &TableOptions::new())?;
    assert_eq!(table.strings("Date")?[143], "1960-12");
    assert_eq!(table.numbers(1, Missing::Error)?.iter().sum::<f32>(), 40_363.0);
    Ok(())
}

/// Persistence, seasonal and mean forecasts of the years 1921 to 1955.
fn baselines_of_the_sunspots(path: &Path) -> Result<(), Error> {
    let text = read_text(path)?;
    let value = |line: &str| line.split(',').nth(1).unwrap().trim().parse().unwrap();
    let series: Vec<f32> = text.lines().skip(1).filter(|line| !line.is_empty()).map(value).collect();
    let (from, end) = (1921 - 1700, 1956 - 1700);
    let reference = variance(&series[..1980 - 1700]).unwrap();
    let errors = |predictions: Vec<f32>| {
        let mut errors = RegressionErrors::new();
        errors.add(&predictions, &series[from..end]).unwrap();
        errors
    };
    // Values are given to a tenth: f32 keeps seven digits of them.
    let near =
        |got: Result<f64, Error>, want: f64| assert!((got.unwrap() / want - 1.0).abs() < 1e-6, "{want}");
    near(Ok(reference), 1495.5937651785714);
    let known = &series[..end];
    let last = errors(persistence(known, from, 1).unwrap());
    near(last.mse(), 638.310857142857);
    near(last.arv(reference), 0.4267942752934944);
    near(errors(seasonal_naive(known, from, 11, 1).unwrap()).mse(), 630.7102857142858);
    near(errors(training_mean(known, from).unwrap()).mse(), 1764.34977611901);
    Ok(())
}

/// Letters by themselves and by the one before, with one added to every count.
fn baselines_of_shakespeare(path: &Path) -> Result<(), Error> {
    let text = read_text(path)?;
    let mut letters: Vec<char> = text.chars().collect();
    let all = letters.clone();
    letters.sort_unstable();
    letters.dedup();
    let tokens: Vec<u32> = all.iter().map(|c| letters.binary_search(c).unwrap() as u32).collect();
    let (train, test) = tokens.split_at(tokens.len() * 9 / 10);
    let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-9, "{got} is not {want}");
    let unigram = Unigram::fit([train], letters.len(), 1.0).unwrap().likelihood([test]).unwrap();
    near(unigram.nats().unwrap(), 3.3473303372789287);
    let bigram = Bigram::fit([train], letters.len(), 1.0).unwrap().likelihood([test]).unwrap();
    near(bigram.nats().unwrap(), 2.4819221928184843);
    Ok(())
}
