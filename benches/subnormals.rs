//! What subnormal numbers cost on the CPU: the time of the same work on values that fade below 1.2e-38, over that on
//! ordinary values. Both sides run in turn; the ratios are those of the medians. 1.0 is right: the kernels treat
//! subnormals as zero.
//!
//! ```sh
//! cargo bench --bench subnormals -- [--seconds 2]
//! ```

mod common {
    pub(crate) mod machine;
    pub(crate) mod ratio;
}

use anyhow::Result;
use clap::Parser;
use common::machine::{Machine, warn_of_load};
use common::ratio::ratio;
use rnn_api::backward;
use rnn_api::prelude::*;

#[derive(Parser)]
#[command(name = "subnormals", bin_name = "cargo bench --bench subnormals --")]
struct Args {
    /// Seconds per measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// An LSTM without bias, and inputs of one size.
struct Layer {
    lstm: Lstm,
    x: Tensor,
    ones: Tensor,
}

impl Layer {
    const DIMS: [usize; 3] = [200, 16, 64];

    fn new(device: &Device, size: f32) -> Result<Self> {
        let lstm = LstmConfig::new(64, 64).with_bias(false).init(device, 1)?;
        let len = Self::DIMS.iter().product();
        let values = (0..len).map(|k| size * ((k * 37 % 101) as f32 / 101.0 - 0.5)).collect();
        let x = Tensor::from_vec(device, values, &Self::DIMS)?.requires_grad();
        Ok(Layer { lstm, x, ones: Tensor::ones(device, &Self::DIMS)? })
    }

    fn forward(&self) -> Result<()> {
        no_grad(|| self.lstm.forward(&self.x, None))?;
        Ok(())
    }

    fn train(&self) -> Result<()> {
        let y = self.lstm.forward(&self.x, None)?.y;
        backward(&[(y, self.ones.array().clone())])?;
        Ok(())
    }
}

/// A table of which one row learns, after `steps` steps that let the moments of the others fade.
struct Table {
    embedding: Embedding,
    adam: Adam,
    device: Device,
}

impl Table {
    const ROWS: u32 = 20_000;

    fn new(device: &Device, steps: usize) -> Result<Self> {
        let embedding = EmbeddingConfig::new(Self::ROWS as usize, 64).init(device, 1)?;
        let adam = AdamConfig::new(1e-3).init(&embedding)?;
        let mut table = Table { embedding, adam, device: device.clone() };
        table.step(&(0..Self::ROWS).collect::<Vec<_>>())?;
        for _ in 0..steps {
            table.step(&[7])?;
        }
        Ok(table)
    }

    fn step(&mut self, rows: &[u32]) -> Result<()> {
        let rows = Tensor::from_indices(&self.device, rows, &[rows.len()])?;
        let y = self.embedding.forward(&rows)?;
        let loss = y.mul(&y)?.mean_all()?;
        Ok(self.adam.step(&loss.backward()?)?)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = Device::cpu();
    Machine::new(&device, "f32").print();
    warn_of_load();
    let print = |name: &str, [plain, ratio]: [f64; 2]| println!("| {name} | {plain:.2} | {ratio:.2} |");
    println!("| work | ms on ordinary values | ratio |\n|---|---|---|");
    let (plain, tiny) = (Layer::new(&device, 1.0)?, Layer::new(&device, 1e-40)?);
    print(
        "LSTM 64 on [200, 16, 64], x = 1e-40: forward",
        ratio(args.seconds, || plain.forward(), || tiny.forward())?,
    );
    print("the same: training", ratio(args.seconds, || plain.train(), || tiny.train())?);
    let (mut fresh, mut faded) = (Table::new(&device, 0)?, Table::new(&device, 1200)?);
    print(
        "Adam on [20000, 64], others' moments faded",
        ratio(args.seconds, || fresh.step(&[7]), || faded.step(&[7]))?,
    );
    Ok(())
}
