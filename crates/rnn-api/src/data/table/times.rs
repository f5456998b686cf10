//! Dates and times of day as seconds.

use super::{Column, Table};
use crate::Result;
use crate::data::error::Problem;

/// The order of year, month and day in a date. They are digits between `-`, `/` or `.`; the year has four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateOrder {
    /// `2004-03-10`, also `20040310`, `2004-03` and `2004` (ISO 8601).
    #[default]
    YearFirst,
    /// `10/03/2004` is in March.
    DayFirst,
    /// `10/03/2004` is in October.
    MonthFirst,
}

impl Table {
    /// The dates of the rows as an index: seconds since 1970-01-01, each later than the one before. Several columns,
    /// such as a date and a time of day, are joined by a space.
    ///
    /// Times of day are `18:00`, `18:00:00`, `18.00.00` or `18:00:00.25`, behind a space or a `T`. They may end with
    /// `Z` or a difference from UTC such as `+01:00`, which is subtracted; other times are taken as they are.
    ///
    /// # Errors
    /// No columns are given, or one does not exist; a text is no such date; or a time is not later than that of the
    /// row before. The error names line and field.
    pub fn times<C: Into<Column> + Clone>(&self, columns: &[C], order: DateOrder) -> Result<Vec<f64>> {
        let columns: Vec<usize> =
            columns.iter().map(|column| self.index(&column.clone().into())).collect::<Result<_>>()?;
        if columns.is_empty() {
            return Err(crate::Error::value("Table::times", "columns", "at least one", "none"));
        }
        let mut times: Vec<f64> = Vec::new();
        for row in 0..self.rows() {
            let text = columns.iter().map(|&c| self.cell(row, c).trim()).collect::<Vec<_>>().join(" ");
            let place = || self.place(row).field(self.name(columns[0]));
            let time = match seconds(&text, order) {
                Some(time) => time,
                None if text.trim().is_empty() => return Err(Problem::Missing.at(place())),
                None => {
                    let expected = format!("a date in the order {order:?}, with a time of day or none");
                    return Err(Problem::format(expected, &text).at(place()));
                }
            };
            if times.last().is_some_and(|&before| time <= before) {
                return Err(Problem::format("a later time than that of the row before", &text).at(place()));
            }
            times.push(time);
        }
        Ok(times)
    }
}

/// Seconds since 1970-01-01 of a date, with a time of day or none.
pub(crate) fn seconds(text: &str, order: DateOrder) -> Option<f64> {
    let text = text.trim();
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let days = days(date, order)?;
    let within = if time.trim().is_empty() { 0.0 } else { time_of_day(time.trim())? };
    Some(days as f64 * 86400.0 + within)
}

/// Digits only, of at most `longest` characters.
fn digits(text: &str, longest: usize) -> Option<i64> {
    let fits = !text.is_empty() && text.len() <= longest && text.bytes().all(|c| c.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days(text: &str, order: DateOrder) -> Option<i64> {
    let year_first = order == DateOrder::YearFirst;
    let mut parts = [""; 3];
    let mut count = 0;
    for part in text.split(['-', '/', '.']) {
        *parts.get_mut(count)? = part;
        count += 1;
    }
    if count == 1 && year_first && text.len() == 8 && text.is_ascii() {
        (parts, count) = ([&text[..4], &text[4..6], &text[6..]], 3);
    }
    let (year, month, day) = match (count, order) {
        (3, DateOrder::YearFirst) => (parts[0], parts[1], parts[2]),
        (3, DateOrder::DayFirst) => (parts[2], parts[1], parts[0]),
        (3, DateOrder::MonthFirst) => (parts[2], parts[0], parts[1]),
        (2, DateOrder::YearFirst) => (parts[0], parts[1], "1"),
        (1, DateOrder::YearFirst) => (parts[0], "1", "1"),
        _ => return None,
    };
    if year.len() != 4 {
        return None;
    }
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month - 1).ok()?)?;
    if !(1..=*lengths.get(before.len())?).contains(&day) {
        return None;
    }
    let past = year - 1;
    // Day 719162 after 0001-01-01 is 1970-01-01.
    let whole_years = 365 * past + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    Some(whole_years + before.iter().sum::<i64>() + day - 1 - 719_162)
}

/// Seconds since midnight, in UTC if the difference is stated.
fn time_of_day(text: &str) -> Option<f64> {
    let (time, shift) = match text.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0.0),
        None => match text.rfind(['+', '-']) {
            Some(at) => {
                let size = clock(&text[at + 1..])?;
                (&text[..at], if text.as_bytes()[at] == b'+' { size } else { -size })
            }
            None => (text, 0.0),
        },
    };
    Some(clock(time.trim())? - shift)
}

/// Hours, minutes and seconds: `18`, `1800`, `18:00`, `18:00:00.5`, `18.00.00`.
fn clock(text: &str) -> Option<f64> {
    if text.len() == 4 && text.is_ascii() && !text.contains([':', '.']) {
        return clock(&format!("{}:{}", &text[..2], &text[2..]));
    }
    let separator = if text.contains(':') { ':' } else { '.' };
    let mut parts = text.splitn(3, separator);
    let hours = digits(parts.next()?, 2)?;
    let minutes = digits(parts.next().unwrap_or("0"), 2)?;
    let (whole, fraction) =
        parts.next().map_or(("0", ""), |seconds| seconds.split_once('.').unwrap_or((seconds, "")));
    let whole = digits(whole, 2)?;
    let fraction = if fraction.is_empty() {
        0.0
    } else {
        digits(fraction, 9)?;
        format!("0.{fraction}").parse::<f64>().ok()?
    };
    let valid = hours < 24 && minutes < 60 && whole < 60;
    // Some loggers write the end of a day as 24:00.
    let end_of_day = (hours, minutes, whole) == (24, 0, 0) && fraction == 0.0;
    (valid || end_of_day).then(|| (hours * 3600 + minutes * 60 + whole) as f64 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TableOptions;

    /// Values of `date -u -d TEXT +%s`.
    #[test]
    fn dates_of_every_form() {
        let year_first = |text: &str| seconds(text, DateOrder::YearFirst);
        for (text, want) in [
            ("1970-01-01", 0.0),
            ("2004-03-10 18:00:00", 1_078_941_600.0),
            ("2004/03/10T18:00", 1_078_941_600.0),
            ("20040310 18.00.00", 1_078_941_600.0),
            ("2016-01-11 17:10:00.25", 1_452_532_200.25),
            ("2016-01-11T17:10:00+01:00", 1_452_528_600.0),
            ("2016-01-11T17:10:00-0130", 1_452_537_600.0),
            ("2016-01-11T17:10:00Z", 1_452_532_200.0),
            ("1958-03", -373_593_600.0),
            ("1960", -315_619_200.0),
            ("2000-02-29 24:00", 951_868_800.0),
            ("1900-03-01", -2_203_891_200.0),
        ] {
            assert_eq!(year_first(text), Some(want), "{text}");
        }
        assert_eq!(seconds("10/03/2004", DateOrder::DayFirst), year_first("2004-03-10"));
        assert_eq!(seconds("10.3.2004 18:00", DateOrder::MonthFirst), year_first("2004-10-03 18:00"));
        for text in [
            "",
            "x",
            "1900-02-29",
            "2004-13-01",
            "2004-00-01",
            "2004-01-00",
            "04-03-10",
            "2004-03-10-1",
            "2004-03-10 25:00",
            "2004-03-10 24:01",
            "2004-03-10 18:60",
            "2004-03-10 18:00:60",
            "2004-03-10 é",
            "10/03/2004",
            "-2004-03-10",
        ] {
            assert_eq!(year_first(text), None, "{text}");
        }
        assert_eq!(seconds("2004-03-10", DateOrder::DayFirst), None);
    }

    #[test]
    fn an_index_rises_and_its_errors_are_named() {
        let table = |text: &str| Table::parse(text, &TableOptions::new()).unwrap();
        let good = table("Date;Time\n10/03/2004;18.00.00\n10/03/2004;19.00.00\n11/03/2004;00.00.00\n");
        let times = good.times(&["Date", "Time"], DateOrder::DayFirst).unwrap();
        assert_eq!(times, [0.0, 3600.0, 21600.0].map(|later| 1_078_941_600.0 + later));
        let error = good.times(&["Date"], DateOrder::DayFirst).unwrap_err().to_string();
        assert!(error.starts_with("line 3, field \"Date\": expected a later time"), "{error}");
        let error = good.times(&["Date"], DateOrder::YearFirst).unwrap_err().to_string();
        assert!(
            error.starts_with("line 2, field \"Date\": expected a date in the order YearFirst"),
            "{error}"
        );
        assert!(good.times::<&str>(&[], DateOrder::DayFirst).is_err());
        let error = table("d,x\n,1\n").times(&["d"], DateOrder::YearFirst).unwrap_err().to_string();
        assert!(error.starts_with("line 2, field \"d\": a value is missing"), "{error}");
    }
}
