//! Steps that count and steps that do not, as Keras has them. A mask is booleans `[B, T]`, true where a step counts. A
//! recurrent layer holds its state at the other steps: the steps that count are gathered at the start of each row, the layer
//! runs with lengths, and its outputs go back to the times of their steps.

use super::host::truths;
use super::inputs::Inputs;
use super::shape::{axis, strides, with_dims};
use crate::error::Why;
use crate::value::{Host, Value};
use rnn_api::Tensor;

/// A node that makes or uses a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mask {
    /// From x `[.., F]`: x with zeros at the steps where all of F equal this value, and the mask `[..]`.
    Find(f32),
    /// From x `[B, T, F]` and a mask: x with the steps that count first in each row, and their numbers `[B]`.
    Gather,
    /// From y `[B, T, F]` of gathered steps, and the mask: y with each step at its time. The other steps have the output of
    /// the step that the layer saw before, which is the one after in time if it runs backwards, or zeros.
    Scatter { backwards: bool, zeros: bool },
    /// From x `[B, T, F]` and a mask: the means `[B, F]` over the steps that count.
    Mean,
    /// Whether any value along an axis is true.
    Any { axis: i64 },
}

impl Mask {
    pub(super) fn run(self, inputs: &Inputs<'_>) -> Result<Vec<Value>, Why> {
        if let Mask::Any { axis } = self {
            return Ok(vec![any(truths(inputs.need(0)?)?, axis)?]);
        }
        let x = inputs.need(0)?.float()?;
        if let Mask::Find(value) = self {
            return find(x, value);
        }
        let mask = truths(inputs.need(1)?)?;
        let [batch, steps, features] = *x.dims() else {
            return Err(Why::Text(format!("the input must be [B, T, F], got {:?}", x.dims())));
        };
        if mask.dims != [batch, steps] {
            return Err(Why::Text(format!("the mask must be [{batch}, {steps}], got {:?}", mask.dims)));
        }
        let rows: Vec<&[bool]> = mask.values.chunks_exact(steps.max(1)).collect();
        match self {
            Mask::Find(_) | Mask::Any { .. } => unreachable!("above"),
            Mask::Gather => {
                let counts = rows.iter().map(|row| row.iter().filter(|&&counts| counts).count() as i64);
                let lengths = Value::Int(Host::list(counts.collect()));
                let order = rows.iter().map(|row| gathered(row)).collect::<Vec<_>>();
                Ok(vec![taken(x, &order)?.into(), lengths])
            }
            Mask::Scatter { backwards, zeros } => {
                let sources = rows.iter().map(|row| scattered(row, backwards, zeros)).collect::<Vec<_>>();
                Ok(vec![taken(x, &sources)?.into()])
            }
            Mask::Mean => {
                let mut weights = Vec::with_capacity(batch * steps);
                for (n, row) in rows.iter().enumerate() {
                    let count = row.iter().filter(|&&counts| counts).count();
                    if count == 0 {
                        return Err(Why::Text(format!("row {n} has no step that counts, so it has no mean")));
                    }
                    weights.extend(row.iter().map(|&counts| f32::from(u8::from(counts)) / count as f32));
                }
                let weights = Tensor::from_slice(x.device(), &weights, &[batch, 1, steps])?;
                Ok(vec![weights.matmul(x)?.reshape(&[batch, features])?.into()])
            }
        }
    }
}

fn find(x: &Tensor, value: f32) -> Result<Vec<Value>, Why> {
    let (Some((&features, outer)), [_, _, ..]) = (x.dims().split_last(), x.dims()) else {
        return Err(Why::Text(format!("the input must be [B, .., F], got {:?}", x.dims())));
    };
    let values = x.to_vec()?;
    let mask: Vec<bool> =
        values.chunks_exact(features.max(1)).map(|step| step.iter().any(|&x| x != value)).collect();
    let kept = match mask.iter().all(|&counts| counts) {
        true => x.clone(),
        false => {
            let factors: Vec<f32> = mask.iter().map(|&counts| f32::from(u8::from(counts))).collect();
            x.mul(&Tensor::from_slice(x.device(), &factors, &[outer, &[1]].concat())?)?
        }
    };
    Ok(vec![kept.into(), Value::Bool(Host { dims: outer.to_vec(), values: mask })])
}

/// The steps of a row that count, then the others.
fn gathered(row: &[bool]) -> Vec<Option<usize>> {
    let steps = |wanted: bool| (0..row.len()).filter(move |&t| row[t] == wanted).map(Some);
    steps(true).chain(steps(false)).collect()
}

/// Where the output of each step of a row lies among those of the gathered steps; `None` is zero.
fn scattered(row: &[bool], backwards: bool, zeros: bool) -> Vec<Option<usize>> {
    let count = row.iter().filter(|&&counts| counts).count();
    let mut before = 0;
    let mut sources = Vec::with_capacity(row.len());
    for &counts in row {
        sources.push(match counts {
            true => Some(before),
            false if zeros => None,
            false if backwards => Some(before).filter(|&next| next < count),
            false => before.checked_sub(1),
        });
        before += usize::from(counts);
    }
    sources
}

/// The steps `sources[b]` of each row b of `[B, T, F]`.
fn taken(x: &Tensor, sources: &[Vec<Option<usize>>]) -> Result<Tensor, Why> {
    let [batch, steps, features] = *x.dims() else { return Err("three axes".into()) };
    let in_place = |row: &Vec<Option<usize>>| row.iter().enumerate().all(|(t, &source)| source == Some(t));
    if sources.iter().all(in_place) {
        return Ok(x.clone());
    }
    let mut table = x.reshape(&[batch * steps, features])?;
    // One more row, of zeros.
    let zero = batch * steps;
    if sources.iter().flatten().any(Option::is_none) {
        table = Tensor::concat(&[&table, &Tensor::zeros(x.device(), &[1, features])?], 0)?;
    }
    let rows = sources.iter().enumerate();
    let rows = rows.flat_map(|(b, row)| row.iter().map(move |source| source.map_or(zero, |t| b * steps + t)));
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let rows = Tensor::from_indices(x.device(), &rows, &[rows.len()])?;
    Ok(table.gather(&rows)?.reshape(&[batch, steps, features])?)
}

fn any(host: &Host<bool>, at: i64) -> Result<Value, Why> {
    let at = axis(at, host.dims.len())?;
    let length = *host.dims.get(at).ok_or("a scalar has no axis")?;
    let inner = strides(&host.dims)[at];
    let outer: usize = host.dims[..at].iter().product();
    let one = |n: usize| (0..length).any(|k| host.values[(n / inner * length + k) * inner + n % inner]);
    let mut dims = host.dims.clone();
    dims.remove(at);
    with_dims(&Value::Bool(Host::list((0..outer * inner).map(one).collect())), dims)
}

#[cfg(test)]
mod tests {
    use super::{Mask, gathered, scattered};
    use crate::graph::inputs::Inputs;
    use crate::value::{Host, Value};
    use rnn_api::{Device, Tensor};

    const T: bool = true;
    const F: bool = false;

    #[test]
    fn steps_come_back_to_their_times() {
        assert_eq!(gathered(&[F, T, F, T]), [Some(1), Some(3), Some(0), Some(2)]);
        let row = [F, T, F, F, T, F];
        assert_eq!(scattered(&row, false, false), [None, Some(0), Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!(scattered(&row, true, false), [Some(0), Some(0), Some(1), Some(1), Some(1), None]);
        assert_eq!(scattered(&row, false, true), [None, Some(0), None, None, Some(1), None]);
    }

    #[test]
    fn a_mask_of_another_shape_and_a_mean_of_nothing_are_refused() {
        let x: Value = Tensor::zeros(&Device::cpu(), &[2, 3, 1]).unwrap().into();
        let mask = |dims: &[usize], values: &[bool]| Value::Bool(Host::new(values.to_vec(), dims).unwrap());
        let run =
            |op: Mask, mask: Value| op.run(&Inputs(&[Some(x.clone()), Some(mask)])).map_err(|why| why.text());
        let error = run(Mask::Gather, mask(&[3, 2], &[T; 6])).unwrap_err();
        assert!(error.contains("[2, 3], got [3, 2]"), "{error}");
        let error = run(Mask::Mean, mask(&[2, 3], &[F, T, F, F, F, F])).unwrap_err();
        assert!(error.contains("row 1"), "{error}");
    }

    #[test]
    fn any_is_over_one_axis() {
        let x = Value::Bool(Host::new(vec![F, T, F, F, F, F, T, F], [2, 2, 2]).unwrap());
        for (axis, expected) in [(0, [F, T, T, F]), (1, [F, T, T, F]), (-1, [T, F, F, T])] {
            let Ok(results) = Mask::Any { axis }.run(&Inputs(&[Some(x.clone())])) else { panic!("{axis}") };
            let Value::Bool(host) = &results[0] else { panic!("{axis}") };
            assert_eq!((&host.dims[..], &host.values[..]), (&[2, 2][..], &expected[..]), "{axis}");
        }
    }
}
