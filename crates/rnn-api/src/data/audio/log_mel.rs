//! The log-mel transform.

use super::Sound;
use crate::data::error::{Place, Problem};
use crate::data::reserve::room;
use crate::data::sequence::Sequence;
use crate::{Error, Result};
use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Log-mel frames: the power spectrum of overlapping windows (periodic Hann), summed by triangles
/// that are evenly spaced on the mel scale `2595 log10(1 + f / 700)` (O'Shaughnessy 1987, as in
/// HTK), and the natural logarithm of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LogMelConfig {
    /// Samples per second that sounds must have; 16000 by default.
    pub rate: u32,
    /// Samples of a window; 25 ms by default.
    pub window: usize,
    /// Samples from one window to the next; 10 ms by default.
    pub hop: usize,
    /// Points of the Fourier transform, zeros beyond the window: the next power of two by default.
    pub fft_size: usize,
    /// Number of mel bands, the features; 40 by default.
    pub bands: usize,
    /// Lowest frequency in Hz; 20 by default.
    pub low: f32,
    /// Highest frequency in Hz; half the rate by default.
    pub high: f32,
    /// Energies below are raised to it before the logarithm; 1e-10 by default.
    pub floor: f32,
}

impl LogMelConfig {
    /// The defaults at this rate.
    pub fn new(rate: u32) -> Self {
        let window = rate as usize / 40;
        LogMelConfig {
            rate,
            window,
            hop: rate as usize / 100,
            fft_size: window.next_power_of_two(),
            bands: 40,
            low: 20.0,
            high: rate as f32 / 2.0,
            floor: 1e-10,
        }
    }

    /// Sets the samples of a window and from one to the next.
    #[must_use]
    pub fn with_window(self, window: usize, hop: usize) -> Self {
        // `init` refuses sizes without a next power.
        let fft_size = window.checked_next_power_of_two().unwrap_or(usize::MAX);
        LogMelConfig { window, hop, fft_size, ..self }
    }

    /// Sets the number of bands and the frequencies from the first to the last.
    #[must_use]
    pub fn with_bands(self, bands: usize, low: f32, high: f32) -> Self {
        LogMelConfig { bands, low, high, ..self }
    }

    /// Makes the transform.
    ///
    /// # Errors
    /// Sizes of 0, a transform shorter than the window, frequencies that are out of order or beyond
    /// half the rate, a floor that is not positive, or so many bands that one holds no frequency.
    pub fn init(&self) -> Result<LogMel> {
        const NAME: &str = "LogMelConfig";
        for (field, size) in [("window", self.window), ("hop", self.hop), ("bands", self.bands)] {
            if size == 0 {
                return Err(Error::config(NAME, field, "at least 1", 0));
            }
        }
        if self.fft_size < self.window || self.fft_size > 1 << 24 {
            let expected = format!("from the window of {} samples to 2^24", self.window);
            return Err(Error::config(NAME, "fft_size", expected, self.fft_size));
        }
        if !(0.0 <= self.low && self.low < self.high && self.high <= self.rate as f32 / 2.0) {
            let expected = format!("in order from 0 to {} Hz", self.rate as f32 / 2.0);
            return Err(Error::config(NAME, "low, high", expected, format!("{}, {}", self.low, self.high)));
        }
        if !(self.floor.is_finite() && self.floor > 0.0) {
            return Err(Error::config(NAME, "floor", "finite and positive", self.floor));
        }
        let turn = std::f64::consts::TAU / self.window as f64;
        let hann = (0..self.window).map(|n| (0.5 - 0.5 * (turn * n as f64).cos()) as f32).collect();
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(self.fft_size);
        Ok(LogMel { config: self.clone(), hann, fft, bands: triangles(self)? })
    }
}

fn mel(hertz: f64) -> f64 {
    2595.0 * (1.0 + hertz / 700.0).log10()
}

fn hertz(mel: f64) -> f64 {
    700.0 * (10f64.powf(mel / 2595.0) - 1.0)
}

/// For each band its first bin and the weights from there on.
fn triangles(config: &LogMelConfig) -> Result<Vec<(usize, Vec<f32>)>> {
    let (low, high) = (mel(config.low.into()), mel(config.high.into()));
    let edge = |k: usize| hertz(low + (high - low) * k as f64 / (config.bands as f64 + 1.0));
    let frequency = |bin: usize| bin as f64 * f64::from(config.rate) / config.fft_size as f64;
    let triangle = |band: usize| {
        let (left, top, right) = (edge(band), edge(band + 1), edge(band + 2));
        let weight =
            |bin| ((frequency(bin) - left) / (top - left)).min((right - frequency(bin)) / (right - top));
        // One bin more on both sides, as frequencies are rounded.
        let bin = |hertz: f64| (hertz * config.fft_size as f64 / f64::from(config.rate)) as usize;
        let near = bin(left).saturating_sub(1)..=(bin(right) + 2).min(config.fft_size / 2);
        let bins: Vec<usize> = near.filter(|&bin| weight(bin) > 0.0).collect();
        let Some(&first) = bins.first() else {
            let expected =
                format!("few enough for a transform of {} points: band {band} is empty", config.fft_size);
            return Err(Error::config("LogMelConfig", "bands", expected, config.bands));
        };
        Ok((first, bins.into_iter().map(|bin| weight(bin) as f32).collect()))
    };
    (0..config.bands).map(triangle).collect()
}

/// Turns sounds into log-mel frames.
#[derive(Clone)]
pub struct LogMel {
    config: LogMelConfig,
    hann: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    bands: Vec<(usize, Vec<f32>)>,
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogMel").field("config", &self.config).finish_non_exhaustive()
    }
}

impl LogMel {
    /// The frames of a sound, `[frames, bands]`. Windows lie within the sound: there are
    /// `1 + (samples - window) / hop` of them.
    ///
    /// # Errors
    /// A sound of another rate, or one shorter than a window.
    pub fn frames(&self, sound: &Sound) -> Result<Sequence> {
        let LogMelConfig { window, hop, rate, floor, .. } = self.config;
        if sound.rate() != rate {
            return Err(Error::value(
                "LogMel::frames",
                "rate",
                format!("{rate} samples a second"),
                sound.rate(),
            ));
        }
        if sound.samples().len() < window {
            let problem = Problem::TooShort { length: sound.samples().len(), needed: window };
            return Err(problem.at(Place::default()));
        }
        let (mut input, mut spectrum) = (self.fft.make_input_vec(), self.fft.make_output_vec());
        let mut scratch = self.fft.make_scratch_vec();
        let count = 1 + (sound.samples().len() - window) / hop;
        let mut values = room("LogMel::frames", "the frames [T, bands] =", &[count, self.config.bands])?;
        for start in (0..=sound.samples().len() - window).step_by(hop) {
            input.fill(0.0);
            let samples = sound.samples()[start..].iter().zip(&self.hann);
            input.iter_mut().zip(samples).for_each(|(x, (sample, weight))| *x = sample * weight);
            self.fft.process_with_scratch(&mut input, &mut spectrum, &mut scratch).map_err(|error| {
                let what = "this Fourier transform".to_string();
                Error::Unsupported { what, why: error.to_string() }
            })?;
            for (first, weights) in &self.bands {
                let power = weights.iter().zip(&spectrum[*first..]).map(|(w, bin)| w * bin.norm_sqr());
                values.push(power.sum::<f32>().max(floor).ln());
            }
        }
        Sequence::new(values, self.config.bands)
    }

    /// The configuration.
    pub fn config(&self) -> &LogMelConfig {
        &self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition in f64: a Fourier sum instead of the fast transform, triangles by their corners.
    fn reference(config: &LogMelConfig, samples: &[f32]) -> Vec<f64> {
        // 2595 / ln 10: the same scale with natural logarithms.
        const PER_NATURAL: f64 = 1_127.010_480_317_7;
        let tau = std::f64::consts::TAU;
        let mel = |f: f64| PER_NATURAL * (1.0 + f / 700.0).ln();
        let (low, high) = (mel(config.low.into()), mel(config.high.into()));
        let step = (high - low) / (config.bands as f64 + 1.0);
        let corner = |k: f64| 700.0 * (((low + k * step) / PER_NATURAL).exp() - 1.0);
        let mut frames = Vec::new();
        let mut start = 0;
        while start + config.window <= samples.len() {
            let power: Vec<f64> = (0..=config.fft_size / 2)
                .map(|bin| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for n in 0..config.window {
                        let hann = (tau * n as f64 / config.window as f64 / 2.0).sin().powi(2);
                        let phase = tau * (bin * n) as f64 / config.fft_size as f64;
                        re += f64::from(samples[start + n]) * hann * phase.cos();
                        im -= f64::from(samples[start + n]) * hann * phase.sin();
                    }
                    re * re + im * im
                })
                .collect();
            for band in 0..config.bands {
                let [l, c, r] = [0.0, 1.0, 2.0].map(|k| corner(band as f64 + k));
                let sum = power.iter().enumerate().map(|(bin, p)| {
                    let f = bin as f64 * f64::from(config.rate) / config.fft_size as f64;
                    let weight = if f <= l || f >= r {
                        0.0
                    } else if f < c {
                        (f - l) / (c - l)
                    } else {
                        (r - f) / (r - c)
                    };
                    p * weight
                });
                frames.push(sum.sum::<f64>().max(config.floor.into()).ln());
            }
            start += config.hop;
        }
        frames
    }

    #[test]
    fn frames_are_what_the_definition_says() {
        let config = LogMelConfig::new(8000).with_window(201, 77).with_bands(13, 100.0, 3800.0);
        let noise = rnn_testing::data::scaled(3, 700, 0.1);
        let tone = |n: usize| (std::f32::consts::TAU * 1000.0 * n as f32 / 8000.0).sin();
        let samples: Vec<f32> = noise.iter().enumerate().map(|(n, x)| x + 0.5 * tone(n)).collect();
        let want = reference(&config, &samples);
        let frames = config.init().unwrap().frames(&Sound::new(samples, 8000).unwrap()).unwrap();
        assert_eq!((frames.len(), frames.features()), (1 + (700 - 201) / 77, 13));
        for (got, want) in frames.values().iter().zip(&want) {
            // Single precision beside a tone 60 dB above the noise.
            assert!((f64::from(*got) - want).abs() < 1e-3, "{got} {want}");
        }
        let silence = Sound::new(vec![0.0; 300], 8000).unwrap();
        let silent = config.init().unwrap().frames(&silence).unwrap();
        assert!(silent.values().iter().all(|x| *x == 1e-10f32.ln()));
    }

    #[test]
    fn nonsense_is_refused() {
        let config = LogMelConfig::new(8000);
        let mel = config.init().unwrap();
        let sound = |n, rate| Sound::new(vec![0.0; n], rate).unwrap();
        assert!(mel.frames(&sound(9000, 16000)).unwrap_err().to_string().contains("8000 samples a second"));
        assert!(mel.frames(&sound(199, 8000)).unwrap_err().to_string().contains("200 are needed"));
        let error = |config: LogMelConfig| config.init().unwrap_err().to_string();
        assert!(error(config.clone().with_window(0, 1)).contains("window"));
        assert!(error(config.clone().with_window(4, 0)).contains("hop"));
        for window in [usize::MAX, (1 << 24) + 1] {
            assert!(error(config.clone().with_window(window, 1)).contains("fft_size"));
        }
        assert!(error(config.clone().with_bands(usize::MAX, 20.0, 4000.0)).contains("is empty"));
        assert!(error(config.clone().with_bands(4, 100.0, 4001.0)).contains("4000 Hz"));
        assert!(error(config.clone().with_bands(4, f32::NAN, 400.0)).contains("low, high"));
        assert!(error(config.clone().with_bands(300, 20.0, 4000.0)).contains("is empty"));
        assert!(error(LogMelConfig { floor: 0.0, ..config.clone() }).contains("floor"));
        assert!(error(LogMelConfig { fft_size: 8, ..config }).contains("fft_size"));
    }
}
