//! A sound and a distortion of it, for runs without files.
//!
//! The sound is plucked strings, one to three at a time (Karplus and Strong 1983). The distortion has what a memory is needed
//! for:
//!
//! 1. a high-pass of the first order at 80 Hz: the capacitor in front of a valve;
//! 2. sag: the gain is `12 / (1 + 4 e)`, where e follows |x| within 2 ms upwards and 80 ms downwards, as the supply does;
//! 3. an asymmetric valve: `tanh(gain x + 0.3) - tanh(0.3)`;
//! 4. a low-pass of the first order at 4 kHz: the loudspeaker.

use rnn_api::RngKey;
use std::f32::consts::TAU;

/// Samples per second.
pub(crate) const RATE: u32 = 44_100;

/// Plucked strings for this many seconds.
pub(crate) fn strings(seconds: f32, seed: u64) -> Vec<f32> {
    let key = RngKey::new(seed).derive(0x5354_5247, 0);
    let mut sound = vec![0.0; (seconds * RATE as f32) as usize];
    let (mut start, mut pluck) = (0, 0);
    while start < sound.len() {
        let draw = |n: u32| key.uniform(pluck, n);
        let end = sound.len().min(start + ((0.15 + 0.5 * draw(0)) * RATE as f32) as usize);
        let (voices, loudness) = (1 + (3.0 * draw(1)) as u32, 0.15 + 0.65 * draw(2));
        for voice in 0..voices {
            // Semitones from E2, 82.4 Hz, over two octaves.
            let pitch = 82.4 * 2f32.powf((24.0 * draw(3 + voice)).floor() / 12.0);
            let mut string: Vec<f32> = (0..(RATE as f32 / pitch) as u32)
                .map(|n| loudness * (2.0 * key.uniform(pluck, 1000 + 4000 * voice + n) - 1.0))
                .collect();
            let period = string.len();
            for (n, out) in sound[start..end].iter_mut().enumerate() {
                let (here, next) = (string[n % period], string[(n + 1) % period]);
                *out += here / voices as f32;
                string[n % period] = 0.498 * (here + next);
            }
        }
        (start, pluck) = (end, pluck + 1);
    }
    sound
}

/// The sound behind the circuit.
pub(crate) fn distorted(dry: &[f32]) -> Vec<f32> {
    let share = |hertz: f32| 1.0 - (-TAU * hertz / RATE as f32).exp();
    let within = |seconds: f32| 1.0 - (-1.0 / (seconds * RATE as f32)).exp();
    let (high, low, up, down) = (share(80.0), share(4000.0), within(0.002), within(0.08));
    let (mut below, mut follower, mut speaker) = (0.0, 0.0, 0.0);
    let sample = |&x: &f32| {
        below += high * (x - below);
        let x = x - below;
        let rises = x.abs() > follower;
        follower += if rises { up } else { down } * (x.abs() - follower);
        let gain = 12.0 / (1.0 + 4.0 * follower);
        let valve = (gain * x + 0.3).tanh() - 0.3f32.tanh();
        speaker += low * (valve - speaker);
        0.7 * speaker
    };
    dry.iter().map(sample).collect()
}
