//! [`summary`]: layers, shapes, parameters, memory and work of a model.

use super::calls::{self, Called, Calls};
use super::{Found, LayerKind, Module};
use crate::error::{Error, Result};
use crate::param::Param;
use crate::units::{grouped, prefixed};
use rnn_runtime::ops::rnn::kept_bytes;
use std::collections::BTreeSet;
use std::fmt;

/// Layers, shapes, parameters, memory and work of a model for an input `[T, B, I]`, or symbols `[T, B]`. Nothing is computed:
/// every layer is taken to see all T steps, and an activation or a [`Dropout`](super::Dropout) layer to follow the layer
/// before it. [`Summary::traced`] shows what a forward pass really does, such as a head on the last step alone.
///
/// ```
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// let model = (LstmConfig::new(24, 128).init(&device, 1)?, LinearConfig::new(128, 10).init(&device, 2)?);
/// println!("{}", summary(&model, &[64, 32, 24])?);
/// # Ok(()) }
/// ```
///
/// ```text
/// Model [64, 32, 24]
///   layer  kind              output         parameters    products
///   0      Lstm 24 -> 128    [64, 32, 128]      78,848   319 MFLOP
///   1      Linear 128 -> 10  [64, 32, 10]        1,290  5.24 MFLOP
/// 80,138 parameters (all trainable), 321 kB
/// products: 324 MFLOP forward, about 972 MFLOP in a training step
/// training: 7.01 MB and the optimizer's state; weights 321 kB, gradients 321 kB, kept for the backward pass 6.37 MB
/// ```
///
/// # Errors
/// Dims of another rank, with a zero, or with another I than that of the first layer; more bytes or FLOP than a u64 counts; a
/// lost device.
pub fn summary(model: &(impl Module + ?Sized), dims: &[usize]) -> Result<Summary> {
    let (&[steps, batch] | &[steps, batch, _]) = dims else {
        return Err(bad_dims("[T, B, I] or [T, B]", dims));
    };
    if dims.contains(&0) {
        return Err(bad_dims("sizes of at least 1", dims));
    }
    let (name, parts) = parts(model);
    let first = parts.iter().find_map(|part| part.kind.and_then(|kind| kind.input_size()));
    match (first, dims.get(2)) {
        (Some(0), Some(_)) => {
            return Err(bad_dims("[T, B], since the first layer looks up symbols", dims));
        }
        (Some(size), Some(&got)) if size != got => {
            return Err(bad_dims(&format!("[T, B, {size}], as the first layer takes"), dims));
        }
        _ => {}
    }
    // The width of what an activation is taken to see.
    let mut width = dims.get(2).copied();
    let mut layers = Vec::with_capacity(parts.len());
    for part in &parts {
        let mut shapes = Vec::new();
        if let Some(kind) = part.kind {
            let of = |size: Option<usize>| [steps, batch].into_iter().chain(size.filter(|&size| size > 0));
            let input = kind.input_size().or(width);
            width = kind.output_size().or(input);
            if width.is_some() {
                let (input, output) = (of(input).collect(), of(width).collect());
                shapes.push(LayerCalls { input, output, count: 1 });
            }
        }
        layers.push(part.summarised(shapes)?);
    }
    Summary::of(name, Some(dims.to_vec()), &parts, layers)
}

fn bad_dims(expected: &str, got: &[usize]) -> Error {
    Error::value("summary", "dims", expected, format!("{got:?}"))
}

fn too_large() -> Error {
    Error::value("summary", "dims", "fewer than 2^64 bytes and FLOP", "more")
}

/// What [`summary`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The name of the model's type, if [`module!`](crate::module!) or [`model!`](crate::model!) made it a module.
    pub name: Option<&'static str>,
    /// The input, unless the pass was traced.
    pub dims: Option<Vec<usize>>,
    /// The layers, in the order of the parameters.
    pub layers: Vec<LayerSummary>,
    /// Number of values; tied ones count once.
    pub num_parameters: u64,
    /// Those of them that train.
    pub num_trainable: u64,
    /// Floating-point operations of all matrix products of a forward pass: two for each weight of a matrix and each row of
    /// the layer's input. A training step takes about three times as many.
    pub flops: u64,
    /// Bytes of the parameters.
    pub weight_bytes: u64,
    /// Bytes of the gradients of those that train. Adam keeps twice as many besides.
    pub gradient_bytes: u64,
    /// Bytes of layers' outputs and gates that a backward pass needs, when all of the model trains and nothing is computed
    /// again (`checkpoint_every`) or kept in 16 bits (`storage`).
    pub kept_bytes: u64,
}

/// A layer in a [`Summary`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayerSummary {
    /// Its path in the model, or that of a parameter outside of layers.
    pub path: String,
    /// What it is; `None` for a parameter.
    pub kind: Option<LayerKind>,
    /// The calls in one forward pass, by their shapes.
    pub calls: Vec<LayerCalls>,
    /// Number of its values, whether or not other layers have them too.
    pub num_parameters: u64,
    /// As [`Summary::flops`].
    pub flops: u64,
    /// As [`Summary::kept_bytes`].
    pub kept_bytes: u64,
}

/// Calls of a layer with the same shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerCalls {
    /// The shape of the input.
    pub input: Vec<usize>,
    /// The shape of the output.
    pub output: Vec<usize>,
    /// Number of calls.
    pub count: u64,
}

impl Summary {
    /// The summary of a forward pass as it runs: with the shapes that layers meet, how often each is called, and without
    /// those that are not. Layers without parameters are listed without shapes.
    ///
    /// ```
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// # let device = Device::cpu();
    /// let model = (LstmConfig::new(24, 128).init(&device, 1)?, LinearConfig::new(128, 10).init(&device, 2)?);
    /// let x = Tensor::zeros(&device, &[64, 32, 24])?;
    /// let summary = Summary::traced(&model, || model.1.forward(&model.0.forward(&x, None)?.last()?))?;
    /// assert_eq!(summary.layers[1].calls[0].input, [32, 128]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of `forward`; more bytes or FLOP than a u64 counts.
    pub fn traced<R>(model: &(impl Module + ?Sized), forward: impl FnOnce() -> Result<R>) -> Result<Summary> {
        let (result, calls) = calls::record(forward);
        result?;
        let (name, parts) = parts(model);
        let mut layers = Vec::with_capacity(parts.len());
        for part in &parts {
            let key = part.kind.zip(part.params.first()).map(|(kind, first)| Called::new(first, kind));
            let own = calls.iter().filter(|calls| Some(calls.layer) == key);
            let shapes = own.map(|Calls { input, output, count, .. }| LayerCalls {
                input: input.clone(),
                output: output.clone(),
                count: *count,
            });
            layers.push(part.summarised(shapes.collect())?);
        }
        Summary::of(name, None, &parts, layers)
    }

    fn of(
        name: Option<&'static str>,
        dims: Option<Vec<usize>>,
        parts: &[Part],
        layers: Vec<LayerSummary>,
    ) -> Result<Summary> {
        let mut seen = BTreeSet::new();
        let params = parts.iter().flat_map(|part| &part.params);
        let distinct: Vec<&Param> = params.filter(|param| seen.insert(param.id())).collect();
        let len_of = |counts: fn(&Param) -> bool| -> u64 {
            distinct.iter().filter(|param| counts(param)).map(|param| param.len() as u64).sum()
        };
        let (num_parameters, num_trainable) = (len_of(|_| true), len_of(Param::is_trainable));
        let sum = |of: fn(&LayerSummary) -> u64| {
            layers.iter().map(of).try_fold(0u64, u64::checked_add).ok_or_else(too_large)
        };
        Ok(Summary {
            name,
            dims,
            num_parameters,
            num_trainable,
            flops: sum(|layer| layer.flops)?,
            weight_bytes: 4 * num_parameters,
            gradient_bytes: 4 * num_trainable,
            kept_bytes: sum(|layer| layer.kept_bytes)?,
            layers,
        })
    }
}

/// A layer with its parameters, or a parameter outside of layers.
struct Part {
    path: String,
    kind: Option<LayerKind>,
    params: Vec<Param>,
}

/// The name of the whole model, and all layers.
fn parts(model: &(impl Module + ?Sized)) -> (Option<&'static str>, Vec<Part>) {
    let (mut name, mut parts) = (None, Vec::<Part>::new());
    model.for_each(&mut |path, found| match found {
        Found::Layer(LayerKind::Struct(own)) if path.is_empty() => name = name.or(Some(own)),
        Found::Layer(LayerKind::Struct(_)) => {}
        Found::Layer(kind) => parts.push(Part { path: path.into(), kind: Some(kind), params: Vec::new() }),
        Found::Param(param) => {
            let layer = path.rsplit_once('.').map_or("", |(layer, _)| layer);
            match parts.last_mut().filter(|part| part.kind.is_some() && part.path == layer) {
                Some(part) => part.params.push(param.clone()),
                None => parts.push(Part { path: path.into(), kind: None, params: vec![param.clone()] }),
            }
        }
        Found::Mode(_) | Found::Draws(_) => {}
    });
    (name, parts)
}

impl Part {
    fn summarised(&self, calls: Vec<LayerCalls>) -> Result<LayerSummary> {
        let matrices = self.params.iter().filter(|param| param.shape().rank() == 2);
        let weights = match self.kind {
            Some(kind) if kind.multiplies() => matrices.map(|param| param.len() as u64).sum(),
            _ => 0u64,
        };
        let (mut flops, mut kept) = (Some(0u64), Some(0u64));
        for LayerCalls { input, output, count } in &calls {
            let rows = product(input.split_last().map_or(&[], |(_, rows)| rows));
            let more = rows.and_then(|rows| rows.checked_mul(2 * weights)?.checked_mul(*count));
            flops = flops.zip(more).and_then(|(flops, more)| flops.checked_add(more));
            let bytes = match (self.kind, &input[..], self.params.first()) {
                (Some(LayerKind::Recurrent(spec)), &[steps, batch, _], Some(first)) => {
                    Some(kept_bytes(&first.device(), &spec, steps, batch)?)
                }
                _ => product(output).and_then(|elements| elements.checked_mul(4)),
            };
            let more = bytes.and_then(|bytes| bytes.checked_mul(*count));
            kept = kept.zip(more).and_then(|(kept, more)| kept.checked_add(more));
        }
        Ok(LayerSummary {
            path: self.path.clone(),
            kind: self.kind,
            calls,
            num_parameters: self.params.iter().map(|param| param.len() as u64).sum(),
            flops: flops.ok_or_else(too_large)?,
            kept_bytes: kept.ok_or_else(too_large)?,
        })
    }
}

fn product(dims: &[usize]) -> Option<u64> {
    dims.iter().try_fold(1u64, |product, &size| product.checked_mul(u64::try_from(size).ok()?))
}

impl LayerSummary {
    fn columns(&self) -> [String; 5] {
        let output = match &self.calls[..] {
            [] => String::new(),
            [first, others @ ..] => {
                let times = if first.count > 1 { format!(" x {}", first.count) } else { String::new() };
                let more = if others.is_empty() { "" } else { ", .." };
                format!("{:?}{times}{more}", first.output)
            }
        };
        [
            if self.path.is_empty() { "-".into() } else { self.path.clone() },
            self.kind.map_or_else(|| "parameter".into(), |kind| kind.to_string()),
            output,
            grouped(self.num_parameters, ','),
            if self.flops > 0 { prefixed(self.flops, "FLOP") } else { "-".into() },
        ]
    }
}

/// A table of the layers, and the totals below.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.unwrap_or("Model"))?;
        match &self.dims {
            Some(dims) => writeln!(f, " {dims:?}")?,
            None => writeln!(f)?,
        }
        let head = ["layer", "kind", "output", "parameters", "products"].map(String::from);
        let rows: Vec<[String; 5]> =
            std::iter::once(head).chain(self.layers.iter().map(LayerSummary::columns)).collect();
        let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
        let [path, kind, output, count, flops] = [0, 1, 2, 3, 4].map(width);
        for [a, b, c, d, e] in &rows {
            writeln!(f, "  {a:path$}  {b:kind$}  {c:output$}  {d:>count$}  {e:>flops$}")?;
        }
        let trainable = match self.num_trainable {
            all if all == self.num_parameters => "all trainable".into(),
            some => format!("{} trainable", grouped(some, ',')),
        };
        let count = grouped(self.num_parameters, ',');
        let flops = |flops| prefixed(flops, "FLOP");
        let bytes = |bytes| prefixed(bytes, "B");
        writeln!(f, "{count} parameters ({trainable}), {}", bytes(self.weight_bytes))?;
        let training = self.flops.saturating_mul(3);
        writeln!(f, "products: {} forward, about {} in a training step", flops(self.flops), flops(training))?;
        let all = self.weight_bytes.saturating_add(self.gradient_bytes).saturating_add(self.kept_bytes);
        write!(
            f,
            "training: {} and the optimizer's state; weights {}, gradients {}, kept for the backward pass {}",
            bytes(all),
            bytes(self.weight_bytes),
            bytes(self.gradient_bytes),
            bytes(self.kept_bytes)
        )
    }
}
