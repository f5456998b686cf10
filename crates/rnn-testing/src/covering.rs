//! Covering arrays: few rows of option values in which every two values meet that may meet (Cohen 1997, AETG).

use std::collections::BTreeSet;

/// A value of every option, by number.
pub type Row = Vec<usize>;

/// An option and one of its values, by number.
pub type Choice = (usize, usize);

/// Two choices of different options, in the order of the options.
pub type Pair = [Choice; 2];

/// Every row of options with so many values each that `allowed` lets pass.
pub fn allowed_rows(values: &[usize], allowed: impl Fn(&[usize]) -> bool) -> Vec<Row> {
    let mut rows = vec![Row::new()];
    for &count in values {
        rows =
            rows.iter().flat_map(|row| (0..count).map(move |value| [&row[..], &[value]].concat())).collect();
    }
    rows.retain(|row| allowed(row));
    rows
}

/// Every pair in a row.
pub fn pairs(row: &[usize]) -> impl Iterator<Item = Pair> {
    let choices = row.iter().copied().enumerate();
    choices.clone().flat_map(move |a| choices.clone().skip(a.0 + 1).map(move |b| [a, b]))
}

/// Every pair in some row.
pub fn pairs_of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> BTreeSet<Pair> {
    rows.into_iter().flat_map(|row| pairs(row)).collect()
}

/// Some of `rows` that hold all of their pairs, and none that can be spared. The first row with the most pairs that are
/// missing comes next, so the same rows give the same array.
pub fn covering(rows: &[Row]) -> Vec<Row> {
    let mut missing = pairs_of(rows);
    let mut array: Vec<Row> = Vec::new();
    while !missing.is_empty() {
        let gain = |row: &Row| pairs(row).filter(|pair| missing.contains(pair)).count();
        let best = rows.iter().rev().max_by_key(|row| gain(row)).expect("a missing pair is in a row");
        pairs(best).for_each(|pair| {
            missing.remove(&pair);
        });
        array.push(best.clone());
    }
    without_spare(array)
}

/// Leaves out rows whose pairs all others hold.
fn without_spare(mut array: Vec<Row>) -> Vec<Row> {
    let all = pairs_of(&array);
    for n in (0..array.len()).rev() {
        let row = array.remove(n);
        if pairs_of(&array) != all {
            array.insert(n, row);
        }
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_without_rules_need_the_product_of_the_two_largest() {
        let rows = allowed_rows(&[3, 3, 3, 3], |_| true);
        assert_eq!(rows.len(), 81);
        let array = covering(&rows);
        assert_eq!(pairs_of(&array).len(), 6 * 9);
        // Nine is the least, which a greedy choice need not find.
        assert!((9..=12).contains(&array.len()), "{}", array.len());
    }

    #[test]
    fn forbidden_pairs_are_left_out_and_all_others_kept() {
        let allowed = |row: &[usize]| !(row[0] == 1 && row[1] == 1) && (row[2] == 0 || row[0] == 0);
        let rows = allowed_rows(&[2, 2, 3], allowed);
        let array = covering(&rows);
        assert!(array.iter().all(|row| allowed(row)));
        let held = pairs_of(&array);
        assert!(!held.contains(&[(0, 1), (1, 1)]) && !held.contains(&[(0, 1), (2, 2)]));
        assert_eq!(held, pairs_of(&rows));
    }
}
