//! A line of data of a `.ts` file: dimensions between colons, then a label or a target.

use super::header::Header;
use super::options::{TsOptions, UnequalDimensions};
use crate::Result;
use crate::data::error::{Place, Problem};
use crate::data::labels::NumberLabel;
use crate::data::number::NumberFormat;
use crate::data::reserve::room;
use crate::data::sequence::{Missing, Sequence};
use crate::data::table::{DateOrder, seconds};

/// The sequence of a line.
pub(super) struct Record {
    pub(super) sequence: Sequence,
    /// The times of its steps, if the file has them.
    pub(super) times: Option<Vec<f64>>,
    pub(super) label: Label,
}

/// What stands after the dimensions.
pub(super) enum Label {
    Class(String),
    Target(f32),
    None,
}

/// The values of a dimension, and their times if the file has them.
#[derive(Default)]
struct Dimension {
    values: Vec<f32>,
    times: Vec<f64>,
}

impl Record {
    /// Reads a line. The first one decides what the header leaves open.
    pub(super) fn parse(text: &str, options: &TsOptions, header: &mut Header) -> Result<Self> {
        let mut parts = split_outside(text, ':');
        let label = if header.labelled || header.target { parts.pop() } else { None };
        if parts.is_empty() {
            return Err(Problem::format("values, a colon and a label", text).at(Place::default()));
        }
        let expected = *header.dimensions.get_or_insert(parts.len());
        if parts.len() != expected {
            let (what, got) = ("dimensions (parts between colons, without the label)", parts.len());
            return Err(Problem::Ragged { what, expected, got }.at(Place::default()));
        }
        let format = options.numbers();
        let read = |(feature, part): (usize, &&str)| {
            dimension(part, options.missing, &format, header.times)
                .map_err(|error| error.located(|place| place.feature(feature)))
        };
        let mut dimensions = parts.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
        let times = common_times(&mut dimensions, header.times)?;
        let sequence = side_by_side(&dimensions, options.unequal)?;
        if header.equal_length {
            let expected = *header.length.get_or_insert(sequence.len());
            if sequence.len() != expected {
                let problem = Problem::Ragged { what: "steps", expected, got: sequence.len() };
                return Err(problem.at(Place::default()));
            }
        }
        let label = Label::parse(label.unwrap_or(""), header, &format)?;
        Ok(Record { sequence, times, label })
    }
}

/// The parts between a separator, except where it stands in parentheses, as in times of day.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0usize;
    let outside = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == separator && depth == 0
    };
    text.split(outside).map(str::trim).collect()
}

fn dimension(text: &str, missing: Missing, format: &NumberFormat, stamped: bool) -> Result<Dimension> {
    if text.is_empty() {
        return Err(Problem::Empty { what: "the dimension" }.at(Place::default()));
    }
    let mut dimension = Dimension::default();
    for (step, part) in split_outside(text, ',').into_iter().enumerate() {
        let place = Place::default().step(step);
        let pair = part.strip_prefix('(').and_then(|part| part.strip_suffix(')'));
        let value = match (stamped, pair.and_then(|pair| pair.rsplit_once(','))) {
            (false, _) if part.starts_with('(') => {
                return Err(
                    Problem::format("values without time stamps, or @timeStamps true", part).at(place)
                );
            }
            (false, _) => part,
            (true, Some((time, value))) => {
                dimension.times.push(time_stamp(time).map_err(|problem| problem.at(place.clone()))?);
                value
            }
            (true, None) => return Err(Problem::format("a pair (time,value)", part).at(place)),
        };
        dimension.values.push(match format.single(value) {
            Err(Problem::Missing) if missing == Missing::Keep => f32::NAN,
            value => value.map_err(|problem| problem.at(place))?,
        });
    }
    Ok(dimension)
}

/// A number, or a date with a time of day or none.
fn time_stamp(text: &str) -> std::result::Result<f64, Problem> {
    let text = text.trim();
    let number = text.parse().ok().filter(|time: &f64| time.is_finite());
    let time = number.or_else(|| seconds(text, DateOrder::YearFirst));
    time.ok_or_else(|| Problem::format("a time stamp: a number, or year, month and day", text))
}

/// The times that all dimensions have, of which the shorter ones may have fewer.
fn common_times(dimensions: &mut [Dimension], stamped: bool) -> Result<Option<Vec<f64>>> {
    if !stamped {
        return Ok(None);
    }
    let times: Vec<Vec<f64>> =
        dimensions.iter_mut().map(|dimension| std::mem::take(&mut dimension.times)).collect();
    // Of equally long ones the first.
    let longest = times.iter().rev().max_by_key(|times| times.len()).cloned().unwrap_or_default();
    for (feature, times) in times.iter().enumerate() {
        if let Some(step) = times.iter().zip(&longest).position(|(a, b)| a != b) {
            let expected = format!("the time of the other dimensions, {}", longest[step]);
            let problem = Problem::format(expected, times[step].to_string());
            return Err(problem.at(Place::default().step(step).feature(feature)));
        }
    }
    Ok(Some(longest))
}

/// The dimensions as a sequence `[T, dimensions]`. Shorter ones are continued or refused.
fn side_by_side(dimensions: &[Dimension], unequal: UnequalDimensions) -> Result<Sequence> {
    let steps = dimensions.iter().map(|dimension| dimension.values.len()).max().unwrap_or(0);
    let padding = match unequal {
        UnequalDimensions::Pad(value) => value,
        UnequalDimensions::Refuse => {
            let shorter = |dimension: &Dimension| dimension.values.len() < steps;
            if let Some(feature) = dimensions.iter().position(shorter) {
                let what = "steps as in the longest dimension (TsOptions::with_unequal pads shorter ones)";
                let got = dimensions[feature].values.len();
                let problem = Problem::Ragged { what, expected: steps, got };
                return Err(problem.at(Place::default().feature(feature)));
            }
            f32::NAN
        }
    };
    // A few values and one long dimension may ask for a lot.
    let mut values = room("TsFile::read", "the values [T, dimensions] =", &[steps, dimensions.len()])?;
    for step in 0..steps {
        values.extend(dimensions.iter().map(|dimension| *dimension.values.get(step).unwrap_or(&padding)));
    }
    Sequence::with_missing(values, dimensions.len())
}

impl Label {
    fn parse(text: &str, header: &Header, format: &NumberFormat) -> Result<Self> {
        if header.labelled {
            class(text, &header.declared_classes).map(Label::Class)
        } else if header.target {
            let target = format.single(text);
            target.map(Label::Target).map_err(|problem| problem.at(Place::default().field("target")))
        } else {
            Ok(Label::None)
        }
    }
}

/// A label, as it was declared if it was.
fn class(label: &str, known: &[String]) -> Result<String> {
    if label.is_empty() {
        return Err(Problem::Empty { what: "the label" }.at(Place::default()));
    }
    let same = known.iter().find(|known| *known == label).or_else(|| {
        known
            .iter()
            .find(|known| NumberLabel::of(label).is_some_and(|label| NumberLabel::of(known) == Some(label)))
    });
    if same.is_none() && !known.is_empty() {
        let (label, known) = (label.to_string(), known.to_vec());
        return Err(Problem::UnknownLabel { label, known }.at(Place::default()));
    }
    Ok(same.map_or(label, String::as_str).to_string())
}
