//! Cross-entropy of logits and class labels.

use super::weighting::{LossOptions, Weighting};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::on_device;
use crate::ops::embed::host_indices;
use crate::ops::{expect_scalar, f32_array, widen};
use rnn_base::Shape;
use rnn_base::args::loss::CrossEntropyArgs;
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

/// Options of [`cross_entropy`]; by default both are off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropyOptions {
    /// RowOrder with this label are left out of the sum and of the mean; the label need not be a class.
    pub ignore_index: Option<u32>,
    /// Share of the target that is spread evenly over all classes (Szegedy et al. 2016), in
    /// `[0, 1]`.
    pub label_smoothing: f32,
}

/// Results of [`cross_entropy`].
#[derive(Clone, Debug)]
pub struct CrossEntropyForward {
    /// The reduced cost, shape `[]`.
    pub loss: Array,
    /// `[.., 2]`: the largest logit m of every row, and `log sum exp(logits - m)`; for the backward pass. The two
    /// are apart because their sum loses the second where m is large.
    pub stats: Array,
    /// The weight of every row; for the backward pass.
    pub weighting: Weighting,
}

/// Checks shapes and devices; returns the number of classes.
fn classes(op: &'static str, logits: &Array, labels: &Array) -> Result<usize> {
    let Some((&cols, leading)) = logits.dims().split_last() else {
        return Err(Error::Shape {
            op,
            arg: "logits".into(),
            expected: "[.., C]".into(),
            got: logits.dims().to_vec(),
        });
    };
    labels.expect_device(op, "labels", logits.device())?;
    labels.expect_dims(op, "labels", "the leading axes of the logits", leading)?;
    Ok(cols)
}

/// `[.., 2]` for labels `[..]`.
fn stats_dims(labels: &Array) -> Vec<usize> {
    labels.dims().iter().copied().chain([2]).collect()
}

/// `-sum_c target_c log_softmax(logits)_c`, reduced, for `logits` `[.., C]` and `labels` u32 `[..]`.
///
/// # Errors
/// [`Error::Index`] for a label that is not ignored and not a class, with its position; [`Error::Value`] when
/// every row is ignored or the smoothing is outside `[0, 1]`; [`Error::Unsupported`] for labels without a
/// host copy; wrong shapes, types or devices; lengths as [`Weighting::elements`], over labels `[T, B, ..]`.
pub fn cross_entropy(
    logits: &Array,
    labels: &Array,
    options: &CrossEntropyOptions,
    over: &LossOptions<'_>,
) -> Result<CrossEntropyForward> {
    const OP: &str = "cross_entropy";
    let cols = classes(OP, logits, labels)?;
    let smoothing = options.label_smoothing;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::Value {
            op: OP,
            arg: "label_smoothing",
            expected: "in [0, 1]".into(),
            got: smoothing.to_string(),
        });
    }
    let host = host_indices(OP, "labels", labels)?;
    let ignored = |row: usize| options.ignore_index == Some(host[row]);
    let mut bad = None;
    let weighting = Weighting::labels(OP, logits.device(), labels.dims(), over, ignored, |row| {
        if host[row] as usize >= cols {
            bad.get_or_insert(row);
        }
    })?;
    if let Some(position) = bad {
        return Err(Error::Index { op: OP, arg: "labels", position, got: host[position], bound: cols });
    }
    let args = CrossEntropyArgs { rows: labels.len(), cols, smoothing, scale: weighting.scale };
    let logits = widen(OP, "logits", logits)?;
    let (device, scalar) = (logits.device(), Shape::new(OP, &[])?);
    let weights = weighting.weights.as_ref();
    let (loss, stats): (Buffer, Buffer) = on_device!(
        device,
        Cpu(dev) => {
            let weights = weights.map(Array::cpu);
            let (loss, stats) = cpu::loss::cross_entropy(dev, &args, logits.cpu(), labels.cpu(), weights)?;
            (loss.into(), stats.into())
        },
        Gpu(dev) => {
            let weights = weights.map(Array::gpu);
            let (loss, stats) = gpu::loss::cross_entropy(dev, &args, logits.gpu(), labels.gpu(), weights)?;
            (loss.into(), stats.into())
        },
    );
    let stats = f32_array(device, Shape::new(OP, &stats_dims(labels))?, stats);
    Ok(CrossEntropyForward { loss: f32_array(device, scalar, loss), stats, weighting })
}

/// `dlogits = dloss weight (softmax(logits) - target)` `[.., C]`; zero in rows of weight 0. `forward` comes
/// from the same logits, labels and options; `dloss` has one element.
///
/// # Errors
/// Wrong shapes, types or devices.
pub fn cross_entropy_backward(
    logits: &Array,
    labels: &Array,
    options: &CrossEntropyOptions,
    forward: &CrossEntropyForward,
    dloss: &Array,
) -> Result<Array> {
    const OP: &str = "cross_entropy_backward";
    let cols = classes(OP, logits, labels)?;
    let CrossEntropyForward { stats, weighting, .. } = forward;
    stats.expect_device(OP, "stats", logits.device())?;
    stats.expect_dims(OP, "stats", "the shape of the labels, then 2", &stats_dims(labels))?;
    dloss.expect_device(OP, "dloss", logits.device())?;
    expect_scalar(OP, "dloss", dloss)?;
    let smoothing = options.label_smoothing;
    let args = CrossEntropyArgs { rows: labels.len(), cols, smoothing, scale: weighting.scale };
    let (logits, stats) = (widen(OP, "logits", logits)?, widen(OP, "stats", stats)?);
    let dloss = widen(OP, "dloss", dloss)?;
    let (device, shape) = (logits.device(), logits.shape().clone());
    let weights = weighting.weights.as_ref();
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => {
            let inputs = [logits.cpu(), stats.cpu(), labels.cpu(), dloss.cpu()];
            cpu::loss::cross_entropy_backward(dev, &args, inputs, weights.map(Array::cpu))?.into()
        },
        Gpu(dev) => {
            let inputs = [logits.gpu(), stats.gpu(), labels.gpu(), dloss.gpu()];
            gpu::loss::cross_entropy_backward(dev, &args, inputs, weights.map(Array::gpu))?.into()
        },
    );
    Ok(f32_array(device, shape, buffer))
}
