//! What a report and event files cost: `cargo bench --bench report`.
//!
//! The network and the batches are those of the example `char_lm` (LSTM with 128 units, 32 rows of 50 characters, a
//! validation after every 14 steps). Blocks of steps with the callback and without it alternate within one run, so that both
//! see the same machine. The figure is the median of the quotients of neighbouring blocks. Times are CPU times of the process
//! where the system has them (Linux); with `RNN_THREADS=1` no thread waits in a loop. A report sees the time of all blocks but
//! the events of half of them, so it writes twice as many pages per step as in a run of its own.

use rnn_api::data::{StreamConfig, Streams};
use rnn_api::prelude::*;
use rnn_api::train::{Callback, Event, Flow, JsonLog, Report, Score, TensorBoard, TrainerConfig};
use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Instant;

/// Steps of a block: four validations.
const BLOCK: u64 = 56;
const BLOCKS: u64 = 40;
const SYMBOLS: usize = 44;

struct CharLm {
    embedding: Embedding,
    lstm: Lstm,
    head: Linear,
}
module!(CharLm { embedding, lstm, head });

impl CharLm {
    fn loss(
        &self,
        x: &Tensor,
        y: &Tensor,
        state: Option<&LstmState>,
    ) -> rnn_api::Result<(Tensor, LstmState)> {
        let out = self.lstm.forward(&self.embedding.forward(x)?, state)?;
        Ok((self.head.forward(&out.y)?.cross_entropy(y)?, out.state))
    }
}

/// Seconds of this process on a CPU, or of the clock.
fn now() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let clock = START.get_or_init(Instant::now).elapsed().as_secs_f64();
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = told.as_deref().and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or(clock, |nanoseconds| nanoseconds * 1e-9)
}

/// Passes events on in every second block, and times the blocks.
struct Alternating<'a, C> {
    inner: C,
    on: bool,
    since: f64,
    seconds: &'a RefCell<Vec<f64>>,
}

impl<C: Callback> Callback for Alternating<'_, C> {
    fn on_event(&mut self, event: &Event<'_>) -> rnn_api::Result<Flow> {
        let rare = matches!(event, Event::Started(_) | Event::Ended(_));
        if rare || self.on {
            self.inner.on_event(event)?;
        }
        if let Event::Started(_) = event {
            self.since = now();
        }
        if let Event::Epoch(epoch) = event
            && epoch.step.is_multiple_of(BLOCK)
        {
            self.seconds.borrow_mut().push(now() - self.since);
            (self.on, self.since) = (!self.on, now());
        }
        Ok(Flow::Continue)
    }

    fn wants_update_ratios(&self) -> bool {
        self.on && self.inner.wants_update_ratios()
    }
}

/// Prints how much longer blocks with the callback take.
fn measure(name: &str, device: &Device, callback: impl Callback) -> rnn_api::Result<()> {
    let model = CharLm {
        embedding: EmbeddingConfig::new(SYMBOLS, 64).init(device, 1)?,
        lstm: LstmConfig::new(64, 128).init(device, 2)?,
        head: LinearConfig::new(128, SYMBOLS).init(device, 3)?,
    };
    let text = |count: usize| -> Vec<u32> { (0..count).map(|n| (n * n / 7 % SYMBOLS) as u32).collect() };
    let streams = Streams::of_indices(vec![text(14 * 32 * 50 + 32)], &StreamConfig::new(32, 50))?;
    let held_out = Tensor::from_indices(device, &text(400), &[100, 4])?;
    let adam = AdamConfig::new(1e-3).with_clip_norm(1.0).init(&model)?;
    let epochs = BLOCK * BLOCKS / streams.clone().chunks_per_epoch() as u64;
    let seconds = RefCell::new(Vec::new());
    let mut trainer = TrainerConfig::new(epochs).init(&model, adam)?;
    trainer.validate(|| Ok(Score::min("nats", model.loss(&held_out, &held_out, None)?.0.item()?.into())));
    trainer.on_event(Alternating { inner: callback, on: false, since: now(), seconds: &seconds });
    trainer.fit_streams(streams, |chunk, state| {
        model.loss(&chunk.x.to_tensor(device)?, &chunk.y.to_tensor(device)?, state)
    })?;
    let seconds = seconds.borrow();
    // The first two blocks warm up. A block with the callback is compared with those before and behind it.
    let quotient = |n: usize| 2.0 * seconds[n] / (seconds[n - 1] + seconds[n + 1]);
    let mut quotients: Vec<f64> = (3..seconds.len() - 1).step_by(2).map(quotient).collect();
    quotients.sort_by(f64::total_cmp);
    let at = |share: f64| 100.0 * (quotients[(share * (quotients.len() - 1) as f64) as usize] - 1.0);
    println!("{name:>12}: {:+.2} % (quartiles {:+.2} % and {:+.2} %)", at(0.5), at(0.25), at(0.75));
    Ok(())
}

fn main() -> rnn_api::Result<()> {
    let device = Device::from_name(&std::env::var("RNN_DEVICE").unwrap_or_else(|_| "cpu".into()))?;
    println!(
        "time of training steps of char_lm on {}, relative to those without the callback",
        device.name()
    );
    let folder = std::env::temp_dir().join(format!("rnn-bench-report-{}", std::process::id()));
    measure("nothing", &device, |_: &Event<'_>| Ok(Flow::Continue))?;
    measure("Report", &device, Report::new(folder.join("x.html")))?;
    measure("TensorBoard", &device, TensorBoard::new(&folder))?;
    measure("JsonLog", &device, JsonLog::new(folder.join("x.jsonl")))?;
    std::fs::remove_dir_all(&folder).map_err(|source| rnn_api::Error::Io { path: folder, source })
}
