//! Rows of a table.

use super::shape::bounded;
use crate::error::Why;
use crate::value::Value;
use rnn_api::Tensor;

/// The rows of `[V, E]` that whole numbers of any shape name. Numbers may be floating-point: some systems have no others.
pub(super) fn embedding(table: &Tensor, ids: &Value) -> Result<Value, Why> {
    let [vocabulary, size] = *table.dims() else {
        return Err(Why::Text(format!("a table must have two axes, got {:?}", table.dims())));
    };
    let wrong = |id: String| {
        Why::Text(format!("ids must be whole numbers from 0 to {}, got {id}", vocabulary.saturating_sub(1)))
    };
    let rows: Vec<u32> = match ids {
        Value::Int(host) => {
            let row = |&id: &i64| {
                let row = usize::try_from(id).ok().filter(|&row| row < vocabulary);
                row.map(|row| row as u32).ok_or_else(|| wrong(id.to_string()))
            };
            host.values.iter().map(row).collect::<Result<_, _>>()?
        }
        Value::Float(tensor) => {
            let row = |id: f32| match id >= 0.0 && id < vocabulary as f32 && id.fract() == 0.0 {
                true => Ok(id as u32),
                false => Err(wrong(id.to_string())),
            };
            tensor.to_vec()?.into_iter().map(row).collect::<Result<_, _>>()?
        }
        Value::Bool(_) => return Err(wrong("booleans".to_string())),
    };
    let dims = [ids.dims(), &[size]].concat();
    bounded(&dims)?;
    let rows = Tensor::from_indices(table.device(), &rows, &[rows.len()])?;
    Ok(table.gather(&rows)?.reshape(&dims)?.into())
}
