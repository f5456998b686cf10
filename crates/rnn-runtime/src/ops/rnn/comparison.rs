//! Measured comparison of CPU and GPU on one layer.

use super::forward::forward;
use super::pack::{check_spec, pack};
use super::packed::Packed;
use super::sequences::check_sizes;
use super::types::StackArgs;
use super::weights::CellWeights;
use crate::array::Array;
use crate::device::Device;
use rnn_base::error::Result;
use rnn_base::host_memory;
use rnn_kernels::cell::{Parameter, StackSpec, Storage, WeightFormat};
use std::fmt;
use web_time::Instant;

const OP: &str = "Comparison::measure";

impl Device {
    /// The faster of the CPU backend and the best GPU for a forward pass of a layer over `steps` steps and
    /// `batch` rows. It measures both, which takes a few seconds. The measurement is returned too, unless no
    /// GPU can be measured: there is none (software adapters do not count), or it cannot be opened.
    ///
    /// # Errors
    /// Sizes that exceed a device's memory; a lost device.
    pub fn auto_for(
        layer: &impl AsRef<StackSpec>,
        steps: usize,
        batch: usize,
    ) -> Result<(Self, Option<Comparison>)> {
        let best = Self::best();
        if best.is_cpu() {
            return Ok((best, None));
        }
        let comparison = Comparison::measure(&best, layer, steps, batch)?;
        let device = if comparison.gpu_is_faster() { best } else { Self::cpu() };
        Ok((device, Some(comparison)))
    }
}

/// Measured times of two devices on one layer.
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
    /// Seconds of a forward pass on the GPU, including upload of x and download of y.
    pub gpu_seconds: f64,
    /// The smallest batch for which the GPU was faster, of B, 2 B, 4 B, ... up to 32 B; `None` if it was
    /// faster for none of them.
    pub gpu_wins_from: Option<usize>,
}

impl Comparison {
    /// Measures forward passes of a layer on the CPU backend and on `gpu` in turn, and searches the batch
    /// size from which the GPU is faster.
    ///
    /// # Errors
    /// Sizes that [`Device::explain`] refuses or that exceed a device's memory; a lost device.
    pub fn measure(gpu: &Device, layer: &impl AsRef<StackSpec>, steps: usize, batch: usize) -> Result<Self> {
        let spec = layer.as_ref();
        check_spec(OP, spec)?;
        check_sizes(OP, steps, batch)?;
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
            // The first turn is a warm-up.
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

    /// Whether the GPU is faster for this batch.
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
    packed: Packed,
    x: Vec<f32>,
    dims: [usize; 3],
}

impl Side {
    fn new(device: &Device, spec: &StackSpec, [steps, batch]: [usize; 2]) -> Result<Self> {
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
        let dims = [steps, batch, spec.input_size];
        let what = || format!("x [T, B, I] = {dims:?}");
        device.expect_room(OP, what, &dims)?;
        let x = host_memory::filled(OP, what, dims.iter().product(), 0.0)?;
        let cells = (0..spec.num_states()).map(cell).collect::<Result<Vec<_>>>()?;
        Ok(Side { device: device.clone(), spec: *spec, packed: pack(spec, &cells)?, x, dims })
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
