//! What a page can do: train on the CPU, and run a model on the GPU without blocking its thread.

use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::TrainerConfig;
use rnn_api::{Error, GpuOptions, GpuSelector, Result};
use wasm_bindgen::prelude::*;

/// T, B and I of the input.
const DIMS: [usize; 3] = [5, 3, 4];
const HIDDEN: usize = 6;

struct Net {
    lstm: Lstm,
    head: Linear,
}
rnn_api::module!(Net { lstm, head });

impl Net {
    fn new(device: &Device) -> Result<Self> {
        Ok(Net {
            lstm: LstmConfig::new(DIMS[2], HIDDEN).init(device, 1)?,
            head: LinearConfig::new(HIDDEN, 2).init(device, 2)?,
        })
    }

    fn forward(&self, device: &Device) -> Result<Tensor> {
        let values = (0..DIMS.iter().product()).map(|k: usize| (k * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let x = Tensor::from_vec(device, values, &DIMS)?;
        self.head.forward(&self.lstm.forward(&x, None)?.last()?)
    }
}

/// Losses before and after ten epochs of a trainer on the CPU.
fn train() -> Result<[f32; 2]> {
    let device = Device::cpu();
    let net = Net::new(&device)?;
    let labels = Tensor::from_indices(&device, &[0, 1, 1], &[3])?;
    let loss = || net.forward(&device)?.cross_entropy(&labels);
    let before = loss()?.item()?;
    let mut trainer = TrainerConfig::new(10).init(&net, AdamConfig::new(0.05).init(&net)?)?;
    // It reads clocks, which panic in a browser if they are those of the standard library.
    trainer.fit(Batches::new(3, &BatchConfig::new(3))?, |_| loss())?;
    drop(trainer);
    Ok([before, loss()?.item()?])
}

/// The largest difference between the logits of the GPU and of the CPU, and the GPU's name; none without WebGPU.
async fn infer() -> Result<Option<(f32, String)>, JsError> {
    let gpu = match Device::gpu_async(GpuSelector::Best, GpuOptions::default()).await {
        Ok(gpu) => gpu,
        Err(rnn_runtime::Error::NoAdapter { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let want = Net::new(&Device::cpu())?.forward(&Device::cpu())?.to_vec()?;
    let logits = no_grad(|| Net::new(&gpu)?.forward(&gpu))?;
    let got = logits.to_vec_async().await?;
    let difference = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // What has to wait is refused, and the device goes on.
    let Err(Error::Runtime(rnn_runtime::Error::Unsupported { .. })) = logits.to_vec() else {
        return Err(JsError::new("a readback that waits was not refused"));
    };
    Ok(Some((difference, gpu.name())))
}

/// Runs everything; returns a report, or throws.
#[wasm_bindgen]
pub async fn check() -> Result<String, JsError> {
    let [before, after] = train()?;
    if after.is_nan() || after >= before {
        return Err(JsError::new(&format!("training on the CPU went from {before} to {after}")));
    }
    let gpu = match infer().await? {
        None => "no WebGPU adapter".to_string(),
        Some((difference, name)) if difference < 1e-5 => format!("{name} differs by {difference:e}"),
        Some((difference, name)) => {
            return Err(JsError::new(&format!("{name} differs by {difference:e}, above 1e-5")));
        }
    };
    Ok(format!("CPU: loss {before:.4} -> {after:.4}; GPU: {gpu}"))
}
