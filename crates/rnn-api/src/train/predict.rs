//! [`predict`]: the outputs of a model for all items of a list.

use crate::autograd::no_grad;
use crate::data::{Batch, Batches, HostArray};
use crate::error::{Error, Result};
use crate::nn::{Found, Module};
use crate::tensor::Tensor;
use std::borrow::Borrow;

/// The outputs of a model for all items, `[items, ..]`. They have the order of the items, also if batches are shuffled.
/// `forward` computes those of a batch, `[B, ..]`, with the model in evaluation mode and without a graph. Afterwards every
/// layer is in the mode that it had before.
///
/// Batches by length ([`Batches::by_length`] with a bucket width) cost least padding.
///
/// ```
/// use rnn_api::data::{BatchConfig, Batches, pad};
/// use rnn_api::prelude::*;
/// use rnn_api::train::predict;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// # let gru = GruConfig::new(1, 4).init(&device, 1)?;
/// let sequences = [vec![0.1, 0.2, 0.3], vec![0.4], vec![0.5, 0.6]];
/// let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
/// let batches = Batches::by_length(&lengths, &BatchConfig::new(2).with_bucket_width(2))?;
/// let y = predict(&gru, &batches, |batch| {
///     let x = pad(&batch.pick(&sequences)?, None)?;
///     let lengths = Lengths::new(x.lengths)?;
///     let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
///     gru.forward_with(&x.values.to_tensor(&device)?, args)?.last()
/// })?;
/// assert_eq!(y.dims(), [3, 4]);
/// let classes = y.argmax(1)?; // one per sequence
/// # assert_eq!(classes.len(), 3);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Any error of `forward`; an output whose first axis is not the rows of the batch, or whose other axes differ from those
/// before; batches that leave items out (`drop_last`).
pub fn predict(
    model: &(impl Module + ?Sized),
    batches: impl Borrow<Batches>,
    forward: impl FnMut(&Batch) -> Result<Tensor>,
) -> Result<HostArray<f32>> {
    let (mut forward, mut axes) = (forward, None::<Vec<usize>>);
    let rows = predict_each(model, batches, |batch| {
        let y = forward(batch)?;
        let rows = batch.indices.len();
        let expected = || match &axes {
            None => format!("[B, ..] with B = {rows}"),
            Some(axes) => format!("{:?}, as before", [&[rows], &axes[..]].concat()),
        };
        match y.dims().split_first() {
            Some((&first, rest)) if first == rows && axes.as_ref().is_none_or(|axes| axes == rest) => {
                axes = Some(rest.to_vec());
            }
            _ => return Err(Error::shape("predict", "the output of forward", expected(), y.shape())),
        }
        let values = y.to_vec()?;
        Ok(values.chunks(values.len() / rows).map(<[f32]>::to_vec).collect())
    })?;
    let dims = [&[rows.len()], &axes.unwrap_or_default()[..]].concat();
    HostArray::new(rows.concat(), &dims)
}

/// As [`predict`], for results of any type: `forward` returns one for each item of the batch.
///
/// # Errors
/// Any error of `forward`; another number of results than the batch has items; batches that leave items out.
pub fn predict_each<T>(
    model: &(impl Module + ?Sized),
    batches: impl Borrow<Batches>,
    forward: impl FnMut(&Batch) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    const OP: &str = "predict";
    // From the start of the epoch; the caller's position stays.
    let mut batches = batches.borrow().clone();
    batches.seek(crate::data::Cursor { position: 0, ..batches.cursor() })?;
    let mut results: Vec<Option<T>> = (0..batches.items()).map(|_| None).collect();
    let mut forward = forward;
    let _mode = Evaluation::begin(model);
    for batch in batches {
        let found = no_grad(|| forward(&batch))?;
        if found.len() != batch.indices.len() {
            let expected = format!("one per item of the batch, {}", batch.indices.len());
            return Err(Error::value(OP, "the results of forward", expected, found.len()));
        }
        for (&index, result) in batch.indices.iter().zip(found) {
            results[index] = Some(result);
        }
    }
    let of_all: Option<Vec<T>> = results.into_iter().collect();
    of_all.ok_or_else(|| Error::value(OP, "batches", "without drop_last, which leaves items out", "with it"))
}

/// Evaluation mode until it is dropped.
struct Evaluation<'m, M: Module + ?Sized> {
    model: &'m M,
    /// Whether each layer was in training mode, in the order of visits.
    before: Vec<bool>,
}

impl<'m, M: Module + ?Sized> Evaluation<'m, M> {
    fn begin(model: &'m M) -> Self {
        let mut before = Vec::new();
        model.for_each(&mut |_, found| {
            if let Found::Mode(mode) = found {
                before.push(mode.is_training());
                mode.set(false);
            }
        });
        Evaluation { model, before }
    }
}

impl<M: Module + ?Sized> Drop for Evaluation<'_, M> {
    fn drop(&mut self) {
        let mut before = self.before.iter();
        self.model.for_each(&mut |_, found| {
            if let Found::Mode(mode) = found
                && let Some(&training) = before.next()
            {
                mode.set(training);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BatchConfig;
    use crate::nn::{Dropout, DropoutConfig, LstmConfig};
    use rnn_runtime::Device;

    fn batches(config: &BatchConfig) -> Batches {
        Batches::by_length(&[1, 2, 3, 1, 2, 3, 1], config).unwrap()
    }

    /// An output `[B, 2]`: the item and its square.
    fn squares(batch: &Batch) -> Result<Tensor> {
        let values = batch.indices.iter().flat_map(|&i| [i as f32, (i * i) as f32]).collect();
        Tensor::from_vec(&Device::cpu(), values, &[batch.indices.len(), 2])
    }

    fn dropout() -> Dropout {
        DropoutConfig::new(0.5).init(1).unwrap()
    }

    #[test]
    fn results_are_in_the_order_of_items() {
        let expected: Vec<f32> = (0..7).flat_map(|i| [i as f32, (i * i) as f32]).collect();
        for config in [
            BatchConfig::new(3),
            BatchConfig::new(3).with_shuffle(5),
            BatchConfig::new(2).with_bucket_width(1).with_shuffle(1),
        ] {
            let mut used = batches(&config);
            used.next();
            let place = used.cursor();
            let y = predict(&dropout(), &used, squares).unwrap();
            assert_eq!((y.dims(), y.values()), (&[7, 2][..], &expected[..]));
            assert_eq!(used.cursor(), place, "the caller's position");
            let names = predict_each(&dropout(), used, |batch| {
                Ok(batch.indices.iter().map(|i| format!("item {i}")).collect())
            });
            assert_eq!(names.unwrap()[6], "item 6");
        }
    }

    #[test]
    fn the_model_is_evaluated_and_then_as_before() {
        let (a, b) = (dropout(), dropout());
        b.eval();
        // Its parameters come before its mode.
        let lstm =
            LstmConfig::new(2, 3).with_num_layers(2).with_dropout(0.5).init(&Device::cpu(), 1).unwrap();
        let model = (&a, &lstm, &b);
        let training = || {
            let mut modes = Vec::new();
            model.for_each(&mut |_, found| {
                if let Found::Mode(mode) = found {
                    modes.push(mode.is_training());
                }
            });
            modes
        };
        let x = Tensor::ones(&Device::cpu(), &[3, 64]).unwrap();
        let config = BatchConfig::new(3);
        let y = predict(&model, Batches::new(3, &config).unwrap(), |_| {
            assert_eq!(training(), [false; 3]);
            assert!(!crate::is_grad_enabled());
            b.forward(&a.forward(&x)?)
        });
        assert_eq!(y.unwrap().values(), [1.0; 3 * 64], "no dropout");
        assert_eq!(training(), [true, true, false]);
        let failed = predict(&model, Batches::new(3, &config).unwrap(), |_| {
            Err(Error::value("forward", "x", "good", "bad"))
        });
        assert!(failed.unwrap_err().to_string().contains("bad"));
        assert_eq!(training(), [true, true, false], "after an error");
    }

    #[test]
    fn outputs_that_are_none_of_the_items_are_refused() {
        let refused = |config: &BatchConfig, forward: &dyn Fn(&Batch) -> Result<Tensor>, part: &str| {
            let error = predict(&dropout(), batches(config), forward).unwrap_err().to_string();
            assert!(error.starts_with("predict: ") && error.contains(part), "{error}");
        };
        let ones = |dims: &[usize]| Tensor::ones(&Device::cpu(), dims);
        refused(&BatchConfig::new(3), &|_| ones(&[2, 2]), "[B, ..] with B = 3, got [2, 2]");
        refused(&BatchConfig::new(3), &|_| ones(&[]), "[B, ..] with B = 3, got []");
        let growing = |batch: &Batch| ones(&[batch.indices.len(), 1 + batch.indices.len()]);
        refused(&BatchConfig::new(3), &growing, "[1, 4], as before, got [1, 2]");
        refused(&BatchConfig::new(3).with_drop_last(true), &squares, "batches must be without drop_last");
        let few = predict_each(&dropout(), batches(&BatchConfig::new(3)), |_| Ok(vec![0]));
        assert!(few.unwrap_err().to_string().contains("one per item of the batch, 3, got 1"));
    }
}
