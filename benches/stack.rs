//! The gain of running the layers of a stack side by side on a GPU, and of f16 storage in training: the time over
//! that of one layer after the other, and over that of f32. Both sides run in turn; the ratios are those of the
//! medians.
//!
//! ```sh
//! cargo bench --bench stack -- [--gpu NAME] [--seconds 2] [--lag STEPS]
//! ```
//! Without `--lag` the planner chooses the number of steps between the layers.

mod common {
    pub(crate) mod machine;
    pub(crate) mod ratio;
}

use anyhow::Result;
use clap::Parser;
use common::machine::{Machine, warn_of_load};
use common::ratio::ratio;
use rnn_api::prelude::*;
use rnn_api::{GpuOptions, GpuSelector, backward};

#[derive(Parser)]
#[command(name = "stack", bin_name = "cargo bench --bench stack --")]
struct Args {
    /// A part of the adapter's name; by default the best adapter.
    #[arg(long)]
    gpu: Option<String>,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Lag in time steps from one layer to the next.
    #[arg(long)]
    lag: Option<usize>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn open(&self, wavefront: Option<usize>) -> Result<Device> {
        let selector = self.gpu.as_deref().map_or(GpuSelector::Best, GpuSelector::from);
        Ok(Device::gpu_with(selector, GpuOptions { wavefront, ..GpuOptions::default() })?)
    }
}

/// L, T, B, H; I = H
const SIZES: [[usize; 4]; 6] = [
    [2, 100, 1, 64],
    [2, 100, 8, 64],
    [3, 200, 4, 64],
    [2, 100, 16, 128],
    [4, 200, 1, 128],
    [2, 100, 32, 256],
];

/// A stack on its own device, and its input.
struct Stack {
    device: Device,
    lstm: Lstm,
    x: Tensor,
    ones: Tensor,
}

impl Stack {
    fn new(
        args: &Args,
        [l, t, b, h]: [usize; 4],
        wavefront: Option<usize>,
        storage: Storage,
    ) -> Result<Self> {
        let device = args.open(wavefront)?;
        let lstm = LstmConfig::new(h, h).with_num_layers(l).with_storage(storage).init(&device, 1)?;
        let values = (0..t * b * h).map(|k| (k * 37 % 101) as f32 / 101.0 - 0.5).collect();
        let x = Tensor::from_vec(&device, values, &[t, b, h])?.requires_grad();
        let ones = Tensor::ones(&device, &[t, b, h])?;
        Ok(Stack { device, lstm, x, ones })
    }

    fn forward(&self) -> Result<()> {
        no_grad(|| self.lstm.forward(&self.x, None))?;
        Ok(self.device.synchronize()?)
    }

    fn train(&self) -> Result<()> {
        let y = self.lstm.forward(&self.x, None)?.y;
        backward(&[(y, self.ones.array().clone())])?;
        Ok(self.device.synchronize()?)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    warn_of_load();
    Machine::new(&args.open(None)?, "f32").print();
    println!(
        "apart in ms, side by side over apart, f16 over f32 (both apart)\n\n\
         | L, T, B, H | lag | forward, apart | side by side | training, apart | side by side | f16 |\n\
         |---|---|---|---|---|---|---|"
    );
    for size @ [l, t, b, h] in SIZES {
        let apart = Stack::new(&args, size, Some(0), Storage::F32)?;
        let beside = Stack::new(&args, size, args.lag, Storage::F32)?;
        let half = Stack::new(&args, size, Some(0), Storage::Half)?;
        let lag = beside.device.explain(&beside.lstm, t, b)?.lag;
        let [fwd, fwd_ratio] = ratio(args.seconds, || apart.forward(), || beside.forward())?;
        let [full, full_ratio] = ratio(args.seconds, || apart.train(), || beside.train())?;
        let [_, half_ratio] = ratio(args.seconds, || apart.train(), || half.train())?;
        let lag = lag.map_or("-".into(), |lag| lag.to_string());
        println!(
            "| {l}, {t}, {b}, {h} | {lag} | {fwd:.2} | {fwd_ratio:.2} | {full:.2} | {full_ratio:.2} | {half_ratio:.2} |"
        );
    }
    Ok(())
}
