//! Text of a page: what comes from outside is escaped here, and numbers are written for people.

use crate::units;
use std::fmt::Write;

/// Text as HTML, also for attributes in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML forbids other control characters, and browsers replace them.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A name with dots and underscores as HTML, which may break behind each of them.
pub(super) fn breakable(name: &str) -> String {
    escape(name).replace('.', ".<wbr>").replace('_', "_<wbr>")
}

/// JSON for a `script` element: no text in it can end the element.
pub(super) fn json_for_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The first characters of a long text.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

/// Four significant digits: 12 345, 1.234, 0.01234, 1.23e-5.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return match value {
            value if value.is_nan() => "NaN".into(),
            value if value > 0.0 => "∞".into(),
            _ => "−∞".into(),
        };
    }
    let size = value.abs();
    let text = match size {
        0.0 => return "0".into(),
        _ if !(1e-3..1e7).contains(&size) => return scientific(value),
        _ if size >= 1000.0 && value.fract() == 0.0 => return sign(grouped(size as u64), value),
        _ if size >= 1000.0 => format!("{size:.0}"),
        _ => format!("{size:.*}", (3 - size.log10().floor() as i32).clamp(0, 6) as usize),
    };
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    };
    sign(text, value)
}

fn sign(text: String, value: f64) -> String {
    if value < 0.0 { format!("−{text}") } else { text }
}

fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}e{exponent}").replace('-', "−")
}

/// A count with a thin space between groups of three digits.
pub(super) fn grouped(count: u64) -> String {
    units::grouped(count, '\u{202f}')
}

/// Seconds as a person says them.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=99 => format!("{whole} s"),
        100..=5999 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Adds formatted text. Writing to a string cannot fail.
pub(super) fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_escaped_can_be_markup() {
        assert_eq!(
            escape("<script>alert(\"a\" & 'b')</script>\0"),
            "&lt;script&gt;alert(&quot;a&quot; &amp; &#39;b&#39;)&lt;/script&gt;\u{fffd}"
        );
        let json = json_for_script(r#"{"a":"</script><!--&"}"#);
        assert!(!json.contains(['<', '>', '&']), "{json}");
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["a"], "</script><!--&");
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (1.23456, "1.235"),
            (-0.012345, "−0.01235"),
            (123.456, "123.5"),
            (12345.0, "12\u{202f}345"),
            (12345.6, "12346"),
            (1.234e-5, "1.23e−5"),
            (2e9, "2e9"),
            (0.999_96, "1"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "−∞"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text, "{value}");
        }
        assert_eq!([1.24, 75.0, 119.6, 7260.0].map(duration), ["1.2 s", "75 s", "2 min 0 s", "2 h 1 min"]);
        assert_eq!([7, 1000, 1234567].map(grouped), ["7", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!((shortened("abc", 3), shortened("äbcd", 3)), ("abc".into(), "äbc…".into()));
    }
}
