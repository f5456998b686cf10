//! Weights in PyTorch's form: kernels are [I, G·H] in Keras and [G·H, I] in PyTorch, and gates have other orders.
//!
//! The gates of an LSTM are i, f, c, o in Keras and i, f, g, o in PyTorch. The gates of a GRU are z, r, h in Keras and r, z, n
//! in PyTorch. Both systems compute a GRU's step as h' = (1 - z)·n + z·h.

use super::config::{Recurrent, RecurrentKind};
use super::hdf5::Array;
use super::weights::Weight;

/// A recurrent layer in PyTorch's form.
#[derive(Clone, Debug, PartialEq)]
pub struct CellArrays {
    /// I.
    pub input: usize,
    /// H.
    pub hidden: usize,
    /// `[G·H, I]`.
    pub weight_ih: Vec<f32>,
    /// `[G·H, H]`.
    pub weight_hh: Vec<f32>,
    /// Both `[G·H]`; zeros for a layer without bias.
    pub bias_ih: Vec<f32>,
    /// Not zero only in a GRU with `reset_after`.
    pub bias_hh: Vec<f32>,
}

/// The gates in PyTorch's order, by their letters in Keras 1.
fn letters(kind: RecurrentKind) -> &'static [&'static str] {
    match kind {
        RecurrentKind::Lstm => &["i", "f", "c", "o"],
        RecurrentKind::Gru => &["r", "z", "h"],
        RecurrentKind::SimpleRnn => &[""],
    }
}

/// Where PyTorch's gates lie in an array of Keras.
fn order(kind: RecurrentKind) -> &'static [usize] {
    match kind {
        RecurrentKind::Lstm => &[0, 1, 2, 3],
        RecurrentKind::Gru => &[1, 0, 2],
        RecurrentKind::SimpleRnn => &[0],
    }
}

/// A recurrent layer: kernel, recurrent kernel and, with a bias, bias; or those of each gate, as Keras 1 has them.
///
/// # Errors
/// Arrays are missing, or have other dimensions.
pub fn cell(settings: &Recurrent, weights: &[Weight]) -> Result<CellArrays, String> {
    let count = letters(settings.kind).len();
    if count > 1 && weights.len() == 3 * count {
        return cell_of_gates(settings, weights);
    }
    let (kernel, recurrent, bias) = match (weights, settings.use_bias) {
        ([kernel, recurrent, bias], true) => (&kernel.array, &recurrent.array, Some(&bias.array)),
        ([kernel, recurrent], false) => (&kernel.array, &recurrent.array, None),
        _ => {
            let expected = 2 + usize::from(settings.use_bias);
            return Err(format!("a recurrent layer must have {expected} arrays, got {}", weights.len()));
        }
    };
    let (hidden, order) = (settings.units, order(settings.kind));
    let width = width(count, hidden)?;
    let [input, _] = matrix(kernel, [None, Some(width)], "kernel")?;
    matrix(recurrent, [Some(hidden), Some(width)], "recurrent kernel")?;
    let (bias_ih, bias_hh) = biases(settings, bias, width)?;
    let rows = |array: &Array, rows| gates(&transposed(&array.values, rows, width), order, hidden * rows);
    Ok(CellArrays {
        input,
        hidden,
        weight_ih: rows(kernel, input),
        weight_hh: rows(recurrent, hidden),
        bias_ih: gates(&bias_ih, order, hidden),
        bias_hh: gates(&bias_hh, order, hidden),
    })
}

fn width(count: usize, hidden: usize) -> Result<usize, String> {
    count.checked_mul(hidden).ok_or_else(|| format!("{hidden} units are too many"))
}

/// Input and recurrent bias: two rows of a GRU with `reset_after`, one of all others.
fn biases(settings: &Recurrent, bias: Option<&Array>, width: usize) -> Result<(Vec<f32>, Vec<f32>), String> {
    let Some(bias) = bias else { return Ok((vec![0.0; width], vec![0.0; width])) };
    let two = settings.kind == RecurrentKind::Gru && settings.reset_after;
    let expected = if two { vec![2, width] } else { vec![width] };
    if bias.dims != expected {
        return Err(format!("the bias must be {expected:?}, got {:?}", bias.dims));
    }
    let (input, recurrent) = bias.values.split_at(width);
    Ok((input.to_vec(), if two { recurrent.to_vec() } else { vec![0.0; width] }))
}

/// A layer of Keras 1: `W_x`, `U_x` and `b_x` of each gate x. Their order in files varies, so names count.
fn cell_of_gates(settings: &Recurrent, weights: &[Weight]) -> Result<CellArrays, String> {
    let hidden = settings.units;
    let first = named(weights, "W", letters(settings.kind)[0])?;
    let [input, _] = matrix(first, [None, Some(hidden)], "W")?;
    // Now the units are known to be no more than the values of the file.
    let zeros = vec![0.0; width(letters(settings.kind).len(), hidden)?];
    let (weight_ih, weight_hh, bias_ih) = (Vec::new(), Vec::new(), Vec::new());
    let mut cell = CellArrays { input, hidden, weight_ih, weight_hh, bias_ih, bias_hh: zeros };
    for &gate in letters(settings.kind) {
        let (kernel, recurrent) = (named(weights, "W", gate)?, named(weights, "U", gate)?);
        matrix(kernel, [Some(input), Some(hidden)], &format!("W_{gate}"))?;
        matrix(recurrent, [Some(hidden), Some(hidden)], &format!("U_{gate}"))?;
        let bias = named(weights, "b", gate)?;
        if bias.dims != [hidden] {
            return Err(format!("b_{gate} must be [{hidden}], got {:?}", bias.dims));
        }
        cell.weight_ih.extend(transposed(&kernel.values, input, hidden));
        cell.weight_hh.extend(transposed(&recurrent.values, hidden, hidden));
        cell.bias_ih.extend(&bias.values);
    }
    Ok(cell)
}

fn named<'a>(weights: &'a [Weight], letter: &str, gate: &str) -> Result<&'a Array, String> {
    let end = format!("_{letter}_{gate}");
    let mut found = weights.iter().filter(|weight| {
        // TensorFlow numbers the outputs of its operations.
        weight.name.strip_suffix(":0").unwrap_or(&weight.name).ends_with(&end)
    });
    match (found.next(), found.next()) {
        (Some(weight), None) => Ok(&weight.array),
        _ => Err(format!("expected one array whose name ends in `{end}`")),
    }
}

/// The dimensions of a matrix, none of them 0.
fn matrix(array: &Array, expected: [Option<usize>; 2], name: &str) -> Result<[usize; 2], String> {
    let fits = |dims: &[usize; 2]| {
        dims.iter()
            .zip(expected)
            .all(|(&dim, expected)| dim > 0 && expected.is_none_or(|expected| expected == dim))
    };
    let dims = <[usize; 2]>::try_from(&array.dims[..]).ok().filter(fits);
    dims.filter(|[rows, columns]| rows.checked_mul(*columns) == Some(array.values.len())).ok_or_else(|| {
        let expected = expected.map(|dim| dim.map_or("any".to_string(), |dim| dim.to_string()));
        format!("the {name} must be [{}], got {:?}", expected.join(", "), array.dims)
    })
}

/// `[rows, columns]` as `[columns, rows]`.
#[must_use]
pub fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// Blocks of `size` values in another order.
fn gates(values: &[f32], order: &[usize], size: usize) -> Vec<f32> {
    order.iter().flat_map(|&gate| &values[gate * size..(gate + 1) * size]).copied().collect()
}

/// Weight `[O, I]` and bias `[O]` of a Dense layer.
///
/// # Errors
/// Arrays are missing, or have other dimensions.
pub fn dense(
    units: usize,
    use_bias: bool,
    weights: &[Weight],
) -> Result<(Vec<f32>, Option<Vec<f32>>), String> {
    let (kernel, bias) = match (weights, use_bias) {
        ([kernel, bias], true) => (&kernel.array, Some(&bias.array)),
        ([kernel], false) => (&kernel.array, None),
        _ => {
            let expected = 1 + usize::from(use_bias);
            return Err(format!("a Dense layer must have {expected} arrays, got {}", weights.len()));
        }
    };
    let [input, _] = matrix(kernel, [None, Some(units)], "kernel")?;
    if let Some(bias) = bias.filter(|bias| bias.dims != [units]) {
        return Err(format!("the bias must be [{units}], got {:?}", bias.dims));
    }
    Ok((transposed(&kernel.values, input, units), bias.map(|bias| bias.values.clone())))
}

/// The table `[vocabulary, size]` of an Embedding layer, as it is.
///
/// # Errors
/// Arrays are missing, or have other dimensions.
pub fn embedding(input_dim: usize, output_dim: usize, weights: &[Weight]) -> Result<Vec<f32>, String> {
    let [table] = weights else {
        return Err(format!("an Embedding layer must have 1 array, got {}", weights.len()));
    };
    matrix(&table.array, [Some(input_dim), Some(output_dim)], "table")?;
    Ok(table.array.values.clone())
}

#[cfg(test)]
mod tests;
