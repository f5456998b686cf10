//! What a recurrent stack will take on a device, and which device is the faster one.

use super::fit::{self, Parts};
use super::memory::LayerSizes;
use super::products::wave;
use super::{CellWeights, StackArgs, forward, pack};
use crate::array::Array;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{self, Recurrence};
use crate::recurrence::LayerDims;
use rnn_kernels::cell::{Parameter, StackSpec, Storage, WeightFormat};
use std::fmt;
use std::time::Instant;

/// What [`Device::explain`] found out.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Name of the device.
    pub device: String,
    /// The stack.
    pub spec: StackSpec,
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// Forward and backward recurrence of every layer, or of all layers together where they run side by side; empty on
    /// the CPU.
    pub recurrences: Vec<[Recurrence; 2]>,
    /// Steps from one layer to the next where layers run side by side in training.
    pub lag: Option<usize>,
    /// Bytes of the weights as packed for the kernels, without those of the backward pass.
    pub weight_bytes: u64,
    /// Bytes of the arrays that an inference pass holds at the same time at most, input and output included, weights
    /// apart.
    pub inference_bytes: u64,
    /// Bytes that a training pass with all rows as long keeps from forward to backward, the input of the first layer
    /// and weights apart.
    pub kept_bytes: u64,
    /// Bytes of the largest single array.
    pub largest_array: u64,
    /// Bytes that a single array may have; `None` on the CPU.
    pub array_limit: Option<u64>,
    /// In which parts a training pass runs, because of that limit; `None` where not even one row fits.
    pub parts: Option<Parts>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StackSpec { cell, input_size, hidden_size, num_layers, .. } = self.spec;
        writeln!(
            f,
            "{:?} I={input_size} H={hidden_size} L={num_layers} D={}, T={} B={} on {}",
            cell.kind,
            self.spec.num_directions(),
            self.steps,
            self.batch,
            self.device
        )?;
        for (layer, [forward, backward]) in self.recurrences.iter().enumerate() {
            let name = match self.lag {
                Some(lag) => format!("all layers, {lag} steps apart,"),
                None => format!("layer {layer}"),
            };
            writeln!(f, "  {name} forward   {forward}")?;
            writeln!(f, "  {name} backward  {backward}")?;
        }
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "  memory: weights {:.1} MB, inference {:.1} MB, kept for backward {:.1} MB; largest array {:.1} MB",
            mb(self.weight_bytes),
            mb(self.inference_bytes),
            mb(self.kept_bytes),
            mb(self.largest_array)
        )?;
        match self.array_limit {
            Some(limit) if self.largest_array > limit => {
                write!(f, ", more than the adapter's limit of {:.1} MB: ", mb(limit))?;
                match self.parts {
                    None => write!(f, "refused"),
                    Some(Parts::Whole) => write!(f, "its weights are refused"),
                    Some(Parts::Segments(steps)) => write!(f, "training runs in segments of {steps} steps"),
                    Some(Parts::Groups { rows, segment: None }) => {
                        write!(f, "training runs in groups of {rows} rows")
                    }
                    Some(Parts::Groups { rows, segment: Some(steps) }) => {
                        write!(f, "training runs in groups of {rows} rows and segments of {steps} steps")
                    }
                }
            }
            Some(limit) => write!(f, " of at most {:.1} MB", mb(limit)),
            None => Ok(()),
        }
    }
}

impl Device {
    /// What a layer will take for sequences of `steps` steps and `batch` rows: memory, and on a GPU the
    /// algorithm of every recurrence with the reason for it. Nothing runs but, on a GPU's first use, the
    /// kernels' self-tests.
    ///
    /// # Errors
    /// No steps or no rows, or 2^32 of both together; a device that is lost.
    pub fn explain(&self, layer: &impl AsRef<StackSpec>, steps: usize, batch: usize) -> Result<Explanation> {
        let spec = layer.as_ref();
        check_sizes("Device::explain", steps, batch)?;
        let lag = self.lag(spec, [steps, batch])?;
        let on = (!self.is_cpu(), lag.is_some());
        let layers = (0..spec.num_layers)
            .map(|n| LayerSizes::new(spec, n, [steps, batch], on))
            .collect::<Result<Vec<_>>>()?;
        let bytes = |elements: usize| 4 * elements as u64;
        let most = |size: &dyn Fn(&LayerSizes) -> usize| bytes(layers.iter().map(size).max().unwrap_or(0));
        let total = |size: &dyn Fn(&LayerSizes) -> usize| bytes(layers.iter().map(size).sum());
        Ok(Explanation {
            device: self.name(),
            spec: *spec,
            steps,
            batch,
            recurrences: self.recurrences(spec, steps, batch, lag)?,
            lag,
            weight_bytes: total(&|layer| layer.weights),
            inference_bytes: match lag {
                Some(_) => total(&|layer| layer.inference),
                None => most(&|layer| layer.inference),
            },
            kept_bytes: total(&|layer| layer.kept),
            largest_array: most(&|layer| layer.largest),
            array_limit: self.array_limit(),
            parts: self.parts(spec, [steps, batch])?,
        })
    }

    fn array_limit(&self) -> Option<u64> {
        match self {
            Device::Cpu(_) => None,
            Device::Gpu(gpu) => Some(gpu.max_array_bytes()),
        }
    }

    /// In which parts a training pass runs.
    fn parts(&self, spec: &StackSpec, steps_rows: [usize; 2]) -> Result<Option<Parts>> {
        let Device::Gpu(gpu) = self else { return Ok(Some(Parts::Whole)) };
        match fit::on_gpu(spec, gpu.max_array_bytes(), steps_rows, true, false) {
            Ok(parts) => Ok(Some(parts)),
            Err(Error::TooLarge { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Steps from one layer to the next in a training pass that draws, if its layers run side by side.
    fn lag(&self, spec: &StackSpec, steps_rows: [usize; 2]) -> Result<Option<usize>> {
        let Device::Gpu(gpu) = self else { return Ok(None) };
        wave::lag(gpu, spec, steps_rows, wave::Mode { training: true, draws: true, storage: Storage::F32 })
    }

    /// Of every layer, or of all together, forward and backward.
    fn recurrences(
        &self,
        spec: &StackSpec,
        steps: usize,
        batch: usize,
        lag: Option<usize>,
    ) -> Result<Vec<[Recurrence; 2]>> {
        let Device::Gpu(gpu) = self else { return Ok(Vec::new()) };
        if let Some(lag) = lag {
            let (dims, [forward, backward]) = recurrence(spec, 1, steps, batch);
            let dims = LayerDims { directions: spec.num_layers, ..dims };
            let behind = (spec.num_layers - 1) * lag;
            let [ahead, back] = [steps.next_multiple_of(lag) + behind, steps + behind + 1];
            return Ok(vec![[
                gpu.explain(gpu::Pass::Forward, dims, forward, (ahead, lag))?,
                gpu.explain(gpu::Pass::Backward, dims, backward, (back, lag))?,
            ]]);
        }
        let explain = |layer| {
            let (dims, [forward, backward]) = recurrence(spec, layer, steps, batch);
            Ok([
                gpu.explain(gpu::Pass::Forward, dims, forward, (steps, steps))?,
                gpu.explain(gpu::Pass::Backward, dims, backward, (steps, steps))?,
            ])
        };
        (0..spec.num_layers).map(explain).collect()
    }

    /// Measures the ways to run the recurrences of a layer for sequences of `steps` steps and `batch` rows,
    /// and remembers the fastest of each in this device and in the cache directory
    /// ([`GpuOptions::cache_dir`](crate::GpuOptions::cache_dir)). Takes a second or a few; does nothing on the
    /// CPU. Results change by rounding at most.
    ///
    /// # Errors
    /// Sizes that [`Device::explain`] refuses, or beyond the device's memory, a device that is lost.
    pub fn tune(&self, layer: &impl AsRef<StackSpec>, steps: usize, batch: usize) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Gpu(gpu) => {
                let spec = layer.as_ref();
                check_sizes("Device::tune", steps, batch)?;
                (0..spec.num_layers).try_for_each(|n| tune_layer(self, gpu, spec, n, [steps, batch]))
            }
        }
    }
}

/// Refuses an empty sequence or batch, and sizes whose bytes would not fit a u64.
fn check_sizes(op: &'static str, steps: usize, batch: usize) -> Result<()> {
    for (arg, size) in [("steps", steps), ("batch", batch)] {
        if size == 0 {
            return Err(Error::Value { op, arg, expected: "at least 1".into(), got: "0".into() });
        }
    }
    match steps.checked_mul(batch) {
        Some(rows) if rows <= u32::MAX as usize => Ok(()),
        _ => Err(Error::Value {
            op,
            arg: "batch",
            expected: format!("at most {} for {steps} steps", u32::MAX as usize / steps),
            got: batch.to_string(),
        }),
    }
}

/// Sizes of a layer's recurrences, forward and backward.
fn recurrence(
    spec: &StackSpec,
    layer: usize,
    steps: usize,
    batch: usize,
) -> (LayerDims, [gpu::plan::Work; 2]) {
    let dims = LayerDims {
        steps,
        batch,
        inputs: spec.layer_input_size(layer),
        hidden: gpu::rnn_pack::padded(spec.hidden_size),
        state: gpu::rnn_pack::padded(spec.state_size()),
        directions: spec.num_directions(),
    };
    let (gates, holds) = (spec.cell.gates(), gpu::rnn_options::holds(spec));
    let forward = gpu::rnn::forward_work(dims.hidden, gates, holds);
    (dims, [forward, gpu::rnn::backward_work(dims.hidden, gates, holds)])
}

fn tune_layer(
    device: &Device,
    gpu: &gpu::GpuDevice,
    spec: &StackSpec,
    layer: usize,
    [steps, batch]: [usize; 2],
) -> Result<()> {
    const OP: &str = "Device::tune";
    let (dims, works) = recurrence(spec, layer, steps, batch);
    let (d, g, p) = (dims.directions, spec.cell.gates(), dims.hidden);
    let zeros = |dims: &[usize]| Array::alloc_zeroed(device, OP, dims);
    // As large as any option makes them.
    let cells = steps * batch * d * p;
    let weights = zeros(&[d, (g + 1) * p, p])?;
    let gates = zeros(&[steps, batch, d, p, g])?;
    let (aux, y, dy) = (zeros(&[cells])?, zeros(&[cells])?, zeros(&[cells.max(4 * steps * batch * d)])?);
    let ring = zeros(&[(4 * g + 4) * d * batch * p + (g + 1) * cells])?;
    let (state, options) = (zeros(&[12, d, batch, p])?, zeros(&[d, batch + 9, p])?);
    for (pass, work) in [gpu::Pass::Forward, gpu::Pass::Backward].into_iter().zip(works) {
        let case = gpu::rnn::Measured {
            pass,
            dims,
            spec,
            arrays: [&gates, &aux, &y, &ring, &dy, &state, &options].map(Array::gpu),
            weights: weights.gpu(),
        };
        gpu.tune(&case, work)?;
    }
    Ok(())
}

/// Two devices on one layer, by measurement.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The stack.
    pub spec: StackSpec,
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// Seconds of a forward pass on the CPU backend.
    pub cpu_seconds: f64,
    /// Seconds of a forward pass on the GPU, upload of x and download of y included.
    pub gpu_seconds: f64,
    /// The smallest batch from which the GPU was faster, of B, 2 B, 4 B, ... up to 32 B; `None` if it never
    /// was, B itself if it is at once.
    pub gpu_wins_from: Option<usize>,
}

impl Comparison {
    /// Measures forward passes of a layer on the CPU backend and on `gpu`, in turn, and how the batch size
    /// changes who wins.
    ///
    /// # Errors
    /// Sizes that [`Device::explain`] refuses, or beyond a device's memory, a device that is lost.
    pub fn measure(gpu: &Device, layer: &impl AsRef<StackSpec>, steps: usize, batch: usize) -> Result<Self> {
        let spec = layer.as_ref();
        check_sizes("Comparison::measure", steps, batch)?;
        let cpu = Device::cpu();
        let mut first = None;
        let mut wins = None;
        for factor in [1, 2, 4, 8, 16, 32] {
            let mut sides = [
                Side::new(&cpu, spec, [steps, batch * factor])?,
                Side::new(gpu, spec, [steps, batch * factor])?,
            ];
            let mut seconds = [f64::INFINITY; 2];
            let start = Instant::now();
            // The first turn warms up.
            for turn in 0..20 {
                for (side, best) in sides.iter_mut().zip(&mut seconds) {
                    let elapsed = side.run()?;
                    *best = if turn == 0 { *best } else { best.min(elapsed) };
                }
                if turn >= 3 && start.elapsed().as_secs_f64() > 0.5 {
                    break;
                }
            }
            first.get_or_insert(seconds);
            if seconds[1] < seconds[0] {
                wins = Some(batch * factor);
                break;
            }
        }
        let [cpu_seconds, gpu_seconds] = first.unwrap_or([f64::NAN; 2]);
        Ok(Comparison { spec: *spec, steps, batch, cpu_seconds, gpu_seconds, gpu_wins_from: wins })
    }

    /// Whether the GPU is the faster one for this batch.
    pub fn gpu_is_faster(&self) -> bool {
        self.gpu_seconds < self.cpu_seconds
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "H={}, B={}, T={}: ", self.spec.hidden_size, self.batch, self.steps)?;
        if self.gpu_is_faster() {
            return write!(f, "GPU {:.1} times faster", self.cpu_seconds / self.gpu_seconds);
        }
        write!(f, "CPU {:.1} times faster; ", self.gpu_seconds / self.cpu_seconds)?;
        match self.gpu_wins_from {
            Some(batch) => write!(f, "the GPU wins from B={batch}"),
            None => write!(f, "the GPU does not win up to B={}", 32 * self.batch),
        }
    }
}

/// A layer with zero weights on one device.
struct Side {
    device: Device,
    spec: StackSpec,
    packed: super::Packed,
    x: Vec<f32>,
    dims: [usize; 3],
}

impl Side {
    fn new(device: &Device, spec: &StackSpec, [steps, batch]: [usize; 2]) -> Result<Self> {
        const OP: &str = "Comparison::measure";
        let zeros = |dims: &[usize]| Array::alloc_zeroed(device, OP, dims);
        let cell = |n: usize| {
            let dims = |parameter| spec.parameter_dims(n / spec.num_directions(), parameter);
            let of = |parameter| zeros(&dims(parameter).unwrap_or_default());
            let mut cell = CellWeights::new(of(Parameter::WeightIh)?, of(Parameter::WeightHh)?);
            for parameter in Parameter::ALL {
                if let Some(dims) = dims(parameter) {
                    cell.set(parameter, zeros(&dims)?);
                }
            }
            Ok(cell)
        };
        let cells = (0..spec.num_states()).map(cell).collect::<Result<Vec<_>>>()?;
        Ok(Side {
            device: device.clone(),
            spec: *spec,
            packed: pack(spec, &cells)?,
            x: vec![0.0; steps * batch * spec.input_size],
            dims: [steps, batch, spec.input_size],
        })
    }

    /// Seconds of upload, forward and download.
    fn run(&mut self) -> Result<f64> {
        let start = Instant::now();
        let x = Array::from_f32(&self.device, &self.x, &self.dims)?;
        let args = StackArgs {
            spec: &self.spec,
            packed: &self.packed,
            x: &x,
            h0: None,
            c0: None,
            training: false,
            weights: WeightFormat::F32,
            storage: Storage::F32,
            sequences: None,
            draws: None,
        };
        forward(&args)?.y.to_vec()?;
        Ok(start.elapsed().as_secs_f64())
    }
}
