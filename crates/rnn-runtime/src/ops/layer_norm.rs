//! Layer normalisation along the last axis (Ba, Kiros and Hinton 2016).

use super::{expect_same_shape, f32_array, widen};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::on_device;
use rnn_base::Shape;
use rnn_base::args::layer_norm::{LayerNormArgs, LayerNormSaved};
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

/// Results of [`layer_norm`]; the backward pass takes `mean` and `rstd`.
#[derive(Clone, Debug)]
pub struct LayerNormForward {
    /// `gamma (x - mean) rstd + beta`, in the shape of x.
    pub y: Array,
    /// `[rows]`
    pub mean: Array,
    /// `1 / sqrt(variance + eps)` `[rows]`
    pub rstd: Array,
}

/// Gradients of [`layer_norm`].
#[derive(Clone, Debug)]
pub struct LayerNormGrads {
    /// In the shape of x.
    pub dx: Array,
    /// `[C]`
    pub dgamma: Array,
    /// `[C]`
    pub dbeta: Array,
}

/// `y = gamma (x - mean) / sqrt(variance + eps) + beta` along the last axis of `x` `[.., C]`, with
/// the biased variance, computed in two passes. `gamma` and `beta` are `[C]`.
///
/// # Errors
/// u32 data, different devices, `gamma` or `beta` not `[C]`, or an `eps` that is negative or not
/// finite.
pub fn layer_norm(x: &Array, gamma: &Array, beta: &Array, eps: f32) -> Result<LayerNormForward> {
    const OP: &str = "layer_norm";
    let device = x.device();
    gamma.expect_device(OP, "gamma", device)?;
    beta.expect_device(OP, "beta", device)?;
    let (rows, cols) = x.shape().rows_cols();
    gamma.expect_dims(OP, "gamma", "[C]", &[cols])?;
    beta.expect_dims(OP, "beta", "[C]", &[cols])?;
    if !(eps >= 0.0 && eps.is_finite()) {
        return Err(Error::Value {
            op: OP,
            arg: "eps",
            expected: "finite and not negative".into(),
            got: eps.to_string(),
        });
    }
    let x = widen(OP, "x", x)?;
    let (gamma, beta) = (widen(OP, "gamma", gamma)?, widen(OP, "beta", beta)?);
    let args = LayerNormArgs { rows, cols, eps };
    let per_row = Shape::new(OP, &[rows])?;
    let wrap = |y: Buffer, mean: Buffer, rstd: Buffer| LayerNormForward {
        y: f32_array(device, x.shape().clone(), y),
        mean: f32_array(device, per_row.clone(), mean),
        rstd: f32_array(device, per_row.clone(), rstd),
    };
    Ok(on_device!(
        device,
        Cpu(dev) => {
            let (y, mean, rstd) =
                cpu::layer_norm::layer_norm(dev, &args, x.cpu(), gamma.cpu(), beta.cpu())?;
            wrap(y.into(), mean.into(), rstd.into())
        },
        Gpu(dev) => {
            let (y, mean, rstd) =
                gpu::layer_norm::layer_norm(dev, &args, x.gpu(), gamma.gpu(), beta.gpu())?;
            wrap(y.into(), mean.into(), rstd.into())
        },
    ))
}

/// With n the normalised row and g = gamma dy:
/// `dx = (g - mean(g) - n mean(g n)) rstd`, `dgamma = sum over rows of dy n`,
/// `dbeta = sum over rows of dy`.
///
/// `x` `[.., C]` and `gamma` `[C]` are those of the forward pass, `mean` and `rstd` `[rows]` its results;
/// `dy` has the shape of `x`.
///
/// # Errors
/// u32 data, or shapes or devices that differ from the forward pass's.
pub fn layer_norm_backward(
    x: &Array,
    gamma: &Array,
    mean: &Array,
    rstd: &Array,
    dy: &Array,
) -> Result<LayerNormGrads> {
    const OP: &str = "layer_norm_backward";
    let device = x.device();
    let (rows, cols) = x.shape().rows_cols();
    for (arg, array, names, length) in
        [("gamma", gamma, "[C]", cols), ("mean", mean, "[rows]", rows), ("rstd", rstd, "[rows]", rows)]
    {
        array.expect_device(OP, arg, device)?;
        array.expect_dims(OP, arg, names, &[length])?;
    }
    let (x, dy) = (widen(OP, "x", x)?, widen(OP, "dy", dy)?);
    expect_same_shape(OP, "dy", &dy, "x", &x)?;
    let gamma = widen(OP, "gamma", gamma)?;
    let (mean, rstd) = (widen(OP, "mean", mean)?, widen(OP, "rstd", rstd)?);
    let per_column = Shape::new(OP, &[cols])?;
    let wrap = |dx: Buffer, dgamma: Buffer, dbeta: Buffer| LayerNormGrads {
        dx: f32_array(device, x.shape().clone(), dx),
        dgamma: f32_array(device, per_column.clone(), dgamma),
        dbeta: f32_array(device, per_column.clone(), dbeta),
    };
    Ok(on_device!(
        device,
        Cpu(dev) => {
            let saved = LayerNormSaved {
                rows, cols, x: x.cpu(), gamma: gamma.cpu(), mean: mean.cpu(), rstd: rstd.cpu(),
            };
            let (dx, dgamma, dbeta) = cpu::layer_norm::layer_norm_backward(dev, &saved, dy.cpu())?;
            wrap(dx.into(), dgamma.into(), dbeta.into())
        },
        Gpu(dev) => {
            let saved = LayerNormSaved {
                rows, cols, x: x.gpu(), gamma: gamma.gpu(), mean: mean.gpu(), rstd: rstd.gpu(),
            };
            let (dx, dgamma, dbeta) = gpu::layer_norm::layer_norm_backward(dev, &saved, dy.gpu())?;
            wrap(dx.into(), dgamma.into(), dbeta.into())
        },
    ))
}
