//! Losses, all reduced by the mean as in PyTorch. A loss is a device scalar of shape `[]`; the
//! backward functions take its cotangent `dloss`, any one-element array, without reading it back.

use super::embed::host_indices;
use super::{expect_same_shape, expect_scalar, f32_array, widen};
use crate::array::{Array, Buffer};
use crate::cpu;
use crate::device::on_device;
use crate::dims::Shape;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;

/// Options of [`cross_entropy`]; the default has neither.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropyOptions {
    /// Rows with this label count neither in the sum nor in the mean; it need not be a class.
    pub ignore_index: Option<u32>,
    /// Share of the target that is spread evenly over all classes (Szegedy et al. 2016), in
    /// `[0, 1]`.
    pub label_smoothing: f32,
}

/// What [`cross_entropy`] returns.
#[derive(Clone, Debug)]
pub struct CrossEntropyForward {
    /// Mean over the rows that count, shape `[]`.
    pub loss: Array,
    /// `log sum exp(logits)` of every row `[N]`, kept for the backward.
    pub lse: Array,
}

/// Arguments of the cross-entropy kernels. With the target t = (1 - smoothing) onehot(label) +
/// smoothing / cols, a row costs `lse - sum_c t_c logits_c`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrossEntropyArgs {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) ignore_index: Option<u32>,
    pub(crate) smoothing: f32,
    /// 1 / number of rows that count.
    pub(crate) inv_count: f32,
}

impl CrossEntropyArgs {
    /// Checks shapes, labels and options.
    fn new(op: &'static str, logits: &Array, labels: &Array, options: &CrossEntropyOptions) -> Result<Self> {
        let &[rows, cols] = logits.dims() else {
            return Err(Error::Shape {
                op,
                arg: "logits".into(),
                expected: "[N, C]".into(),
                got: logits.shape().clone(),
            });
        };
        labels.expect_device(op, "labels", logits.device())?;
        labels.expect_dims(op, "labels", "[N]", &[rows])?;
        let smoothing = options.label_smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(Error::Value {
                op,
                arg: "label_smoothing",
                expected: "in [0, 1]".into(),
                got: smoothing.to_string(),
            });
        }
        let ignore_index = options.ignore_index;
        let mut count = 0usize;
        for (position, &got) in host_indices(op, "labels", labels)?.iter().enumerate() {
            if ignore_index == Some(got) {
                continue;
            }
            if got as usize >= cols {
                return Err(Error::Index { op, arg: "labels", position, got, bound: cols });
            }
            count += 1;
        }
        if count == 0 {
            return Err(Error::Value {
                op,
                arg: "labels",
                expected: "at least one that is not ignored".into(),
                got: format!("{rows} times the ignored label"),
            });
        }
        Ok(CrossEntropyArgs { rows, cols, ignore_index, smoothing, inv_count: 1.0 / count as f32 })
    }
}

/// Mean over the rows that count of `-sum_c target_c log_softmax(logits)_c`, for `logits` `[N, C]`
/// and `labels` u32 `[N]`.
///
/// # Errors
/// [`Error::Index`] for a label that is neither a class nor ignored, with its position;
/// [`Error::Value`] when every row is ignored or the smoothing is outside `[0, 1]`;
/// [`Error::Unsupported`] for labels without a host copy; wrong shapes, types or devices.
pub fn cross_entropy(
    logits: &Array,
    labels: &Array,
    options: &CrossEntropyOptions,
) -> Result<CrossEntropyForward> {
    const OP: &str = "cross_entropy";
    let args = CrossEntropyArgs::new(OP, logits, labels, options)?;
    let logits = widen(OP, "logits", logits)?;
    let (scalar, per_row) = (Shape::new(OP, &[])?, Shape::new(OP, &[args.rows])?);
    let device = logits.device();
    Ok(on_device!(
        device,
        Cpu(dev) => {
            let (loss, lse) = cpu::loss::cross_entropy(dev, &args, logits.cpu(), labels.cpu())?;
            CrossEntropyForward {
                loss: f32_array(device, scalar, loss),
                lse: f32_array(device, per_row, lse),
            }
        },
        Gpu(dev) => {
            let (loss, lse) = gpu::loss::cross_entropy(dev, &args, logits.gpu(), labels.gpu())?;
            CrossEntropyForward {
                loss: f32_array(device, scalar, loss),
                lse: f32_array(device, per_row, lse),
            }
        },
    ))
}

/// `dlogits = dloss (softmax(logits) - target) / rows that count` `[N, C]`; zero in ignored rows.
/// `lse` `[N]` comes from the forward, `dloss` has one element.
///
/// # Errors
/// As [`cross_entropy`].
pub fn cross_entropy_backward(
    logits: &Array,
    lse: &Array,
    labels: &Array,
    options: &CrossEntropyOptions,
    dloss: &Array,
) -> Result<Array> {
    const OP: &str = "cross_entropy_backward";
    let args = CrossEntropyArgs::new(OP, logits, labels, options)?;
    lse.expect_device(OP, "lse", logits.device())?;
    lse.expect_dims(OP, "lse", "[N]", &[args.rows])?;
    dloss.expect_device(OP, "dloss", logits.device())?;
    expect_scalar(OP, "dloss", dloss)?;
    let (logits, lse) = (widen(OP, "logits", logits)?, widen(OP, "lse", lse)?);
    let dloss = widen(OP, "dloss", dloss)?;
    let (device, shape) = (logits.device(), logits.shape().clone());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::loss::cross_entropy_backward(
            dev, &args, logits.cpu(), lse.cpu(), labels.cpu(), dloss.cpu())?.into(),
        Gpu(dev) => gpu::loss::cross_entropy_backward(
            dev, &args, logits.gpu(), lse.gpu(), labels.gpu(), dloss.gpu())?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// Mean over all elements of `(pred - target)^2`, shape `[]`.
///
/// # Errors
/// u32 data, or a `target` that differs from `pred` in shape or device.
pub fn mse(pred: &Array, target: &Array) -> Result<Array> {
    const OP: &str = "mse";
    let (pred, target) = (widen(OP, "pred", pred)?, widen(OP, "target", target)?);
    expect_same_shape(OP, "target", &target, "pred", &pred)?;
    let (device, scalar, n) = (pred.device(), Shape::new(OP, &[])?, pred.len());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::loss::mse(dev, pred.cpu(), target.cpu(), n)?.into(),
        Gpu(dev) => gpu::loss::mse(dev, pred.gpu(), target.gpu(), n)?.into(),
    );
    Ok(f32_array(device, scalar, buffer))
}

/// `dpred = dloss 2 (pred - target) / n`, in the shape of `pred`.
///
/// # Errors
/// As [`mse`]; `dloss` must have one element.
pub fn mse_backward(pred: &Array, target: &Array, dloss: &Array) -> Result<Array> {
    const OP: &str = "mse_backward";
    let (pred, target) = (widen(OP, "pred", pred)?, widen(OP, "target", target)?);
    expect_same_shape(OP, "target", &target, "pred", &pred)?;
    dloss.expect_device(OP, "dloss", pred.device())?;
    expect_scalar(OP, "dloss", dloss)?;
    let dloss = widen(OP, "dloss", dloss)?;
    let (device, shape, n) = (pred.device(), pred.shape().clone(), pred.len());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::loss::mse_backward(dev, pred.cpu(), target.cpu(), dloss.cpu(), n)?.into(),
        Gpu(dev) => gpu::loss::mse_backward(dev, pred.gpu(), target.gpu(), dloss.gpu(), n)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// Mean over all elements of `-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x))` for logits x and
/// targets t in `[0, 1]`, shape `[]`; written so that no logit overflows.
///
/// # Errors
/// u32 data, or `targets` that differ from `logits` in shape or device.
pub fn bce_with_logits(logits: &Array, targets: &Array) -> Result<Array> {
    const OP: &str = "bce_with_logits";
    let (x, t) = (widen(OP, "logits", logits)?, widen(OP, "targets", targets)?);
    expect_same_shape(OP, "targets", &t, "logits", &x)?;
    let (device, scalar, n) = (x.device(), Shape::new(OP, &[])?, x.len());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::loss::bce_with_logits(dev, x.cpu(), t.cpu(), n)?.into(),
        Gpu(dev) => gpu::loss::bce_with_logits(dev, x.gpu(), t.gpu(), n)?.into(),
    );
    Ok(f32_array(device, scalar, buffer))
}

/// `dlogits = dloss (sigmoid(logits) - targets) / n`, in the shape of `logits`.
///
/// # Errors
/// As [`bce_with_logits`]; `dloss` must have one element.
pub fn bce_with_logits_backward(logits: &Array, targets: &Array, dloss: &Array) -> Result<Array> {
    const OP: &str = "bce_with_logits_backward";
    let (x, t) = (widen(OP, "logits", logits)?, widen(OP, "targets", targets)?);
    expect_same_shape(OP, "targets", &t, "logits", &x)?;
    dloss.expect_device(OP, "dloss", x.device())?;
    expect_scalar(OP, "dloss", dloss)?;
    let dloss = widen(OP, "dloss", dloss)?;
    let (device, shape, n) = (x.device(), x.shape().clone(), x.len());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::loss::bce_with_logits_backward(dev, x.cpu(), t.cpu(), dloss.cpu(), n)?.into(),
        Gpu(dev) => gpu::loss::bce_with_logits_backward(dev, x.gpu(), t.gpu(), dloss.gpu(), n)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}
