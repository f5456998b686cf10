//! The cost of every recurrent option: the time of a layer with the option over that of the plain layer. Forward
//! runs in training mode (dropout is drawn) but records nothing; train is forward and backward. Plain layer and
//! option run in turn; the ratio is that of the medians.
//!
//! ```sh
//! cargo bench --bench options -- [--device cpu|gpu] [--seconds 2] [--size large|small] [NAME ...]
//! ```
//! The sizes are T=100 B=32 I=128 H=256 and T=50 B=16 I=64 H=64. Lengths are uniform from T/10 to T, and their
//! ratio refers to the padded batch.

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
#[command(name = "options", bin_name = "cargo bench --bench options --")]
struct Args {
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// `large` or `small`; both by default.
    #[arg(long, value_parser = ["large", "small"])]
    size: Option<String>,
    /// Only options whose name contains one of these words.
    names: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// T, B, I, H
const SIZES: [(&str, [usize; 4]); 2] = [("large", [100, 32, 128, 256]), ("small", [50, 16, 64, 64])];

/// A layer of any cell.
enum Layer {
    Lstm(Lstm),
    Gru(Gru),
    Rnn(Rnn),
}

/// How a layer is run.
#[derive(Default)]
struct Sequences {
    lengths: Option<Lengths>,
    resets: Option<Resets>,
}

impl Layer {
    fn forward(&self, x: &Tensor, of: &Sequences) -> Result<Tensor> {
        let (lengths, resets) = (of.lengths.as_ref(), of.resets.as_ref());
        Ok(match self {
            Layer::Lstm(l) => l.forward_with(x, ForwardArgs { state: None, lengths, resets })?.y,
            Layer::Gru(l) => l.forward_with(x, ForwardArgs { state: None, lengths, resets })?.y,
            Layer::Rnn(l) => l.forward_with(x, ForwardArgs { state: None, lengths, resets })?.y,
        })
    }
}

type Make = fn(&Device, [usize; 4]) -> Result<(Layer, Sequences)>;

/// An option: its name, the plain layer for comparison, and the layer with the option.
struct Case(&'static str, Make, Make);

macro_rules! lstm {
    ($($with:tt)*) => {
        |device, [_, _, i, h]| Ok((Layer::Lstm(LstmConfig::new(i, h)$($with)*.init(device, 1)?), Sequences::default()))
    };
}

macro_rules! gru {
    ($($with:tt)*) => {
        |device, [_, _, i, h]| Ok((Layer::Gru(GruConfig::new(i, h)$($with)*.init(device, 1)?), Sequences::default()))
    };
}

macro_rules! rnn {
    ($($with:tt)*) => {
        |device, [_, _, i, h]| Ok((Layer::Rnn(RnnConfig::new(i, h)$($with)*.init(device, 1)?), Sequences::default()))
    };
}

fn cases() -> Vec<Case> {
    let (plain, gru, rnn): (Make, Make, Make) = (lstm!(), gru!(), rnn!());
    vec![
        Case("peepholes", plain, lstm!(.with_peephole(true))),
        Case("coupled gates", plain, lstm!(.with_coupled_gates(true))),
        Case("softsign", plain, lstm!(.with_candidate_activation(Activation::Softsign))),
        Case("hard sigmoid", plain, lstm!(.with_gate_activation(Activation::HARD_SIGMOID))),
        Case("clip", plain, lstm!(.with_clip(3.0))),
        Case("cell clip", plain, lstm!(.with_cell_clip(3.0))),
        Case("zoneout", plain, lstm!(.with_zoneout(0.1, 0.1))),
        Case("recurrent dropout", plain, lstm!(.with_recurrent_dropout(0.2))),
        Case("candidate dropout", plain, lstm!(.with_candidate_dropout(0.2))),
        Case("input dropout", plain, lstm!(.with_input_dropout(0.2))),
        Case("output dropout", plain, lstm!(.with_output_dropout(0.2))),
        Case("weight dropout", plain, lstm!(.with_weight_dropout(0.2))),
        Case("layer norm", plain, lstm!(.with_layer_norm(true))),
        Case("projection to H/2", plain, |device, [_, _, i, h]| {
            let layer = LstmConfig::new(i, h).with_proj_size(h / 2).init(device, 1)?;
            Ok((Layer::Lstm(layer), Sequences::default()))
        }),
        Case("resets", plain, |device, [t, b, i, h]| {
            let resets = (0..t * b).map(|k| k * 7 % 50 == 0).collect::<Vec<_>>();
            let sequences = Sequences { resets: Some(Resets::new(resets)), lengths: None };
            Ok((Layer::Lstm(LstmConfig::new(i, h).init(device, 1)?), sequences))
        }),
        Case("lengths", plain, |device, [t, b, i, h]| {
            // Spread evenly over T/10..=T, unsorted.
            let lengths = (0..b).map(|k| t / 10 + (k * 5 % b) * (t - t / 10) / (b - 1)).collect::<Vec<_>>();
            let sequences = Sequences { lengths: Some(Lengths::new(lengths)?), resets: None };
            Ok((Layer::Lstm(LstmConfig::new(i, h).init(device, 1)?), sequences))
        }),
        Case("both directions", plain, lstm!(.with_bidirectional(true))),
        Case("gru: reset before", gru, gru!(.with_reset_after(false))),
        Case("gru: layer norm", gru, gru!(.with_layer_norm(true))),
        Case("gru: zoneout", gru, gru!(.with_zoneout(0.1))),
        Case("rnn: independent", rnn, rnn!(.with_independent(true))),
        Case("rnn: layer norm", rnn, rnn!(.with_layer_norm(true))),
    ]
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = Device::from_name(&args.device)?;
    warn_of_load();
    Machine::new(&device, "f32").print();
    println!("plain in ms, option over plain");
    for (name, size @ [t, b, i, h]) in SIZES {
        if args.size.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        println!(
            "\n| T={t} B={b} I={i} H={h} | forward, plain | option | training, plain | option |\n|---|---|---|---|---|"
        );
        let x = Tensor::from_vec(
            &device,
            (0..t * b * i).map(|k| (k * 37 % 101) as f32 / 101.0 - 0.5).collect(),
            &[t, b, i],
        )?;
        let tracked = x.clone().requires_grad();
        for Case(name, plain, option) in cases() {
            if !args.names.is_empty() && !args.names.iter().any(|part| name.contains(part.as_str())) {
                continue;
            }
            let (plain, option) = (plain(&device, size)?, option(&device, size)?);
            let forward = |(layer, of): &(Layer, Sequences)| -> Result<()> {
                no_grad(|| layer.forward(&x, of))?;
                Ok(device.synchronize()?)
            };
            let ones = |(layer, of): &(Layer, Sequences)| -> Result<Tensor> {
                Ok(Tensor::ones(&device, no_grad(|| layer.forward(&x, of))?.dims())?)
            };
            let (ones_plain, ones_option) = (ones(&plain)?, ones(&option)?);
            let train = |(layer, of): &(Layer, Sequences), ones: &Tensor| -> Result<()> {
                let y = layer.forward(&tracked, of)?;
                backward(&[(y, ones.array().clone())])?;
                Ok(device.synchronize()?)
            };
            let [fwd, fwd_ratio] = ratio(args.seconds, || forward(&plain), || forward(&option))?;
            let [full, full_ratio] =
                ratio(args.seconds, || train(&plain, &ones_plain), || train(&option, &ones_option))?;
            println!("| {name} | {fwd:.2} | {fwd_ratio:.2} | {full:.2} | {full_ratio:.2} |");
        }
    }
    Ok(())
}
