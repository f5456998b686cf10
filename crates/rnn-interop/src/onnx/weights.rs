//! The weights of LSTM, GRU and RNN nodes. Those in eight bits become floating-point numbers.

use super::proto::NodeProto;
use crate::value::Value;

/// The constant arrays of a node: `[D, G*H, I]`, `[D, G*H, H]`, `[D, 2*G*H]`, `[D, 3*H]`.
pub(super) struct Weights {
    pub(super) w: Floats,
    pub(super) r: Floats,
    pub(super) b: Option<Floats>,
    pub(super) p: Option<Floats>,
}

impl Weights {
    /// The weights among a node's inputs: W, R, B, P, and the scales and zero points of W and R.
    ///
    /// # Errors
    /// In words: one is missing or of another type.
    pub(super) fn of(node: &NodeProto, values: &[Option<Value>]) -> Result<Self, String> {
        let at = |n: usize| values.get(n).and_then(Option::as_ref);
        let need = |n: usize, name: &str| at(n).ok_or_else(|| format!("{name} is missing"));
        let floats = |n: usize| at(n).map(Floats::of).transpose();
        let (w, r) = match node.op_type.as_str() {
            "DynamicQuantizeLSTM" => (
                dequantised(need(0, "W")?, need(4, "W_scale")?, at(5))?,
                dequantised(need(1, "R")?, need(6, "R_scale")?, at(7))?,
            ),
            _ => (Floats::of(need(0, "W")?)?, Floats::of(need(1, "R")?)?),
        };
        let p = if node.op_type.ends_with("LSTM") { floats(3)? } else { None };
        Ok(Weights { w, r, b: floats(2)?, p })
    }
}

/// An array in host memory.
pub(super) struct Floats {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Floats {
    /// # Errors
    /// In words: the value has no floating-point numbers.
    pub(super) fn of(value: &Value) -> Result<Self, String> {
        let tensor = value.float().map_err(crate::error::Why::text)?;
        let values = tensor.to_vec().map_err(|error| error.to_string())?;
        Ok(Floats { dims: tensor.dims().to_vec(), values })
    }

    /// Part `n` of the first axis.
    pub(super) fn part(&self, n: usize) -> &[f32] {
        let length = self.dims[1..].iter().product::<usize>();
        &self.values[n * length..(n + 1) * length]
    }
}

/// W or R of `DynamicQuantizeLSTM`: `[D, I, 4H]` of integers, with scales and zero points `[D]` or `[D, 4H]`; the result is
/// `[D, 4H, I]`.
///
/// # Errors
/// In words: another type or shape.
fn dequantised(value: &Value, scale: &Value, zero: Option<&Value>) -> Result<Floats, String> {
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
