//! Weights in eight bits, which become floating-point numbers when a model is read.

use super::recurrent::Floats;
use crate::value::Value;

/// W or R of `DynamicQuantizeLSTM`: `[D, I, 4H]` of integers, with scales and zero points `[D]` or `[D, 4H]`; the result is
/// `[D, 4H, I]`.
///
/// # Errors
/// In words: another type or shape.
pub(super) fn weights(value: &Value, scale: &Value, zero: Option<&Value>) -> Result<Floats, String> {
    let Value::Int(numbers) = value else {
        return Err(format!("W and R must be integers, got {}", value.kind()));
    };
    let [directions, inputs, rows] = numbers.dims[..] else {
        return Err(format!("W and R must have three axes, got {:?}", numbers.dims));
    };
    let scales = Floats::of(scale)?.values;
    let zeros: Vec<i64> = match zero {
        Some(Value::Int(zeros)) => zeros.values.clone(),
        Some(other) => return Err(format!("zero points must be integers, got {}", other.kind())),
        None => vec![0; scales.len()],
    };
    let each = match scales.len() {
        n if n == directions => false,
        n if n == directions * rows => true,
        n => return Err(format!("{n} scales for {directions} directions of {rows} rows")),
    };
    if zeros.len() != scales.len() {
        return Err(format!("{} zero points for {} scales", zeros.len(), scales.len()));
    }
    let mut values = Vec::with_capacity(numbers.values.len());
    for direction in 0..directions {
        for row in 0..rows {
            let of = if each { direction * rows + row } else { direction };
            for input in 0..inputs {
                let number = numbers.values[(direction * inputs + input) * rows + row];
                values.push(number.saturating_sub(zeros[of]) as f32 * scales[of]);
            }
        }
    }
    Ok(Floats { dims: vec![directions, rows, inputs], values })
}
