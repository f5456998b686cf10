//! Files of the kinds that people have: `../shared/conformance/wild` beside the checkout, whose README.md says what is
//! right. Sounds are in the unit tests of `data::audio`.

use super::{Failed, Path, PathBuf, Trial};
use rnn_api::Error;
use rnn_api::data::*;

type Check = fn(&Path) -> Result<(), Error>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/wild")
}

pub(crate) fn tests() -> Vec<Trial> {
    let checks: [(&str, Check); 10] = [
        ("decimal_comma.csv", decimal_comma),
        ("comment_lines.csv", comment_lines),
        ("cr_line_ends.csv", cr_line_ends),
        ("latin1.csv", latin1),
        ("utf16.csv", utf16),
        ("rests_minus_one.json", rests_minus_one),
        ("time_stamps.ts", time_stamps),
        ("unequal_dimensions.ts", unequal_dimensions),
        ("label_1_and_1.0.ts", label_1_and_1_0),
        ("protein.faa", protein),
    ];
    checks.into_iter().map(|(file, check)| test(file, check)).collect()
}

fn test(file: &'static str, check: Check) -> Trial {
    let path = folder().join(file);
    let absent = !path.exists();
    if absent {
        eprintln!("ignored: no {}", path.display());
    }
    let run = move || check(&path).map_err(|error| Failed::from(error.to_string()));
    Trial::test(format!("wild::{file}"), run).with_ignored_flag(absent)
}

fn options() -> TableOptions {
    TableOptions::new()
}

/// Two empty columns and an empty last line, as a spreadsheet writes them.
fn decimal_comma(path: &Path) -> Result<(), Error> {
    let table = Table::read(path, &options().with_decimal_comma())?;
    assert_eq!((table.rows(), table.width()), (2, 6));
    assert_eq!(table.numbers("CO(GT)", Missing::Error)?, [2.6, 2.0]);
    assert_eq!(table.numbers(3, Missing::Error)?, [1360.0, 1292.0]);
    let times = table.times(&["Date", "Time"], DateOrder::DayFirst)?;
    // 10 March 2004, 18:00 and 19:00.
    assert_eq!(times, [1_078_941_600.0, 1_078_945_200.0]);
    let error = Table::read(path, &options())?.numbers("CO(GT)", Missing::Error).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("with_decimal_comma"), "{error}");
    Ok(())
}

fn comment_lines(path: &Path) -> Result<(), Error> {
    for options in [options().with_comment('#'), options().with_skip_lines(2)] {
        let table = Table::read(path, &options)?;
        assert_eq!(table.names(), Some(&["year".to_string(), "co2".into()][..]));
        assert_eq!(table.sequence(&["year", "co2"], Missing::Error)?.values(), [1958.0, 315.7]);
    }
    let error = Table::read(path, &options()).unwrap_err().to_string();
    assert!(error.contains("with_comment"), "{error}");
    Ok(())
}

fn cr_line_ends(path: &Path) -> Result<(), Error> {
    let table = Table::read(path, &options())?;
    assert_eq!(table.sequence(&["x", "y"], Missing::Error)?.values(), [1.0, 2.0, 3.0, 4.0]);
    Ok(())
}

fn latin1(path: &Path) -> Result<(), Error> {
    let latin1 = TextOptions::new().with_encoding("latin1");
    let table = Table::read(path, &options().with_text(latin1))?;
    assert_eq!(table.numbers("temp °C", Missing::Error)?, [1.0]);
    let error = Table::read(path, &options()).unwrap_err().to_string();
    assert!(error.contains("line 1, column 6") && error.contains("with_encoding"), "{error}");
    Ok(())
}

fn utf16(path: &Path) -> Result<(), Error> {
    assert_eq!(read_text(path)?, "x,y\n");
    let table = Table::read(path, &options().with_header(false))?;
    assert_eq!((table.strings(0)?, table.strings(1)?), (vec!["x"], vec!["y"]));
    Ok(())
}

fn rests_minus_one(path: &Path) -> Result<(), Error> {
    let rolls = PianoRolls::read(path, 21, 88)?;
    let chord = [74, 70, 65, 58].map(|note| note - 21).to_vec();
    let pieces = rolls.pieces();
    assert_eq!(pieces.test, [vec![chord.clone(), vec![]]]);
    assert_eq!(pieces.train, [vec![chord, vec![75 - 21, 65 - 21, 58 - 21]]]);
    assert_eq!(rolls.sequences().test[0].values()[88..], [0.0; 88]);
    Ok(())
}

fn time_stamps(path: &Path) -> Result<(), Error> {
    let file = TsFile::read(path, Missing::Error)?;
    assert_eq!((file.sequences[0].values(), &file.targets[..]), (&[19.89, 19.92][..], &[13.5][..]));
    // 11 January 2016, 17:00 and 17:10.
    assert_eq!(file.times, [[1_452_531_600.0, 1_452_532_200.0]]);
    Ok(())
}

fn unequal_dimensions(path: &Path) -> Result<(), Error> {
    let error = TsFile::read(path, Missing::Error).unwrap_err().to_string();
    assert!(
        error.contains("line 5, feature 1: expected 3 steps") && error.contains("with_unequal"),
        "{error}"
    );
    let padded = TsOptions::new().with_unequal(UnequalDimensions::Pad(0.0));
    let file = TsFile::read_with(path, &padded)?;
    assert_eq!(file.sequences[0].values(), [1.0, 4.0, 2.0, 5.0, 3.0, 0.0]);
    Ok(())
}

fn label_1_and_1_0(path: &Path) -> Result<(), Error> {
    let file = TsFile::read(path, Missing::Error)?;
    assert_eq!(
        (file.labels.values(), &file.declared_classes),
        (&["1".to_string(), "2".into()][..], &vec!["1".into(), "2".into()])
    );
    assert_eq!(Classes::fit(&file.labels)?.encode(&Labels::new(["1.0", "2.0"]))?, [0, 1]);
    Ok(())
}

fn protein(path: &Path) -> Result<(), Error> {
    assert!(Fasta::is_fasta(&read_text(path)?));
    let records = Fasta::read(path)?;
    let sequences: Vec<&str> = records.iter().map(|record| record.sequence.as_str()).collect();
    assert_eq!(sequences, ["ACGTNRYKacgtn", "AC-GT"]);
    assert_eq!((records[0].id(), records[1].header.as_str()), ("s1", "s2"));
    Ok(())
}
