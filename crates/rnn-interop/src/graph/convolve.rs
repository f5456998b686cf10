//! Convolutions and pooling in front of recurrent layers, over one or two axes. Each element of the window is a strided view of
//! the padded input; a product or a maximum over the views gives the result.

use super::inputs::Inputs;
use super::shape::bounded;
use super::take::{padded, take};
use crate::error::Why;
use crate::value::{Value, room};
use rnn_api::Tensor;

/// Settings of a convolution or of a maximum over windows. A list that is empty stands for its default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    pub(crate) kernel: Vec<i64>,
    pub(crate) strides: Vec<i64>,
    pub(crate) dilations: Vec<i64>,
    pub(crate) pads: Vec<i64>,
    pub(crate) groups: i64,
    pub(crate) auto_pad: Option<String>,
    pub(crate) ceil: bool,
}

/// The window along one axis.
struct Along {
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
    out: usize,
}

impl Window {
    /// The window along each axis of `sizes`.
    fn along(&self, kernel: &[usize], sizes: &[usize]) -> Result<Vec<Along>, Why> {
        if let Some(mode) = self.auto_pad.as_deref().filter(|mode| *mode != "NOTSET" && *mode != "VALID") {
            return Err(Why::Text(format!("auto_pad {mode} is not supported")));
        }
        if self.ceil {
            return Err("ceil_mode is not supported".into());
        }
        let rank = sizes.len();
        let of = |list: &[i64], n: usize, default: i64| {
            let value = list.get(n).copied().unwrap_or(default);
            usize::try_from(value).map_err(|_| Why::Text(format!("{list:?} must not be negative")))
        };
        (0..rank)
            .map(|n| {
                let pads = [of(&self.pads, n, 0)?, of(&self.pads, n + rank, 0)?];
                let (stride, dilation) = (of(&self.strides, n, 1)?.max(1), of(&self.dilations, n, 1)?.max(1));
                let kernel = kernel[n];
                let reach = dilation.saturating_mul(kernel.saturating_sub(1)).saturating_add(1);
                let room = sizes[n].saturating_add(pads[0]).saturating_add(pads[1]).checked_sub(reach);
                let room =
                    room.ok_or_else(|| Why::Text(format!("a window of {kernel} does not fit {}", sizes[n])))?;
                Ok(Along { kernel, stride, dilation, pads, out: room / stride + 1 })
            })
            .collect()
    }

    /// The views of `x` `[N, C, ..]`, one for each element of the window.
    fn views(along: &[Along], x: &Tensor, filler: f32) -> Result<Vec<Tensor>, Why> {
        // All of them have to fit at once, whatever window a file asks for.
        let windows = along.iter().flat_map(|axis| [axis.kernel, axis.out]);
        bounded(&x.dims()[..2].iter().copied().chain(windows).collect::<Vec<_>>())?;
        let mut x = x.clone();
        for (n, axis) in along.iter().enumerate() {
            x = padded(&x.device().clone(), &x, n + 2, axis.pads, filler)?;
        }
        let mut views = vec![x];
        for (n, axis) in along.iter().enumerate() {
            let mut next = room(views.len() * axis.kernel)?;
            for view in &views {
                for at in 0..axis.kernel {
                    let indices: Vec<usize> =
                        (0..axis.out).map(|out| out * axis.stride + at * axis.dilation).collect();
                    let taken = take(&Value::Float(view.clone()), n + 2, &indices)?;
                    next.push(taken.float()?.clone());
                }
            }
            views = next;
        }
        Ok(views)
    }

    /// `x` `[N, C, ..]`, weight `[O, C, ..]`, bias `[O]`.
    pub(super) fn convolve(&self, inputs: &Inputs<'_>) -> Result<Value, Why> {
        let (x, weight) = (inputs.need(0)?.float()?, inputs.need(1)?.float()?);
        let bias = inputs.get(2).map(Value::float).transpose()?;
        let (rank, dims) = (x.rank(), weight.dims());
        if self.groups > 1 || rank < 3 || weight.rank() != rank || dims[1] != x.dims()[1] {
            let text =
                format!("{} groups of {:?} with weights {dims:?} are not supported", self.groups, x.dims());
            return Err(Why::Text(text));
        }
        let along = self.along(&dims[2..], &x.dims()[2..])?;
        let views = Self::views(&along, x, 0.0)?;
        let columns = Tensor::concat(&views.iter().collect::<Vec<_>>(), 1)?;
        // [N, K C, ..] to [N, .., K C]
        let channels_last: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        let columns = columns.permute(&channels_last)?;
        // [O, C, K] to [O, K, C]
        let (out, kernel) = (dims[0], dims[2..].iter().product::<usize>());
        let weight = weight.reshape(&[out, dims[1], kernel])?.permute(&[0, 2, 1])?;
        let y = columns.linear(&weight.reshape(&[out, kernel * dims[1]])?, bias)?;
        let channels_second: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        Ok(y.permute(&channels_second)?.into())
    }

    pub(super) fn max(&self, inputs: &Inputs<'_>) -> Result<Value, Why> {
        let x = inputs.need(0)?.float()?;
        let kernel = super::shape::lengths(&self.kernel)?;
        if x.rank() != kernel.len() + 2 {
            return Err(Why::Text(format!("a window of {kernel:?} for {:?}", x.dims())));
        }
        let along = self.along(&kernel, &x.dims()[2..])?;
        let views = Self::views(&along, x, f32::NEG_INFINITY)?;
        Ok(Tensor::stack(&views.iter().collect::<Vec<_>>(), 0)?.max_axis(0)?.into())
    }
}
