//! Initial values of parameters, drawn on the host, so that every device starts from the same bits.

use crate::error::{Error, Result};
use rnn_runtime::RngKey;
use serde::{Deserialize, Serialize};

/// How the initial values of a weight are drawn.
///
/// Fan-in and fan-out are those of one gate: for the `[G*H, I]` matrix of a recurrent layer they are I and H. With
/// G*H as fan-out the weights of an LSTM would be half as large as intended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Init {
    /// Zero.
    Zeros,
    /// The same value everywhere.
    Constant(f32),
    /// Uniform in `-bound..bound`.
    Uniform(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform with variance `2 / (fan_in + fan_out)` (Glorot and Bengio 2010).
    XavierUniform,
    /// Normal with variance `2 / (fan_in + fan_out)`.
    XavierNormal,
    /// Uniform with variance `2 / fan_in` (He et al. 2015).
    HeUniform,
    /// Normal with variance `2 / fan_in`.
    HeNormal,
    /// An orthogonal matrix times a gain, one per gate (Saxe, McClelland and Ganguli 2013). If a block is not
    /// square, its shorter side is orthonormal.
    Orthogonal(f32),
    /// The identity times a scale, one per gate (IRNN, Le, Jaitly and Hinton 2015). If a block is not square, the
    /// remainder is zero.
    Identity(f32),
    /// PyTorch's initialisation: uniform in `-1/sqrt(n)..1/sqrt(n)`, biases included. n is the hidden size for
    /// recurrent layers and the number of inputs for linear layers.
    PyTorch,
}

/// The shape to draw: `blocks` matrices of `rows` x `cols`, stacked vertically, or a bias (`cols == 0`) of `blocks
/// * rows` values.
#[derive(Clone, Copy)]
pub(crate) struct InitShape {
    pub(crate) blocks: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// n of [`Init::PyTorch`].
    pub(crate) pytorch_fan: usize,
}

impl Init {
    /// Draws values from `key`. Errors name the setting as `config` and `field`.
    pub(crate) fn draw(
        self,
        shape: InitShape,
        key: RngKey,
        (config, field): (&'static str, &'static str),
    ) -> Result<Vec<f32>> {
        let InitShape { blocks, rows, cols, pytorch_fan } = shape;
        let refuse = |expected: &str| Error::Config {
            config,
            field,
            expected: expected.into(),
            got: format!("{self:?}"),
        };
        if let Init::Uniform(x) | Init::Normal(x) | Init::Orthogonal(x) = self
            && !(x.is_finite() && x >= 0.0)
        {
            return Err(refuse("a finite size that is not negative"));
        }
        if let Init::Constant(x) | Init::Identity(x) = self
            && !x.is_finite()
        {
            return Err(refuse("finite"));
        }
        let is_bias = cols == 0;
        let len = blocks * rows * cols.max(1);
        let uniform = |bound: f64| {
            let draw = |k: usize| (bound * (2.0 * f64::from(uniform(key, k)) - 1.0)) as f32;
            (0..len).map(draw).collect::<Vec<f32>>()
        };
        let normal = |deviation: f64| {
            let draw = |k: usize| (deviation * f64::from(normal(key, k))) as f32;
            (0..len).map(draw).collect::<Vec<f32>>()
        };
        let (fan_in, both_fans) = (cols as f64, (rows + cols) as f64);
        Ok(match self {
            Init::Zeros => vec![0.0; len],
            Init::Constant(value) => vec![value; len],
            Init::Uniform(bound) => uniform(f64::from(bound)),
            Init::Normal(deviation) => normal(f64::from(deviation)),
            Init::PyTorch => uniform(1.0 / (pytorch_fan as f64).sqrt()),
            _ if is_bias => {
                return Err(refuse("Zeros, Constant, Uniform, Normal or PyTorch for a bias"));
            }
            Init::Identity(scale) => {
                let mut values = vec![0.0; len];
                for block in 0..blocks {
                    for n in 0..rows.min(cols) {
                        values[(block * rows + n) * cols + n] = scale;
                    }
                }
                values
            }
            // A uniform variable in -b..b has variance b^2 / 3.
            Init::XavierUniform => uniform((6.0 / both_fans).sqrt()),
            Init::XavierNormal => normal((2.0 / both_fans).sqrt()),
            Init::HeUniform => uniform((6.0 / fan_in).sqrt()),
            Init::HeNormal => normal((2.0 / fan_in).sqrt()),
            Init::Orthogonal(gain) => {
                let mut values = Vec::with_capacity(len);
                for block in 0..blocks {
                    values.extend(orthogonal(rows, cols, gain, key.derive(1, block as u32)));
                }
                values
            }
        })
    }
}

/// The shape check keeps element numbers below 2^32, so one step of the generator suffices.
fn uniform(key: RngKey, element: usize) -> f32 {
    key.uniform(0, element as u32)
}

fn normal(key: RngKey, element: usize) -> f32 {
    key.normal(0, element as u32)
}

/// Gram-Schmidt on the shorter side of a normal matrix, in f64.
fn orthogonal(rows: usize, cols: usize, gain: f32, key: RngKey) -> Vec<f32> {
    let (count, length) = (rows.min(cols), rows.max(cols));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    for n in 0..count {
        let mut v: Vec<f64> = (0..length).map(|k| f64::from(normal(key, n * length + k))).collect();
        // Twice: the second pass removes the rounding error of the first (Kahan and Parlett).
        for _ in 0..2 {
            for other in &vectors {
                let overlap: f64 = v.iter().zip(other).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(other).for_each(|(a, b)| *a -= overlap * b);
            }
        }
        let norm = v.iter().map(|a| a * a).sum::<f64>().sqrt();
        v.iter_mut().for_each(|a| *a /= norm);
        vectors.push(v);
    }
    let at = |r: usize, c: usize| if rows <= cols { vectors[r][c] } else { vectors[c][r] };
    let gain = f64::from(gain);
    (0..rows * cols).map(|k| (gain * at(k / cols, k % cols)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: (&str, &str) = ("Test", "init");

    fn draw(init: Init, blocks: usize, rows: usize, cols: usize) -> Vec<f32> {
        let shape = InitShape { blocks, rows, cols, pytorch_fan: rows };
        init.draw(shape, RngKey::new(3), NAME).unwrap()
    }

    #[test]
    fn every_gate_of_an_orthogonal_weight_is_orthogonal() {
        for (rows, cols) in [(5, 5), (3, 7), (7, 3)] {
            let w = draw(Init::Orthogonal(2.0), 4, rows, cols);
            for block in w.chunks(rows * cols) {
                let (count, length) = (rows.min(cols), rows.max(cols));
                let at = |n: usize, k: usize| {
                    f64::from(if rows <= cols { block[n * cols + k] } else { block[k * cols + n] })
                };
                for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
                    let product: f64 = (0..length).map(|k| at(a, k) * at(b, k)).sum();
                    let want = if a == b { 4.0 } else { 0.0 };
                    // The entries are rounded to f32.
                    assert!((product - want).abs() < 1e-6, "{rows}x{cols} {a},{b}: {product}");
                }
            }
            assert_ne!(w[..rows * cols], w[rows * cols..2 * rows * cols], "gates differ");
        }
    }

    #[test]
    fn fans_are_those_of_one_gate() {
        // H = 50, I = 150: the variance is 2 / 200 for any number of gates.
        for init in [Init::XavierUniform, Init::XavierNormal] {
            let w = draw(init, 4, 50, 150);
            let variance = w.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / w.len() as f64;
            // The standard error of the variance of 30000 draws is below one percent.
            assert!((variance / 0.01 - 1.0).abs() < 0.04, "{init:?}: {variance}");
        }
        let w = draw(Init::HeNormal, 1, 100, 200);
        let variance = w.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / w.len() as f64;
        assert!((variance / 0.01 - 1.0).abs() < 0.05, "{variance}");
        let bound = draw(Init::PyTorch, 4, 16, 8).iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!(bound <= 0.25 && bound > 0.24, "{bound}");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let bias = InitShape { blocks: 1, rows: 4, cols: 0, pytorch_fan: 4 };
        assert!(Init::XavierUniform.draw(bias, RngKey::new(1), NAME).is_err());
        assert!(Init::Normal(f32::NAN).draw(bias, RngKey::new(1), NAME).is_err());
        assert_eq!(Init::Constant(2.0).draw(bias, RngKey::new(1), NAME).unwrap(), [2.0; 4]);
    }
}
