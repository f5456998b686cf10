//! What measuring an adapter is worth: the time of every case of the grid by plans from measured facts over that by plans
//! from constants. Both sides run in turn; the ratios are those of the medians. Below 1 measuring pays.
//!
//! ```sh
//! cargo bench --bench planner -- [--gpu NAME] [--seconds 2] [--tune] [--plans] [NAME ...]
//! ```
//! `--tune` compares with the fastest of the plans that `Device::tune` measures. `--plans` prints the plans.

mod common {
    #[allow(dead_code, reason = "this bench counts no operations and verifies no gradients")]
    pub(crate) mod case;
    pub(crate) mod machine;
    pub(crate) mod ratio;
}

use anyhow::Result;
use clap::Parser;
use common::case::{Case, GRID, Layer, read_grid};
use common::machine::{Machine, warn_of_load};
use common::ratio::ratio;
use rnn_api::prelude::*;
use rnn_api::{CacheDir, GpuOptions, GpuSelector};

#[derive(Parser)]
#[command(name = "planner", bin_name = "cargo bench --bench planner --")]
struct Args {
    /// A part of the adapter's name; by default the best adapter.
    #[arg(long)]
    gpu: Option<String>,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Compare constants with measured plans in place of measured facts.
    #[arg(long)]
    tune: bool,
    /// Print the plans of both sides.
    #[arg(long)]
    plans: bool,
    /// Only these cases.
    names: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A case on its own device, and its input.
struct Side {
    device: Device,
    layer: Layer,
    x: Tensor,
    ones: Tensor,
    /// Forward and backward, without estimates.
    plans: [String; 2],
}

impl Side {
    fn new(device: &Device, case: &Case, tune: bool) -> Result<Self> {
        let layer = Layer::new(case, WeightFormat::F32, device)?;
        if tune {
            device.tune(layer.spec(), case.T, case.B)?;
        }
        let said = device.explain(layer.spec(), case.T, case.B)?;
        let plans = said.recurrences[0].clone().map(|plan| {
            let text = plan.to_string();
            text[..text.find(';').unwrap_or(text.len())].to_string()
        });
        let x = Tensor::from_vec(device, case.x(), &[case.T, case.B, case.I])?.requires_grad();
        let ones = Tensor::ones(device, &[case.T, case.B, case.outputs()])?;
        Ok(Side { device: device.clone(), layer, x, ones, plans })
    }

    fn forward(&self) -> Result<()> {
        no_grad(|| self.layer.forward(&self.x))?;
        Ok(self.device.synchronize()?)
    }

    fn train(&self) -> Result<()> {
        self.layer.train(&self.x, &self.ones)?;
        Ok(self.device.synchronize()?)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let selector = args.gpu.as_deref().map_or(GpuSelector::Best, GpuSelector::from);
    let open = |calibrate| {
        let options =
            GpuOptions { calibrate: Some(calibrate), cache_dir: CacheDir::Off, ..GpuOptions::default() };
        Device::gpu_with(selector.clone(), options)
    };
    let [constants, measured] = [open(false)?, open(true)?];
    warn_of_load();
    Machine::new(&constants, "f32").print();
    let cases = read_grid(None, GRID)?;
    for (name, device) in [("constants", &constants), ("measured", &measured)] {
        let said = device.explain(Layer::new(&cases[0], WeightFormat::F32, device)?.spec(), 1, 1)?;
        println!("{name}: {}", said.speed.map_or("the CPU".into(), |speed| speed.to_string()));
    }
    println!(
        "\nconstants in ms, {} over constants; = where both plans are the same\n\n\
         | case | forward | ratio | training | ratio |\n|---|---|---|---|---|",
        if args.tune { "tuned" } else { "measured" }
    );
    for case in cases.iter().filter(|case| args.names.is_empty() || args.names.contains(&case.name)) {
        let before = Side::new(&constants, case, false)?;
        let after = Side::new(&measured, case, args.tune)?;
        let same: Vec<bool> = (0..2).map(|pass| before.plans[pass] == after.plans[pass]).collect();
        let [fwd, fwd_ratio] = ratio(args.seconds, || before.forward(), || after.forward())?;
        let [full, full_ratio] = ratio(args.seconds, || before.train(), || after.train())?;
        let text = |same: bool, ratio: f64| if same { "=".into() } else { format!("{ratio:.2}") };
        let name = &case.name;
        println!(
            "| {name} | {fwd:.3} | {} | {full:.3} | {} |",
            text(same[0], fwd_ratio),
            text(same[0] && same[1], full_ratio)
        );
        for (pass, plan) in ["forward", "backward"].iter().enumerate().filter(|_| args.plans) {
            println!("    {plan}: {}\n    {plan}: {}", before.plans[pass], after.plans[pass]);
        }
    }
    Ok(())
}
