//! Report on a recurrent stack's plans and memory on a device.

use super::memory::{LayerSizes, all_bytes};
use super::pack::check_spec;
use super::parts::{self, Division};
use super::sequences::check_sizes;
use crate::device::Device;
use rnn_base::error::{Error, Result};
use rnn_gpu::SpeedReport;
use rnn_gpu::rnn::{Recurrence, wavefront};
use rnn_kernels::cell::{StackSpec, Storage};
use std::fmt;

/// The report of [`Device::explain`].
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
    /// Forward and backward recurrence of every layer, or of all layers together in a wavefront; empty on the
    /// CPU.
    pub recurrences: Vec<[Recurrence; 2]>,
    /// How fast the adapter is, as the planner sees it, and where the numbers come from; `None` on the CPU.
    pub speed: Option<SpeedReport>,
    /// Wavefront lag in training: time steps from one layer to the next where layers run side by side.
    pub lag: Option<usize>,
    /// Bytes of the weights as packed for the kernels, without those of the backward pass.
    pub weight_bytes: u64,
    /// Most bytes of arrays that an inference pass holds at the same time, input and output included, weights
    /// excluded.
    pub inference_bytes: u64,
    /// Bytes that a training pass keeps from forward to backward when all rows are equally long, without the
    /// input of the first layer and without weights.
    pub kept_bytes: u64,
    /// Bytes of the largest single array.
    pub largest_array: u64,
    /// Most bytes of a single array; `None` on the CPU.
    pub array_limit: Option<u64>,
    /// The parts that a training pass runs in because of that limit; `None` where not even one batch row
    /// fits.
    pub parts: Option<Division>,
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
        if let Some(speed) = &self.speed {
            writeln!(f, "  adapter: {speed}")?;
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
                    Some(Division::Whole) => write!(f, "its weights are refused"),
                    Some(Division::Segments(steps)) => {
                        write!(f, "training runs in segments of {steps} steps")
                    }
                    Some(Division::Groups { rows, segment: None }) => {
                        write!(f, "training runs in groups of {rows} rows")
                    }
                    Some(Division::Groups { rows, segment: Some(steps) }) => {
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
    /// Memory of a layer for sequences of `steps` steps and `batch` rows, and on a GPU the algorithm of every
    /// recurrence with the reason for it. Runs nothing, except for the kernels' self-tests and the measurement
    /// of the adapter at a GPU's first use.
    ///
    /// # Errors
    /// Sizes or options that [`StackSpec::check`] refuses; no steps or no rows, or 2^32 or more of both together; more
    /// bytes than a u64 counts; a lost device.
    pub fn explain(&self, layer: &impl AsRef<StackSpec>, steps: usize, batch: usize) -> Result<Explanation> {
        const OP: &str = "Device::explain";
        let spec = layer.as_ref();
        check_spec(OP, spec)?;
        check_sizes(OP, steps, batch)?;
        let lag = self.lag(spec, [steps, batch])?;
        let on = (!self.is_cpu(), lag.is_some());
        let layers = (0..spec.num_layers)
            .map(|n| LayerSizes::new(spec, n, [steps, batch], on))
            .collect::<Result<Vec<_>>>()?;
        let bytes = |elements: u128| all_bytes(OP, spec, [steps, batch], elements);
        let each = |size: &dyn Fn(&LayerSizes) -> usize| -> Vec<u128> {
            layers.iter().map(|layer| size(layer) as u128).collect()
        };
        let most = |size: &dyn Fn(&LayerSizes) -> usize| bytes(each(size).into_iter().max().unwrap_or(0));
        let total = |size: &dyn Fn(&LayerSizes) -> usize| bytes(each(size).into_iter().sum());
        Ok(Explanation {
            device: self.name(),
            spec: *spec,
            steps,
            batch,
            recurrences: match self {
                Device::Cpu(_) => Vec::new(),
                Device::Gpu(gpu) => rnn_gpu::rnn::recurrences(gpu, spec, [steps, batch], lag)?,
            },
            speed: match self {
                Device::Cpu(_) => None,
                Device::Gpu(gpu) => Some(gpu.speed()?),
            },
            lag,
            weight_bytes: total(&|layer| layer.weights)?,
            inference_bytes: match lag {
                Some(_) => total(&|layer| layer.inference)?,
                None => most(&|layer| layer.inference)?,
            },
            kept_bytes: total(&|layer| layer.kept)?,
            largest_array: most(&|layer| layer.largest)?,
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

    /// The parts that a training pass runs in.
    fn parts(&self, spec: &StackSpec, steps_rows: [usize; 2]) -> Result<Option<Division>> {
        let Device::Gpu(gpu) = self else { return Ok(Some(Division::Whole)) };
        match parts::on_gpu(spec, parts::Limits::of(gpu), steps_rows, true, false) {
            Ok(parts) => Ok(Some(parts)),
            Err(Error::TooLarge { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Wavefront lag of a training pass with random draws, if its layers run side by side.
    fn lag(&self, spec: &StackSpec, steps_rows: [usize; 2]) -> Result<Option<usize>> {
        let Device::Gpu(gpu) = self else { return Ok(None) };
        wavefront::lag(
            gpu,
            spec,
            steps_rows,
            wavefront::Mode { training: true, draws: true, storage: Storage::F32 },
        )
    }

    /// Measures the plans of a layer's recurrences for sequences of `steps` steps and `batch` rows. The
    /// fastest ones are kept in this device and in the cache directory
    /// ([`GpuOptions::cache_dir`](crate::GpuOptions::cache_dir)). It takes a few seconds, and does nothing on
    /// the CPU. Afterwards results may differ by rounding.
    /// # Errors
    /// Sizes that [`Device::explain`] refuses or that exceed the device's memory; a lost device.
    pub fn tune(&self, layer: &impl AsRef<StackSpec>, steps: usize, batch: usize) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Gpu(gpu) => {
                let spec = layer.as_ref();
                check_spec("Device::tune", spec)?;
                check_sizes("Device::tune", steps, batch)?;
                (0..spec.num_layers).try_for_each(|n| rnn_gpu::rnn::tune(gpu, spec, n, [steps, batch]))
            }
        }
    }
}
