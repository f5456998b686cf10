//! Normalizers as ND4J's `NormalizerSerializer` writes them: a header, a flag for labels, and arrays.

use super::array::Input;

/// How features, and labels if they were fitted, are scaled.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalizer {
    /// To mean 0 and standard deviation 1: each pair is the means and the deviations.
    Standardize {
        /// Of the features.
        features: Statistics,
        /// Of the labels.
        labels: Option<Statistics>,
    },
    /// To a range: each pair is the least and the greatest values.
    MinMax {
        /// The range of scaled values.
        target: (f64, f64),
        /// Of the features.
        features: Statistics,
        /// Of the labels.
        labels: Option<Statistics>,
    },
}

/// Two numbers for each column: means and standard deviations, or least and greatest values.
pub type Statistics = (Vec<f32>, Vec<f32>);

impl Normalizer {
    /// Reads the bytes of `normalizer.bin`.
    ///
    /// # Errors
    /// What is damaged, or not understood, in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut input = Input(bytes);
        let header = input.text("the header")?;
        if header != "NORMALIZER" {
            return Err(format!("the header is `{header}`, not `NORMALIZER`"));
        }
        let version = input.i32("the version")?;
        if version != 1 {
            return Err(format!("version {version} of the format is not read, only version 1"));
        }
        let normalizer = match input.text("the kind of normalizer")? {
            "STANDARDIZE" => standardize(&mut input)?,
            "MIN_MAX" => min_max(&mut input)?,
            kind => return Err(format!("normalizers `{kind}` are not read, only STANDARDIZE and MIN_MAX")),
        };
        match input.0.len() {
            0 => Ok(normalizer),
            left => Err(format!("{left} bytes follow the normalizer")),
        }
    }
}

fn standardize(input: &mut Input<'_>) -> Result<Normalizer, String> {
    let labelled = input.flag("the flag for labels")?;
    Ok(Normalizer::Standardize { features: statistics(input)?, labels: labels(input, labelled)? })
}

fn min_max(input: &mut Input<'_>) -> Result<Normalizer, String> {
    let labelled = input.flag("the flag for labels")?;
    let target = (input.f64("the least scaled value")?, input.f64("the greatest scaled value")?);
    Ok(Normalizer::MinMax { target, features: statistics(input)?, labels: labels(input, labelled)? })
}

fn labels(input: &mut Input<'_>, labelled: bool) -> Result<Option<Statistics>, String> {
    labelled.then(|| statistics(input)).transpose()
}

fn statistics(input: &mut Input<'_>) -> Result<Statistics, String> {
    let (first, second) = (input.array()?.values, input.array()?.values);
    match first.len() == second.len() {
        true => Ok((first, second)),
        false => Err(format!("statistics of {} and of {} columns", first.len(), second.len())),
    }
}
