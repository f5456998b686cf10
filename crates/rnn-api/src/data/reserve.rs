//! Memory whose size comes from outside: products are checked, and memory that the system refuses is an error.

use crate::Result;
use rnn_runtime::host_memory;

/// An empty vector with room for the product of `sizes`. `what` names the memory in the error.
pub(crate) fn room<T>(op: &'static str, what: &'static str, sizes: &[usize]) -> Result<Vec<T>> {
    let items = sizes.iter().try_fold(1u128, |n, &size| n.checked_mul(size as u128));
    let needed = items.and_then(|n| n.checked_mul(size_of::<T>() as u128)).unwrap_or(u128::MAX);
    let name = || format!("{what} {sizes:?}");
    host_memory::expect_room(op, name, needed)?;
    // Bytes that are available fit a usize, so their number of items does.
    Ok(host_memory::reserve(op, name, items.unwrap_or(0) as usize)?)
}

/// As many copies of `value` as the product of `sizes`.
pub(crate) fn filled<T: Copy>(
    op: &'static str,
    what: &'static str,
    sizes: &[usize],
    value: T,
) -> Result<Vec<T>> {
    let mut values = room(op, what, sizes)?;
    // `room` has checked the product.
    values.resize(sizes.iter().product(), value);
    Ok(values)
}

/// The numbers `0..items`.
pub(crate) fn indices(op: &'static str, what: &'static str, items: usize) -> Result<Vec<usize>> {
    let mut values = room(op, what, &[items])?;
    values.extend(0..items);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_that_overflow_or_exceed_the_memory_are_errors() {
        assert_eq!(filled("op", "values", &[2, 3], 7u8).unwrap(), [7; 6]);
        assert_eq!(indices("op", "items", 3).unwrap(), [0, 1, 2]);
        // The product in usize would wrap to 4.
        let sizes = [(1 << 62) + 1, 4];
        let error = filled("pad", "the values", &sizes, 0.0f32).unwrap_err().to_string();
        assert!(error.starts_with("pad: the values [4611686018427387905, 4] needs 73786"), "{error}");
        for sizes in [&[usize::MAX][..], &[usize::MAX, usize::MAX, usize::MAX], &[1 << 60]] {
            assert!(room::<u64>("op", "values", sizes).is_err(), "{sizes:?}");
        }
        assert!(room::<u64>("op", "values", &[usize::MAX, 0]).is_ok());
    }
}
