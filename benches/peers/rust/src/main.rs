//! Times one recurrent layer of Burn or candle: `rivals burn|burn-wgpu|candle CASE`, where CASE is an object
//! of a grid file. Prints `{"fwd_ms": .., "train_ms": ..}`: medians of inference, and of forward and backward
//! to input and weights. Burn's layers take the batch first; so do candle's.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::time::{Duration, Instant};

#[derive(Deserialize)]
#[allow(non_snake_case)]
struct Case {
    cell: String,
    T: usize,
    B: usize,
    I: usize,
    H: usize,
}

/// Median milliseconds over three seconds, at least 3 and at most 200 runs.
fn median(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..2 {
        work()?;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < 3 || (start.elapsed() < Duration::from_secs(3) && times.len() < 200) {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

mod burn_layer {
    use super::{Case, median};
    use anyhow::{Context, Result, bail};
    use burn::nn::{LstmConfig, RnnConfig, gru::GruConfig};
    use burn::tensor::{Device, Distribution, Tensor};

    pub fn time(case: &Case, device: Device) -> Result<[f64; 2]> {
        let tracked = device.clone().autodiff();
        let draw = |device: &Device| -> Tensor<3> {
            Tensor::random([case.B, case.T, case.I], Distribution::Normal(0.0, 1.0), device)
        };
        let x = draw(&device);
        let leaf = draw(&tracked).require_grad();
        // Reading one number waits for all of it.
        let wait = |y: Tensor<3>| y.sum().into_data();
        macro_rules! both {
            ($config:expr, |$out:ident| $y:expr) => {{
                let (layer, trained) = ($config.init(&device), $config.init(&tracked));
                let forward = median(|| {
                    let $out = layer.forward(x.clone(), None);
                    wait($y);
                    Ok(())
                })?;
                let train = median(|| {
                    let $out = trained.forward(leaf.clone(), None);
                    let y: Tensor<3> = $y;
                    let grads = y.sum().backward();
                    wait(leaf.grad(&grads).context("no gradient of x")?);
                    Ok(())
                })?;
                [forward, train]
            }};
        }
        Ok(match case.cell.as_str() {
            "lstm" => both!(LstmConfig::new(case.I, case.H, true), |out| out.0),
            "gru" => both!(GruConfig::new(case.I, case.H, true), |out| out),
            "rnn" => both!(RnnConfig::new(case.I, case.H, true), |out| out.0),
            other => bail!("unknown cell {other}"),
        })
    }
}

mod candle_layer {
    use super::{Case, median};
    use anyhow::{Result, bail};
    use candle_core::{DType, Device, Tensor, Var};
    use candle_nn::rnn::RNN;
    use candle_nn::{VarBuilder, VarMap};

    pub fn time(case: &Case) -> Result<[f64; 2]> {
        let (device, variables) = (Device::Cpu, VarMap::new());
        let builder = VarBuilder::from_varmap(&variables, DType::F32, &device);
        let shape = (case.B, case.T, case.I);
        let x = Tensor::randn(0f32, 1f32, shape, &device)?;
        let leaf = Var::randn(0f32, 1f32, shape, &device)?;
        fn both(layer: impl RNN, x: &Tensor, leaf: &Tensor) -> Result<[f64; 2]> {
            let run = |x: &Tensor| layer.states_to_tensor(&layer.seq(x)?);
            let forward = median(|| Ok(run(x).map(drop)?))?;
            let train = median(|| Ok(run(leaf)?.sum_all()?.backward().map(drop)?))?;
            Ok([forward, train])
        }
        match case.cell.as_str() {
            "lstm" => both(candle_nn::lstm(case.I, case.H, Default::default(), builder)?, &x, &leaf),
            "gru" => both(candle_nn::gru(case.I, case.H, Default::default(), builder)?, &x, &leaf),
            other => bail!("candle has no cell {other}"),
        }
    }
}

/// The `gemm` crate on one thread, row-major, in GFLOP/s: what `cargo bench --bench kernels` times the
/// register tile on.
#[cfg(feature = "gemm")]
fn gemm_rate([m, n, k]: [usize; 3]) -> Result<f64> {
    let (a, b, mut c) = (vec![0.5f32; m * k], vec![0.25f32; k * n], vec![0f32; m * n]);
    let stride = |cols: usize| cols as isize;
    let ms = median(|| {
        // SAFETY: the pointers and strides are those of the vectors above.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                stride(n),
                false,
                a.as_ptr(),
                1,
                stride(k),
                b.as_ptr(),
                1,
                stride(n),
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        Ok(())
    })?;
    assert!(c.iter().all(|&x| x == 0.125 * k as f32), "a wrong product");
    Ok((2 * m * n * k) as f64 / ms / 1e6)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "gemm")]
    if let [peer, m, n, k] = &args[..] {
        anyhow::ensure!(peer == "gemm", "usage: rivals gemm M N K");
        println!("{:.1} GFLOP/s", gemm_rate([m.parse()?, n.parse()?, k.parse()?])?);
        return Ok(());
    }
    let [peer, case] = &args[..] else { bail!("usage: rivals burn|burn-wgpu|candle CASE, or rivals gemm M N K") };
    let case: Case = serde_json::from_str(case).context("the case")?;
    let [fwd_ms, train_ms] = match peer.as_str() {
        "burn" => burn_layer::time(&case, burn::tensor::Device::flex())?,
        #[cfg(feature = "wgpu")]
        "burn-wgpu" => {
            burn_layer::time(&case, burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice))?
        }
        "candle" => candle_layer::time(&case)?,
        other => bail!("unknown rival {other}, or built without it"),
    };
    println!("{}", serde_json::json!({ "fwd_ms": fwd_ms, "train_ms": train_ms }));
    Ok(())
}
