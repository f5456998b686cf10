//! Numbers in text, and marks for missing ones.

use super::error::{Problem, beginning};
use std::borrow::Cow;

/// Marks that always count as missing, in any case; those of spreadsheets and of pandas among them.
const MARKS: [&str; 14] = [
    "", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "1.#qnan", "-1.#ind",
    "1.#ind",
];

/// How numbers are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NumberFormat {
    /// Whether a comma stands before the fraction.
    pub(crate) decimal_comma: bool,
    /// Marks for missing values beside the usual ones.
    pub(crate) missing: Vec<String>,
    /// Whether integers with more digits than the type holds are rounded.
    pub(crate) rounded_integers: bool,
}

type Parsed<T> = Result<T, Problem>;

impl NumberFormat {
    /// A number in f32.
    pub(crate) fn single(&self, text: &str) -> Parsed<f32> {
        let number = self.number(text, |text| text.parse::<f32>().ok().map(f64::from), 24)?;
        Ok(number as f32)
    }

    /// A number in f64.
    pub(crate) fn double(&self, text: &str) -> Parsed<f64> {
        self.number(text, |text| text.parse().ok(), 53)
    }

    /// `bits` is the size of integers that the type holds exactly.
    fn number(&self, text: &str, parse: impl Fn(&str) -> Option<f64>, bits: i32) -> Parsed<f64> {
        let text = text.trim();
        let point = self.with_point(text);
        if self.missing.iter().any(|mark| is_mark(&self.with_point(mark.trim()), &point)) {
            return Err(Problem::Missing);
        }
        match parse(&point) {
            Some(value) if value.is_finite() => {
                let large = value.abs() >= 2f64.powi(bits);
                if large && !self.rounded_integers && is_other_integer(&point, value) {
                    return Err(Problem::Rounded { got: beginning(text).into(), bits: bits as u32 });
                }
                Ok(value)
            }
            _ if MARKS.iter().any(|mark| text.eq_ignore_ascii_case(mark)) => Err(Problem::Missing),
            Some(_) => Err(Problem::NotFinite { got: beginning(text).into() }),
            None => Err(Problem::NotANumber { got: beginning(text).into() }),
        }
    }

    /// With a decimal comma a point is not part of a number, so that `1.234,5` is refused.
    fn with_point<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.decimal_comma {
            true if text.contains('.') => Cow::Owned(text.replace('.', "_")),
            true if text.contains(',') => Cow::Owned(text.replacen(',', ".", 1)),
            _ => Cow::Borrowed(text),
        }
    }
}

/// A mark is the same text or the same number: `-200` is also written `-200.0`.
fn is_mark(mark: &str, text: &str) -> bool {
    mark == text || matches!((mark.parse::<f64>(), text.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

/// Whether a text is an integer, and another one than `value`.
fn is_other_integer(text: &str, value: f64) -> bool {
    let digits = text.trim_start_matches(['+', '-']).trim_start_matches('0');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let integer = whole.bytes().all(|c| c.is_ascii_digit()) && fraction.bytes().all(|c| c == b'0');
    integer && format!("{:.0}", value.abs()) != whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Parsed<f32> {
        NumberFormat::default().single(text)
    }

    #[test]
    fn numbers_and_marks() {
        assert_eq!(number(" -1.5e3 "), Ok(-1500.0));
        for missing in ["", " ", "?", "NA", "nan", "NaN", "NULL", "None", "#N/A", "-NaN", "1.#QNAN"] {
            assert_eq!(number(missing), Err(Problem::Missing), "{missing}");
        }
        assert!(matches!(number("1e99"), Err(Problem::NotFinite { .. })));
        assert!(matches!(number("inf"), Err(Problem::NotFinite { .. })));
        assert!(matches!(number("1,5"), Err(Problem::NotANumber { .. })));
        let own = NumberFormat { missing: vec!["-200".into(), "n.d.".into()], ..NumberFormat::default() };
        for missing in ["-200", "-200.0", " -2e2 ", "n.d.", "NA"] {
            assert_eq!(own.single(missing), Err(Problem::Missing), "{missing}");
        }
        assert_eq!(own.single("200"), Ok(200.0));
    }

    #[test]
    fn decimal_commas() {
        let format = NumberFormat { decimal_comma: true, ..NumberFormat::default() };
        assert_eq!((format.single("2,6"), format.double("-0,125")), (Ok(2.6), Ok(-0.125)));
        assert_eq!(format.single("1e3"), Ok(1000.0));
        let own = NumberFormat { missing: vec!["-200".into(), "-99,5".into()], ..format.clone() };
        assert_eq!([own.single("-200,0"), own.single("-99,50")], [const { Err(Problem::Missing) }; 2]);
        for text in ["1.5", "1.234,5", "1,2,3"] {
            let problem = Problem::NotANumber { got: text.into() };
            assert_eq!(format.single(text), Err(problem));
        }
    }

    #[test]
    fn integers_that_would_be_rounded_are_refused() {
        for text in [
            "16777217",
            "-16777217",
            "+016777217",
            "16777217.0",
            "123456789",
            "340282346638528859811704183484516925441",
        ] {
            assert!(matches!(number(text), Err(Problem::Rounded { .. })), "{text}");
        }
        // Exact ones, and those that are no integers or not written as one.
        for (text, value) in
            [("16777216", 16777216.0), ("-33554432", -33554432.0), ("1.6777217e7", 16777216.0)]
        {
            assert_eq!(number(text), Ok(value), "{text}");
        }
        assert_eq!(number("16777217.25"), Ok(16777217.25f64 as f32));
        let format = NumberFormat { rounded_integers: true, ..NumberFormat::default() };
        assert_eq!(format.single("16777217"), Ok(16777216.0));
        let double = |text: &str| NumberFormat::default().double(text);
        assert_eq!(double("1700000001"), Ok(1_700_000_001.0));
        assert!(matches!(double("9007199254740993"), Err(Problem::Rounded { bits: 53, .. })));
    }
}
