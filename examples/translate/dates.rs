//! Dates in human formats and in ISO 8601.

use rnn_api::RngKey;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The days of a month by the Gregorian calendar.
fn days(year: usize, month: usize) -> usize {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + usize::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn ordinal(day: usize) -> String {
    let ending = match (day % 10, day / 10) {
        (1, 0 | 2 | 3) => "st",
        (2, 0 | 2) => "nd",
        (3, 0 | 2) => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

/// Pairs such as `the 3rd of March, 1999` and `1999-03-03`, all different.
pub(crate) fn pairs(count: usize, seed: u64) -> Vec<(String, String)> {
    let key = RngKey::new(seed).derive(0x6461_7465, 0);
    let mut seen = std::collections::BTreeSet::new();
    let mut all = Vec::with_capacity(count);
    for n in 0u32.. {
        if all.len() == count {
            break;
        }
        let below = |draw: u32, bound: usize| (key.uniform(n, draw) * bound as f32) as usize;
        let (year, month) = (1900 + below(0, 200), 1 + below(1, 12));
        let day = 1 + below(2, days(year, month));
        let name = MONTHS[month - 1];
        let short = &name[..3];
        let text = match below(3, 8) {
            0 => format!("{name} {day}, {year}"),
            1 => format!("{day} {name} {year}"),
            2 => format!("the {} of {name}, {year}", ordinal(day)),
            3 => format!("{short} {} {year}", ordinal(day)),
            4 => format!("{month}/{day}/{year}"),
            5 => format!("{day}.{month}.{year}"),
            6 => format!("{year}, {short}. {day}"),
            _ => format!("{day:02}-{short}-{year}"),
        };
        let text = if below(4, 2) == 0 { text.to_lowercase() } else { text };
        if seen.insert(text.clone()) {
            all.push((text, format!("{year}-{month:02}-{day:02}")));
        }
    }
    all
}
