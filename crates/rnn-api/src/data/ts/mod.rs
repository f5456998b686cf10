//! The `.ts` format of the UCR and UEA archives (Bagnall et al. 2018, "The UEA multivariate time series classification
//! archive"), and of the archive for regression, which has time stamps (Tan et al. 2020, "Monash University, UEA, UCR
//! time series extrinsic regression archive").

mod header;
mod line;
mod options;

pub use options::{TsOptions, UnequalDimensions};

use super::error::{Place, Problem};
use super::labels::Labels;
use super::sequence::{Missing, Sequence};
use super::text::{numbered_lines, read_text_with};
use crate::Result;
use header::Header;
use line::{Label, Record};
use std::path::Path;

/// A `.ts` file: sequences, ragged or not, of one or more features, with labels or target values.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TsFile {
    /// The value of `@problemName`.
    pub name: Option<String>,
    /// One per line, `[T, dimensions]`.
    pub sequences: Vec<Sequence>,
    /// The times of the steps of each sequence, if the file has `@timeStamps true`, else empty. Dates are seconds since
    /// 1970-01-01, numbers are as they stand in the file.
    pub times: Vec<Vec<f64>>,
    /// One label per sequence if the file has `@classLabel true`, else empty. A label that equals a declared one as a
    /// number, such as `1.0` for `1`, is the declared one.
    pub labels: Labels,
    /// The labels declared in the file, in order.
    pub declared_classes: Vec<String>,
    /// One value per sequence if the file has `@targetLabel true`, else empty.
    pub targets: Vec<f32>,
}

impl TsFile {
    /// Reads a file. Missing values are written as `?` or `NaN`.
    ///
    /// # Errors
    /// As [`TsFile::read_with`].
    pub fn read(path: impl AsRef<Path>, missing: Missing) -> Result<Self> {
        Self::read_with(path, &TsOptions::new().with_missing(missing))
    }

    /// Reads a file with options.
    ///
    /// # Errors
    /// As [`read_text_with`] and [`TsFile::parse_with`].
    pub fn read_with(path: impl AsRef<Path>, options: &TsOptions) -> Result<Self> {
        parse(&read_text_with(&path, &options.text)?, options, Some(path.as_ref()))
    }

    /// Reads text.
    ///
    /// # Errors
    /// As [`TsFile::parse_with`].
    pub fn parse(text: &str, missing: Missing) -> Result<Self> {
        Self::parse_with(text, &TsOptions::new().with_missing(missing))
    }

    /// Reads text with options. Those of files, [`TsOptions::text`], do not apply.
    ///
    /// # Errors
    /// There are no sequences; a line does not follow the format or contradicts the header; the dimensions of a
    /// sequence differ in their times, or in length unless they are padded; a label was not declared; a value is not a
    /// number or not finite, is an integer that f32 does not have, or is missing and the options do not allow it.
    pub fn parse_with(text: &str, options: &TsOptions) -> Result<Self> {
        parse(text, options, None)
    }
}

fn parse(text: &str, options: &TsOptions, path: Option<&Path>) -> Result<TsFile> {
    options.check()?;
    let (mut sequences, mut times, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    let mut labels = Labels::default();
    labels.start_file(path);
    let mut header = Header::default();
    let mut in_data = false;
    for (line, text) in numbered_lines(text) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if in_data {
            let record = Record::parse(text, options, &mut header).map_err(|error| {
                error.located(|found| Place { file: path.map(Path::to_path_buf), line: Some(line), ..found })
            })?;
            match record.label {
                Label::Class(class) => labels.push(class, line),
                Label::Target(target) => targets.push(target),
                Label::None => {}
            }
            times.extend(record.times);
            sequences.push(record.sequence);
        } else if text.eq_ignore_ascii_case("@data") {
            in_data = true;
        } else {
            let place = || Place::file(path).line(line);
            header.read(text).map_err(|problem| problem.at(place()))?;
        }
    }
    if sequences.is_empty() {
        let what = if in_data { "the part after @data" } else { "the file (it has no @data)" };
        return Err(Problem::Empty { what }.at(Place::file(path)));
    }
    let Header { name, declared_classes, .. } = header;
    Ok(TsFile { name, sequences, times, labels, declared_classes, targets })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# comment\n@problemName Two words\n@timeStamps false\n@univariate false\n\
                        @dimensions 2\n@equalLength false\n@classLabel true up down\n@data\n";

    fn error(lines: &str) -> String {
        TsFile::parse(&format!("{HEAD}{lines}"), Missing::Error).unwrap_err().to_string()
    }

    #[test]
    fn ragged_and_multivariate() {
        let file = TsFile::parse(&format!("{HEAD}1,2,3:4,5,6:up\n\n-1:2e1:down\n"), Missing::Error).unwrap();
        assert_eq!(file.name.as_deref(), Some("Two words"));
        assert_eq!(file.sequences[0].values(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!((file.sequences[1].len(), file.sequences[1].values()), (1, &[-1.0, 20.0][..]));
        assert_eq!(file.labels.values(), ["up", "down"]);
        assert_eq!(file.declared_classes, ["up", "down"]);
    }

    #[test]
    fn univariate_without_labels_and_with_targets() {
        let file = TsFile::parse("@univariate true\n@data\n1,2\n3\n", Missing::Error).unwrap();
        assert!(file.labels.is_empty() && file.sequences.len() == 2 && file.sequences[0].features() == 1);
        let file = TsFile::parse("@targetLabel true\n@data\n1,2:3,4:0.5\n", Missing::Error).unwrap();
        assert_eq!((file.targets.as_slice(), file.sequences[0].features()), (&[0.5][..], 2));
    }

    #[test]
    fn missing_values_follow_the_policy() {
        assert!(error("1,?:3,4:up\n").starts_with("line 9, step 1, feature 0: a value is missing"));
        let kept = TsFile::parse(&format!("{HEAD}1,?:NaN,4:up\n"), Missing::Keep).unwrap();
        let nan: Vec<bool> = kept.sequences[0].values().iter().map(|x| x.is_nan()).collect();
        assert_eq!(nan, [false, true, true, false]);
    }

    #[test]
    fn contradictions_are_named() {
        assert!(error("1,2:3,4:5:up\n").starts_with("line 9: expected 2 dimensions"));
        let unequal = error("1,2:3:up\n");
        assert!(unequal.starts_with("line 9, feature 1: expected 2 steps as in the longest"), "{unequal}");
        assert!(
            unequal.ends_with("got 1")
                && error("3:1,2:up\n").starts_with("line 9, feature 0: expected 2 steps")
        );
        assert!(error("1,2:3,4:left\n").starts_with("line 9: the label \"left\""));
        assert!(error("1,x:3,4:up\n").starts_with("line 9, step 1, feature 0: expected a number"));
        assert!(error(":3,4:up\n").starts_with("line 9, feature 0: the dimension is empty"));
        assert!(error("(0,1),(1,2):3,4:up\n").contains("or @timeStamps true"));
        assert!(error("").starts_with("the part after @data is empty"));
        let bad = |text: &str| TsFile::parse(text, Missing::Error).unwrap_err().to_string();
        assert!(bad("1,2\n").starts_with("line 1: expected a line that begins with @"));
        assert!(
            bad("@timeStamps true\n@data\n1,2\n").contains("step 0, feature 0: expected a pair (time,value)")
        );
        assert!(bad("@dimensions none\n").starts_with("line 1: expected a positive number"));
        assert!(bad("@classLabel\n").starts_with("line 1: expected true or false"));
        let equal = bad("@equalLength true\n@univariate true\n@data\n1,2\n1\n");
        assert_eq!(equal, "line 5: expected 2 steps, got 1");
        let labelled = |line: &str| bad(&format!("@classLabel true\n@data\n{line}\n"));
        assert!(labelled("1,2").starts_with("line 3: expected values, a colon and a label"));
        assert_eq!(labelled("1,2:"), "line 3: the label is empty");
        assert_eq!(bad("@problemName x\n"), "the file (it has no @data) is empty");
    }

    fn stamped(lines: &str, options: &TsOptions) -> Result<TsFile> {
        TsFile::parse_with(&format!("@timeStamps true\n@targetLabel true\n@data\n{lines}"), options)
    }

    #[test]
    fn time_stamps_are_dates_or_numbers() {
        let plain = TsOptions::new();
        let text = "(2016-01-11 17:00:00,19.5),(2016-01-11 17:10:00,20):(2016-01-11 17:00:00,1),(2016-01-11 17:10:00,2):13.5\n";
        let file = stamped(text, &plain).unwrap();
        assert_eq!(file.sequences[0].values(), [19.5, 1.0, 20.0, 2.0]);
        assert_eq!((file.times, file.targets), (vec![vec![1_452_531_600.0, 1_452_532_200.0]], vec![13.5]));
        let file = stamped("(0,1),(2.5,-2):1\n(7,3):2\n", &plain).unwrap();
        assert_eq!(file.times, [vec![0.0, 2.5], vec![7.0]]);
        let error = |lines: &str| stamped(lines, &plain).unwrap_err().to_string();
        assert!(
            error("(0,1),(1,2):(0,3),(9,4):1\n")
                .starts_with("line 4, step 1, feature 1: expected the time of")
        );
        assert!(error("(soon,1):1\n").starts_with("line 4, step 0, feature 0: expected a time stamp"));
        assert!(error("(0,1,(1,2):1\n").contains("expected"));
        // A value in place of a pair, an empty pair, a pair without its end.
        for lines in ["(0,1),2:1\n", "():1\n", "(0,1:1\n", "(0,x):1\n", "(0,?):1\n"] {
            assert!(stamped(lines, &plain).is_err(), "{lines}");
        }
    }

    #[test]
    fn dimensions_of_unequal_length_are_padded_on_request() {
        let read = |options: &TsOptions| TsFile::parse_with(&format!("{HEAD}1,2,3:4,5:up\n"), options);
        let pad = |value| TsOptions::new().with_unequal(UnequalDimensions::Pad(value));
        assert_eq!(read(&pad(-1.0)).unwrap().sequences[0].values(), [1.0, 4.0, 2.0, 5.0, 3.0, -1.0]);
        let kept = read(&pad(f32::NAN).with_missing(Missing::Keep)).unwrap();
        assert!(kept.sequences[0].values()[5].is_nan() && kept.sequences[0].has_missing());
        assert!(read(&pad(f32::NAN)).unwrap_err().to_string().contains("TsOptions: unequal"));
        assert!(read(&pad(f32::INFINITY)).is_err());
        let file = stamped("(0,1),(1,2):(0,3):1\n", &pad(0.0)).unwrap();
        assert_eq!(
            (file.sequences[0].values(), &file.times[0][..]),
            (&[1.0, 3.0, 2.0, 0.0][..], &[0.0, 1.0][..])
        );
    }

    #[test]
    fn labels_that_equal_a_declared_number_are_that_class() {
        let head = "@univariate true\n@classLabel true 1 2 x\n@data\n";
        let file = TsFile::parse(&format!("{head}1:1.0\n2:2.000e+00\n3:x\n"), Missing::Error).unwrap();
        assert_eq!(file.labels.values(), ["1", "2", "x"]);
        assert!(TsFile::parse(&format!("{head}1:1.5\n"), Missing::Error).is_err());
    }

    #[test]
    fn integers_beyond_f32_are_named() {
        let text = "@univariate true\n@data\n1,20000001\n";
        let error = TsFile::parse(text, Missing::Error).unwrap_err().to_string();
        assert!(
            error.starts_with("line 3, step 1, feature 0: the integer 20000001 would be rounded"),
            "{error}"
        );
        let rounded = TsFile::parse_with(text, &TsOptions::new().with_rounded_integers()).unwrap();
        assert_eq!(rounded.sequences[0].values(), [1.0, 20_000_000.0]);
    }
}
