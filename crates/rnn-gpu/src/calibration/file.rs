//! A calibration as text, for a file of the cache directory: a line per number, and the day.

use super::speed::Speed;

pub(super) fn print(speed: &Speed, day: &str) -> String {
    let Speed { cores, lanes, fma, memory, barrier: [small, usual], dispatch } = speed;
    // `{:?}` prints as many digits as it takes to read the same number.
    format!("{day}\n{cores}\n{lanes}\n{fma:?}\n{memory:?}\n{small:?}\n{usual:?}\n{dispatch:?}\n")
}

/// `None` for anything that [`print`] does not write.
pub(super) fn parse(text: &str) -> Option<(Speed, String)> {
    let lines: Vec<&str> = text.strip_suffix('\n')?.split('\n').collect();
    let [day, cores, lanes, fma, memory, small, usual, dispatch] = lines[..] else { return None };
    let number = |text: &str| text.parse::<f64>().ok();
    let speed = Speed {
        cores: cores.parse().ok()?,
        lanes: lanes.parse().ok()?,
        fma: number(fma)?,
        memory: number(memory)?,
        barrier: [number(small)?, number(usual)?],
        dispatch: number(dispatch)?,
    };
    let is_day = day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    (is_day && speed.is_plausible()).then(|| (speed, day.to_string()))
}

/// The day of a number of seconds since 1970 in UTC, as YYYY-MM-DD.
pub(super) fn day(seconds: u64) -> String {
    // Years begin in March here, so that a leap day is the last day of its year.
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", 400 * era + year + next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::DeviceKind;

    #[test]
    fn a_calibration_reads_back() {
        let speed = Speed::assumed(DeviceKind::Integrated).rounded();
        assert_eq!(parse(&print(&speed, "2026-11-26")), Some((speed, "2026-11-26".to_string())));
    }

    /// Every line left out, doubled, or replaced by something that is no such number.
    #[test]
    fn a_damaged_calibration_is_refused() {
        let text = print(&Speed::assumed(DeviceKind::Discrete), "2026-11-26");
        let lines: Vec<&str> = text.lines().collect();
        for n in 0..lines.len() {
            for bad in ["", "x", "-1", "0", "NaN", "inf", "1e99"] {
                let mut damaged = lines.clone();
                damaged[n] = bad;
                assert_eq!(parse(&(damaged.join("\n") + "\n")), None, "line {n}: {bad}");
            }
            let without: Vec<&str> =
                lines.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, l)| *l).collect();
            assert_eq!(parse(&(without.join("\n") + "\n")), None, "without line {n}");
        }
        assert_eq!(parse(""), None);
        assert_eq!(parse(text.trim_end()), None);
        assert_eq!(parse(&(text.clone() + "1\n")), None);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds), expected);
        }
    }
}
