//! Connectionist temporal classification (Graves, Fernández, Gomez, Schmidhuber 2006): a loss for label
//! sequences without an alignment to time steps.

use super::weighting::{LossOptions, Reduction, check_lengths};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::{Device, on_device};
use crate::ops::softmax::log_softmax;
use crate::ops::{expect_scalar, f32_array, widen};
use rnn_base::Shape;
use rnn_base::args::loss::CtcArgs;
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

/// Options of [`ctc`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtcOptions {
    /// The blank: the class for no label.
    pub blank: u32,
    /// The cost of a target that no path of its sequence's length can spell: zero if true, else infinity. Its
    /// gradient is zero either way.
    pub zero_infinity: bool,
}

/// Results of [`ctc`]; the backward pass takes all of them.
#[derive(Clone, Debug)]
pub struct CtcForward {
    /// The reduced cost, shape `[]`.
    pub loss: Array,
    /// `-log p(target)` of every sequence `[B]`, infinite for an impossible target.
    pub costs: Array,
    args: CtcArgs,
    /// `[T, B, C]`
    log_probs: Array,
    /// `[B, T, 2S + 1]`
    alphas: Array,
    targets: Targets,
}

/// The targets as arrays on the device.
#[derive(Clone, Debug)]
struct Targets {
    /// u32 `[B, 2, S]`: the labels of every sequence, and their positions sorted by label.
    labels: Array,
    /// u32 `[B, 2]`: steps and labels of every sequence.
    sizes: Array,
    /// `[B]`
    weights: Array,
}

impl Targets {
    fn upload(
        device: &Device,
        args: &CtcArgs,
        targets: &[impl AsRef<[u32]>],
        over: &LossOptions<'_>,
    ) -> Result<Self> {
        let &CtcArgs { batch, steps, labels: longest, .. } = args;
        let mut labels = vec![0u32; batch * 2 * longest];
        let mut sizes = Vec::with_capacity(2 * batch);
        for (b, (out, target)) in labels.chunks_exact_mut(2 * longest).zip(targets).enumerate() {
            let target = target.as_ref();
            out[..target.len()].copy_from_slice(target);
            let mut order: Vec<u32> = (0..target.len() as u32).collect();
            order.sort_by_key(|&position| target[position as usize]);
            out[longest..][..order.len()].copy_from_slice(&order);
            sizes.extend([over.lengths.map_or(steps, |lengths| lengths[b]) as u32, target.len() as u32]);
        }
        let count = |b: usize| targets[b].as_ref().len().max(1) as f64;
        let total = targets.iter().map(|target| target.as_ref().len()).sum::<usize>().max(1) as f64;
        let weight = |b: usize| match over.reduction {
            Reduction::Mean => 1.0 / total,
            Reduction::SequenceMean => 1.0 / (count(b) * batch as f64),
            Reduction::BatchMean => 1.0 / batch as f64,
            Reduction::Sum => 1.0,
        };
        let weights: Vec<f32> = (0..batch).map(|b| weight(b) as f32).collect();
        Ok(Targets {
            labels: Array::from_u32(device, &labels, &[batch, 2, longest])?,
            sizes: Array::from_u32(device, &sizes, &[batch, 2])?,
            weights: Array::from_f32(device, &weights, &[batch])?,
        })
    }
}

fn check(
    op: &'static str,
    logits: &Array,
    targets: &[impl AsRef<[u32]>],
    options: &CtcOptions,
    over: &LossOptions<'_>,
) -> Result<CtcArgs> {
    let &[steps, batch, classes] = logits.dims() else {
        return Err(Error::Shape {
            op,
            arg: "logits".into(),
            expected: "[T, B, C]".into(),
            got: logits.dims().to_vec(),
        });
    };
    let value = |arg, expected: String, got: String| Err(Error::Value { op, arg, expected, got });
    if options.blank as usize >= classes {
        return value("blank", format!("a class in 0..{classes}"), options.blank.to_string());
    }
    if targets.len() != batch {
        return value("targets", format!("B = {batch} of them"), targets.len().to_string());
    }
    if let Some(lengths) = over.lengths {
        check_lengths(op, "lengths", lengths, [steps, batch])?;
    }
    for (row, target) in targets.iter().enumerate() {
        for (position, &label) in target.as_ref().iter().enumerate() {
            if label as usize >= classes || label == options.blank {
                let expected = format!("in 0..{classes} without the blank {}", options.blank);
                return value("targets", expected, format!("{label} at position {position} of row {row}"));
            }
        }
    }
    let labels = targets.iter().map(|target| target.as_ref().len()).max().unwrap_or(0).max(1);
    let &CtcOptions { blank, zero_infinity } = options;
    Ok(CtcArgs { batch, steps, classes, labels, blank, zero_infinity })
}

/// `-log p(target)` under the softmax of `logits` `[T, B, C]`, reduced. p sums over all paths, of one class
/// per step, that spell the target after repeats are merged and blanks removed. `targets` are B label
/// sequences, any of which may be empty; lengths are those of the logits.
///
/// Reductions count labels: [`Reduction::Mean`] divides by the number of labels in the batch,
/// [`Reduction::SequenceMean`] divides each cost by the number of its own labels (PyTorch's `mean`). An empty
/// target counts as one label.
///
/// # Errors
/// [`Error::Value`]: a label that is not a class or is the blank, with row and position; targets or lengths
/// that are not B in number; a length outside `1..=T`; a blank that is not a class. [`Error::Shape`]: logits
/// that are not `[T, B, C]`.
pub fn ctc(
    logits: &Array,
    targets: &[impl AsRef<[u32]>],
    options: &CtcOptions,
    over: &LossOptions<'_>,
) -> Result<CtcForward> {
    const OP: &str = "ctc";
    let args = check(OP, logits, targets, options, over)?;
    let states = Shape::new(OP, &[args.batch, args.steps, args.width()])?;
    let (scalar, per_row) = (Shape::new(OP, &[])?, Shape::new(OP, &[args.batch])?);
    let device = logits.device();
    let targets = Targets::upload(device, &args, targets, over)?;
    let log_probs = log_softmax(widen(OP, "logits", logits)?.as_ref())?;
    let Targets { labels, sizes, weights } = &targets;
    let [loss, costs, alphas]: [Buffer; 3] = on_device!(
        device,
        Cpu(dev) => cpu::ctc::forward(
            dev, &args, [log_probs.cpu(), labels.cpu(), sizes.cpu(), weights.cpu()])?.map(Into::into),
        Gpu(dev) => gpu::ctc::forward(
            dev, &args, [log_probs.gpu(), labels.gpu(), sizes.gpu(), weights.gpu()])?.map(Into::into),
    );
    let (loss, costs) = (f32_array(device, scalar, loss), f32_array(device, per_row, costs));
    Ok(CtcForward { loss, costs, args, alphas: f32_array(device, states, alphas), log_probs, targets })
}

/// The gradient of the logits `[T, B, C]` times `dloss`; zero past the end of a sequence and for impossible
/// targets.
///
/// # Errors
/// `dloss` must have one element, on the device of the logits.
pub fn ctc_backward(forward: &CtcForward, dloss: &Array) -> Result<Array> {
    const OP: &str = "ctc_backward";
    let CtcForward { costs, args, log_probs, alphas, targets, .. } = forward;
    dloss.expect_device(OP, "dloss", log_probs.device())?;
    expect_scalar(OP, "dloss", dloss)?;
    let dloss = widen(OP, "dloss", dloss)?;
    let device = log_probs.device();
    let Targets { labels, sizes, weights } = targets;
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => {
            let inputs = [log_probs.cpu(), labels.cpu(), sizes.cpu(), weights.cpu()];
            cpu::ctc::backward(dev, args, inputs, [alphas.cpu(), costs.cpu(), dloss.cpu()])?.into()
        },
        Gpu(dev) => {
            let inputs = [log_probs.gpu(), labels.gpu(), sizes.gpu(), weights.gpu()];
            gpu::ctc::backward(dev, args, inputs, [alphas.gpu(), costs.gpu(), dloss.gpu()])?.into()
        },
    );
    Ok(f32_array(device, log_probs.shape().clone(), buffer))
}
