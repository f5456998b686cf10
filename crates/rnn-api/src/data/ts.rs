//! The `.ts` format of the UCR and UEA archives (Bagnall et al. 2018, "The UEA multivariate time
//! series classification archive").

use super::error::{Place, Problem};
use super::labels::Labels;
use super::number::number;
use super::sequence::{Missing, Sequence};
use super::text::read_text;
use crate::Result;
use std::path::Path;

/// A `.ts` file: sequences, ragged or not, of one or more features, with labels or target values.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TsFile {
    /// The value of `@problemName`.
    pub name: Option<String>,
    /// One per line, `[T, dimensions]`.
    pub sequences: Vec<Sequence>,
    /// One label per sequence if the file has `@classLabel true`, else empty.
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
    /// As [`read_text`] and [`TsFile::parse`].
    pub fn read(path: impl AsRef<Path>, missing: Missing) -> Result<Self> {
        parse(&read_text(&path)?, missing, Some(path.as_ref()))
    }

    /// Reads text.
    ///
    /// # Errors
    /// There are no sequences; a line does not follow the format or contradicts the header; the dimensions of a
    /// sequence differ in length; a label was not declared; a value is not a number or not finite, or it is missing
    /// and `missing` does not allow it; or the file has time stamps, which are not supported.
    pub fn parse(text: &str, missing: Missing) -> Result<Self> {
        parse(text, missing, None)
    }
}

/// The header: the lines that begin with `@`.
#[derive(Default)]
struct Header {
    dimensions: Option<usize>,
    length: Option<usize>,
    equal_length: bool,
    labelled: bool,
    target: bool,
}

fn parse(text: &str, missing: Missing, path: Option<&Path>) -> Result<TsFile> {
    let mut file = TsFile {
        name: None,
        sequences: Vec::new(),
        labels: Labels::default(),
        declared_classes: Vec::new(),
        targets: Vec::new(),
    };
    file.labels.start_file(path);
    let mut header = Header::default();
    let mut in_data = false;
    for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text.trim())) {
        let place = || Place::file(path).line(line);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if in_data {
            data_line(text, missing, &mut header, &mut file, line).map_err(|error| {
                error.located(|found| Place { file: path.map(Path::to_path_buf), line: Some(line), ..found })
            })?;
        } else if text.eq_ignore_ascii_case("@data") {
            in_data = true;
        } else {
            header_line(text, &mut header, &mut file).map_err(|problem| problem.at(place()))?;
        }
    }
    if file.sequences.is_empty() {
        let what = if in_data { "the part after @data" } else { "the file (it has no @data)" };
        return Err(Problem::Empty { what }.at(Place::file(path)));
    }
    Ok(file)
}

fn header_line(text: &str, header: &mut Header, file: &mut TsFile) -> std::result::Result<(), Problem> {
    let mut words = text.split_whitespace();
    let key = words.next().unwrap_or("").to_ascii_lowercase();
    let rest: Vec<&str> = words.collect();
    let flag = || match rest.first() {
        Some(word) if word.eq_ignore_ascii_case("true") => Ok(true),
        Some(word) if word.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(Problem::format(format!("true or false after {key}"), text)),
    };
    let count = || match rest.first().and_then(|word| word.parse::<usize>().ok()) {
        Some(count) if count > 0 => Ok(Some(count)),
        _ => Err(Problem::format(format!("a positive number after {key}"), text)),
    };
    match key.as_str() {
        "@problemname" => file.name = Some(rest.join(" ")),
        "@timestamps" if flag()? => return Err(Problem::format("values without time stamps", text)),
        "@univariate" if flag()? => header.dimensions = Some(1),
        "@dimensions" | "@dimension" => header.dimensions = count()?,
        "@serieslength" => header.length = count()?,
        "@equallength" => header.equal_length = flag()?,
        "@targetlabel" => header.target = flag()?,
        "@classlabel" => {
            header.labelled = flag()?;
            file.declared_classes = rest[1..].iter().map(|label| label.to_string()).collect();
        }
        "@timestamps" | "@univariate" => {}
        // Header fields that the values already imply, or that a reader does not need.
        _ if key.starts_with('@') => {}
        _ => return Err(Problem::format("a line that begins with @, then @data", text)),
    }
    Ok(())
}

fn data_line(
    text: &str,
    missing: Missing,
    header: &mut Header,
    file: &mut TsFile,
    line: usize,
) -> Result<()> {
    let mut parts: Vec<&str> = text.split(':').map(str::trim).collect();
    let label = if header.labelled || header.target { parts.pop() } else { None };
    if parts.is_empty() {
        return Err(Problem::format("values, a colon and a label", text).at(Place::default()));
    }
    let expected = *header.dimensions.get_or_insert(parts.len());
    if parts.len() != expected {
        let (what, got) = ("dimensions (parts between colons, without the label)", parts.len());
        return Err(Problem::Ragged { what, expected, got }.at(Place::default()));
    }
    let mut columns = Vec::with_capacity(parts.len());
    for (feature, part) in parts.iter().enumerate() {
        let place = Place::default().feature(feature);
        if part.is_empty() {
            return Err(Problem::Empty { what: "the dimension" }.at(place));
        }
        if part.starts_with('(') {
            return Err(Problem::format("values without time stamps", part).at(place));
        }
        let value = |(step, text): (usize, &str)| match number(text) {
            Ok(value) => Ok(value),
            Err(Problem::Missing) if missing == Missing::Keep => Ok(f32::NAN),
            Err(problem) => Err(problem.at(Place::default().step(step).feature(feature))),
        };
        columns.push(part.split(',').enumerate().map(value).collect::<Result<Vec<f32>>>()?);
    }
    let sequence = Sequence::from_columns(&columns)?;
    if header.equal_length {
        let expected = *header.length.get_or_insert(sequence.len());
        if sequence.len() != expected {
            let problem = Problem::Ragged { what: "steps", expected, got: sequence.len() };
            return Err(problem.at(Place::default()));
        }
    }
    let label = label.unwrap_or("");
    if header.labelled {
        if label.is_empty() {
            return Err(Problem::Empty { what: "the label" }.at(Place::default()));
        }
        if !file.declared_classes.is_empty() && !file.declared_classes.iter().any(|known| known == label) {
            let (label, known) = (label.to_string(), file.declared_classes.clone());
            return Err(Problem::UnknownLabel { label, known }.at(Place::default()));
        }
        file.labels.push(label, line);
    } else if header.target {
        file.targets.push(number(label).map_err(|problem| problem.at(Place::default().field("target")))?);
    }
    file.sequences.push(sequence);
    Ok(())
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
        assert_eq!(error("1,2:3:up\n"), "line 9, feature 1: expected 2 steps, got 1");
        assert!(error("1,2:3,4:left\n").starts_with("line 9: the label \"left\""));
        assert!(error("1,x:3,4:up\n").starts_with("line 9, step 1, feature 0: expected a number"));
        assert!(error(":3,4:up\n").starts_with("line 9, feature 0: the dimension is empty"));
        assert!(error("(0,1),(1,2):3,4:up\n").contains("time stamps"));
        assert!(error("").starts_with("the part after @data is empty"));
        let bad = |text: &str| TsFile::parse(text, Missing::Error).unwrap_err().to_string();
        assert!(bad("1,2\n").starts_with("line 1: expected a line that begins with @"));
        assert!(bad("@timeStamps true\n@data\n").contains("time stamps"));
        assert!(bad("@dimensions none\n").starts_with("line 1: expected a positive number"));
        assert!(bad("@classLabel\n").starts_with("line 1: expected true or false"));
        let equal = bad("@equalLength true\n@univariate true\n@data\n1,2\n1\n");
        assert_eq!(equal, "line 5: expected 2 steps, got 1");
        let labelled = |line: &str| bad(&format!("@classLabel true\n@data\n{line}\n"));
        assert!(labelled("1,2").starts_with("line 3: expected values, a colon and a label"));
        assert_eq!(labelled("1,2:"), "line 3: the label is empty");
        assert_eq!(bad("@problemName x\n"), "the file (it has no @data) is empty");
    }
}
