//! Numbers for people.

/// A count with `separator` between groups of three digits.
pub(crate) fn grouped(count: u64, separator: char) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// Three digits, a decimal prefix and the unit: `8.06 kB`, `34.2 MB`, `640 B`.
pub(crate) fn prefixed(value: u64, unit: &str) -> String {
    if value < 1000 {
        return format!("{value} {unit}");
    }
    let mut scaled = value as f64;
    for prefix in ["k", "M", "G", "T", "P"] {
        scaled /= 1000.0;
        // What rounds to 1000 has the next prefix.
        let decimals = match scaled {
            ..9.995 => 2,
            ..99.95 => 1,
            ..999.5 => 0,
            _ => continue,
        };
        return format!("{scaled:.decimals$} {prefix}{unit}");
    }
    format!("{:.1} E{unit}", scaled / 1000.0)
}

/// At most about `most` values from `from` to `to`: multiples of 1, 2 or 5 times a power of ten.
pub(crate) fn round_values(from: f64, to: f64, most: usize) -> Vec<f64> {
    let rough = (to - from) / most.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|&step| step >= rough);
    let Some(step) = step.filter(|step| step.is_finite() && *step > 0.0) else { return vec![from] };
    let first = (from / step).ceil();
    let values = (0..=most + 1).map(|n| (first + n as f64) * step);
    values
        .take_while(|&value| value <= to + 1e-9 * step)
        .map(|value| if value.abs() < 1e-9 * step { 0.0 } else { value })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_three_digits() {
        assert_eq!([7, 1000, 1234567].map(|count| grouped(count, ',')), ["7", "1,000", "1,234,567"]);
    }

    #[test]
    fn prefixes_leave_three_digits() {
        let values = [0, 999, 1000, 9_994, 9_996, 99_960, 999_600, 34_210_000, 1_500_000_000_000, u64::MAX];
        let texts = [
            "0 B", "999 B", "1.00 kB", "9.99 kB", "10.0 kB", "100 kB", "1.00 MB", "34.2 MB", "1.50 TB",
            "18.4 EB",
        ];
        assert_eq!(values.map(|value| prefixed(value, "B")), texts);
    }

    #[test]
    fn values_along_an_axis_are_round_and_inside() {
        assert_eq!(round_values(0.0, 1.0, 4), [0.0, 0.5, 1.0]);
        assert_eq!(round_values(-3.0, 12.0, 4), [0.0, 5.0, 10.0]);
    }
}
