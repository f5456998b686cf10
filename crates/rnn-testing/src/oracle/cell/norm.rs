//! Normalisation of a vector to mean 0 and variance 1 (Ba, Kiros and Hinton 2016).

/// PyTorch's epsilon of layer normalisation.
const EPSILON: f64 = 1e-5;

#[derive(Clone, Debug)]
pub(super) struct Norm {
    /// `(x - mean) / sqrt(variance + epsilon)`
    pub(super) normal: Vec<f64>,
    deviation: f64,
}

impl Norm {
    pub(super) fn new(x: &[f64]) -> Self {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let deviation = (variance + EPSILON).sqrt();
        Norm { normal: x.iter().map(|x| (x - mean) / deviation).collect(), deviation }
    }

    /// The gradient of x from that of `normal`.
    pub(super) fn backward(&self, d: &[f64]) -> Vec<f64> {
        let n = d.len() as f64;
        let mean = d.iter().sum::<f64>() / n;
        let along = d.iter().zip(&self.normal).map(|(d, x)| d * x).sum::<f64>() / n;
        d.iter().zip(&self.normal).map(|(d, x)| (d - mean - x * along) / self.deviation).collect()
    }
}
