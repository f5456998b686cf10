//! Initial values of parameters, drawn on the host, so that every device starts from the same bits.

use crate::error::{Error, Result};
use rnn_runtime::ops::init;
use rnn_runtime::{RngKey, Shape, host_memory};
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
    /// An orthogonal matrix times a gain, one per gate, drawn uniformly from all of them (Saxe, McClelland and Ganguli
    /// 2013). If a block is not square, its shorter side is orthonormal.
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
    fn refused(self, (config, field): Setting, expected: &str) -> Error {
        Error::Config { config, field, expected: expected.into(), got: format!("{self:?}") }
    }

    /// Refuses a size of the values that is not a number or makes them infinite.
    fn check(self, setting: Setting) -> Result<()> {
        let expected = match self {
            Init::Uniform(x) | Init::Normal(x) | Init::Orthogonal(x) if !(x.is_finite() && x >= 0.0) => {
                "a finite size that is not negative"
            }
            Init::Constant(x) | Init::Identity(x) if !x.is_finite() => "finite",
            Init::Normal(x) if x > LARGEST_DEVIATION => "at most 4e37, so that no draw is infinite",
            _ => return Ok(()),
        };
        Err(self.refused(setting, expected))
    }

    /// The value of every weight where a unit has one weight instead of a matrix: orthogonal and identity then mean a
    /// magnitude of the gain or scale.
    ///
    /// # Errors
    /// As [`Init::draw`].
    pub(crate) fn magnitude(self, setting: Setting) -> Result<Option<f32>> {
        self.check(setting)?;
        Ok(match self {
            Init::Orthogonal(scale) | Init::Identity(scale) => Some(scale),
            _ => None,
        })
    }

    /// Draws values from `key`.
    ///
    /// # Errors
    /// A setting that makes no sense ([`Error::Config`] names it), or no memory.
    pub(crate) fn draw(self, shape: InitShape, key: RngKey, setting: Setting) -> Result<Vec<f32>> {
        let InitShape { blocks, rows, cols, pytorch_fan } = shape;
        let config = setting.0;
        self.check(setting)?;
        let is_bias = cols == 0;
        // A shape has fewer than 2^32 elements, so one step of the generator suffices.
        let len = Shape::new(config, &[blocks, rows, cols.max(1)])?.len();
        let uniform = |bound: f64| {
            init::draw(config, len, |k| (bound * (2.0 * f64::from(uniform(key, k)) - 1.0)) as f32)
        };
        let normal = |deviation: f64| {
            init::draw(config, len, |k| (deviation * f64::from(standard_normal(key, k))) as f32)
        };
        let constant = |value: f32| host_memory::filled(config, || format!("{len} values"), len, value);
        let (fan_in, both_fans) = (cols as f64, (rows + cols) as f64);
        let values = match self {
            Init::Zeros => constant(0.0),
            Init::Constant(value) => constant(value),
            Init::Uniform(bound) => uniform(f64::from(bound)),
            Init::Normal(deviation) => normal(f64::from(deviation)),
            Init::PyTorch => uniform(1.0 / (pytorch_fan as f64).sqrt()),
            _ if is_bias => {
                return Err(self.refused(setting, "Zeros, Constant, Uniform, Normal or PyTorch for a bias"));
            }
            Init::Identity(scale) => constant(0.0).map(|mut values| {
                for block in 0..blocks {
                    for n in 0..rows.min(cols) {
                        values[(block * rows + n) * cols + n] = scale;
                    }
                }
                values
            }),
            // A uniform variable in -b..b has variance b^2 / 3.
            Init::XavierUniform => uniform((6.0 / both_fans).sqrt()),
            Init::XavierNormal => normal((2.0 / both_fans).sqrt()),
            Init::HeUniform => uniform((6.0 / fan_in).sqrt()),
            Init::HeNormal => normal((2.0 / fan_in).sqrt()),
            Init::Orthogonal(gain) => {
                host_memory::reserve(config, || format!("{len} values"), len).and_then(|mut values| {
                    for block in 0..blocks {
                        let key = key.derive(1, block as u32);
                        let normal = |k| standard_normal(key, k);
                        values.extend(init::orthogonal(config, [rows, cols], gain, normal)?);
                    }
                    Ok(values)
                })
            }
        };
        Ok(values?)
    }
}

/// A configuration and its field, for errors.
type Setting = (&'static str, &'static str);

/// A standard normal draw is at most `sqrt(2 ln 2^33)`, below 7.
const LARGEST_DEVIATION: f32 = 4e37;

fn uniform(key: RngKey, element: usize) -> f32 {
    key.uniform(0, element as u32)
}

fn standard_normal(key: RngKey, element: usize) -> f32 {
    key.normal(0, element as u32)
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
        for (rows, cols) in [(5, 5), (3, 7), (7, 3), (130, 130), (60, 200), (200, 60)] {
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

    /// Entries of a 3x3 matrix over many seeds: mean 0 and mean square 1/3, and the determinant has either sign.
    #[test]
    fn orthogonal_weights_are_uniformly_distributed() {
        const SEEDS: u32 = 4000;
        let shape = InitShape { blocks: 1, rows: 3, cols: 3, pytorch_fan: 3 };
        let (mut sums, mut squares, mut positive) = ([0.0; 9], [0.0; 9], 0);
        for seed in 0..SEEDS {
            let key = RngKey::new(1).derive(5, seed);
            let values = Init::Orthogonal(1.0).draw(shape, key, NAME).unwrap();
            let w: Vec<f64> = values.into_iter().map(f64::from).collect();
            for (n, x) in w.iter().enumerate() {
                sums[n] += x / f64::from(SEEDS);
                squares[n] += x * x / f64::from(SEEDS);
            }
            let minor = |a: usize, b: usize| w[3 + a] * w[6 + b] - w[3 + b] * w[6 + a];
            positive += u32::from(w[0] * minor(1, 2) - w[1] * minor(0, 2) + w[2] * minor(0, 1) > 0.0);
        }
        // Five standard errors: those of a mean are sqrt(1/3 / 4000), of a mean square sqrt(4/45 / 4000), of a share
        // sqrt(1/4 / 4000).
        assert!(sums.iter().all(|x| x.abs() < 0.046), "{sums:?}");
        assert!(squares.iter().all(|x| (x - 1.0 / 3.0).abs() < 0.024), "{squares:?}");
        assert!((f64::from(positive) / f64::from(SEEDS) - 0.5).abs() < 0.04, "{positive}");
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
