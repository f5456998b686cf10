//! One time step of one cell for one batch row, forward and backward.

mod activation;
mod gru;
mod lstm;
mod mgu;
mod norm;
mod rnn;

use rnn_kernels::cell::{CellKind, Parameter, StackSpec};

use super::weights::CellWeights;
use norm::Norm;

/// The parameters and factors of a step, besides its input and state.
#[derive(Clone, Copy)]
pub(super) struct CellStep<'a> {
    pub(super) spec: &'a StackSpec,
    pub(super) w: &'a CellWeights,
    /// Factors of the candidate, `[H]`.
    pub(super) candidate: Option<&'a [f64]>,
    /// Factors of h before the recurrent product, `[P]`.
    pub(super) recurrent: Option<&'a [f64]>,
    /// Zoneout: the share of h that keeps its old value, `[P]`.
    pub(super) zoned_h: &'a [f64],
    /// Zoneout: the share of c that keeps its old value, `[H]`.
    pub(super) zoned_c: &'a [f64],
}

/// The values of one step that the backward step needs.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The state before the step, `[P]` and `[H]`; `c_prev` is empty for cells without one.
    h_prev: Vec<f64>,
    c_prev: Vec<f64>,
    /// h with its factors, as the recurrent product reads it, `[P]`.
    masked: Vec<f64>,
    /// Pre-activations before clipping, `[G*H]`.
    pre: Vec<f64>,
    /// The activated gates, `[G*H]`; for an Elman network h before zoneout.
    pub(super) gates: Vec<f64>,
    /// The operand of the reset gate: `U_n h + b_hn` if the reset comes after the product, `[H]`.
    recurrent_candidate: Vec<f64>,
    /// c before clipping and zoneout, `[H]`.
    fresh_c: Vec<f64>,
    norms: [Option<Norm>; 3],
    /// The state after the step.
    pub(super) h: Vec<f64>,
    pub(super) c: Vec<f64>,
}

/// The gradients of one step with respect to its inputs.
pub(super) struct StepGrads {
    pub(super) dx: Vec<f64>,
    pub(super) dh_prev: Vec<f64>,
    pub(super) dc_prev: Vec<f64>,
}

/// The pointwise part of a backward step.
struct LocalGrads {
    /// The gradients of the input part and of the recurrent part of the pre-activations, `[G*H]`.
    dax: Vec<f64>,
    dah: Vec<f64>,
    /// The part of the gradient of the old h that does not pass through `W_hh`, `[P]`.
    dh_direct: Vec<f64>,
    /// The part that passes through `W_hh` in addition to `dah`, as masked h, `[P]`.
    dmasked: Vec<f64>,
    dc_prev: Vec<f64>,
}

impl CellStep<'_> {
    /// `x` `[I]`, `h` `[P]`, `c` `[H]` or empty.
    pub(super) fn forward(&self, x: &[f64], h: &[f64], c: &[f64]) -> Step {
        let masked: Vec<f64> = match self.recurrent {
            Some(mask) => h.iter().zip(mask).map(|(h, m)| h * m).collect(),
            None => h.to_vec(),
        };
        let (ax, norm_x) = self.input(x);
        let (ah, norm_h) = self.recurrent(&masked);
        let mut step = Step {
            h_prev: h.to_vec(),
            c_prev: c.to_vec(),
            masked,
            pre: Vec::new(),
            gates: Vec::new(),
            recurrent_candidate: Vec::new(),
            fresh_c: Vec::new(),
            norms: [norm_x, norm_h, None],
            h: Vec::new(),
            c: Vec::new(),
        };
        let fresh = match self.spec.cell.kind {
            CellKind::Lstm => self.lstm(&ax, &ah, &mut step),
            CellKind::Gru => self.gru(&ax, &ah, &mut step),
            CellKind::Mgu => self.mgu(&ax, &ah, &mut step),
            CellKind::Rnn => self.rnn(&ax, &ah, &mut step),
        };
        let fresh = match self.w.get(Parameter::WeightHr) {
            Some(w_hr) => affine(w_hr, None, &fresh, self.spec.proj_size),
            None => fresh,
        };
        // Zoneout: h' = zoned h + (1 - zoned) fresh h
        step.h = (0..fresh.len())
            .map(|k| share(self.zoned_h[k], h[k]) + share(1.0 - self.zoned_h[k], fresh[k]))
            .collect();
        step
    }

    /// `dh` `[P]` and `dc` `[H]` (or empty) are the gradients with respect to the state after the step. Adds to the
    /// parameter gradients `dw`.
    pub(super) fn backward(
        &self,
        x: &[f64],
        step: &Step,
        (dh, dc): (&[f64], &[f64]),
        dw: &mut CellWeights,
    ) -> StepGrads {
        let mut fresh: Vec<f64> =
            dh.iter().zip(self.zoned_h).map(|(&d, zoned)| share(1.0 - zoned, d)).collect();
        if let (Some(w_hr), Some(dw_hr)) = (self.w.get(Parameter::WeightHr), dw.get_mut(Parameter::WeightHr))
        {
            let before = self.lstm_output(step);
            fresh = affine_backward(w_hr, &before, &fresh, dw_hr, None);
        }
        let local = match self.spec.cell.kind {
            CellKind::Lstm => self.lstm_backward(step, &fresh, dc, dw),
            CellKind::Gru => self.gru_backward(step, &fresh, dw),
            CellKind::Mgu => self.mgu_backward(step, &fresh),
            CellKind::Rnn => self.rnn_backward(step, &fresh),
        };
        let dx = self.input_backward(x, step, &local.dax, dw);
        let mut dmasked = self.recurrent_backward(step, &local.dah, dw);
        for k in 0..dmasked.len() {
            dmasked[k] += local.dmasked[k];
        }
        let dh_prev = (0..dh.len())
            .map(|k| {
                let through = dmasked[k] * self.recurrent.map_or(1.0, |mask| mask[k]);
                through + local.dh_direct[k] + share(self.zoned_h[k], dh[k])
            })
            .collect();
        StepGrads { dx, dh_prev, dc_prev: local.dc_prev }
    }

    /// The factor of the candidate of unit k.
    fn kept_candidate(&self, k: usize) -> f64 {
        self.candidate.map_or(1.0, |mask| mask[k])
    }

    /// `LN(W x) + b_ih`; without layer normalisation `W x + b_ih`.
    fn input(&self, x: &[f64]) -> (Vec<f64>, Option<Norm>) {
        let product = affine(&self.w[Parameter::WeightIh], None, x, self.spec.gate_rows());
        normalised(product, self.w.get(Parameter::NormIh), self.w.get(Parameter::BiasIh))
    }

    fn input_backward(&self, x: &[f64], step: &Step, d: &[f64], dw: &mut CellWeights) -> Vec<f64> {
        let grads = dw.get_disjoint_mut([Parameter::NormIh, Parameter::BiasIh]);
        let d = normalised_backward(&step.norms[0], self.w.get(Parameter::NormIh), d, grads);
        affine_backward(&self.w[Parameter::WeightIh], x, &d, &mut dw[Parameter::WeightIh], None)
    }

    /// `LN(U h) + b_hh`; without layer normalisation `U h + b_hh`. For a GRU whose reset comes before the product,
    /// the rows of the last gate hold only the bias.
    fn recurrent(&self, h: &[f64]) -> (Vec<f64>, Option<Norm>) {
        let rows = self.spec.gate_rows();
        let product = if self.spec.cell.independent {
            self.w[Parameter::WeightHh].iter().zip(h).map(|(u, h)| u * h).collect()
        } else {
            let mut product = affine(&self.w[Parameter::WeightHh], None, h, rows);
            if !self.spec.cell.reset_after {
                product[rows - h.len()..].fill(0.0);
            }
            product
        };
        normalised(product, self.w.get(Parameter::NormHh), self.w.get(Parameter::BiasHh))
    }

    fn recurrent_backward(&self, step: &Step, d: &[f64], dw: &mut CellWeights) -> Vec<f64> {
        let grads = dw.get_disjoint_mut([Parameter::NormHh, Parameter::BiasHh]);
        let mut d = normalised_backward(&step.norms[1], self.w.get(Parameter::NormHh), d, grads);
        if self.spec.cell.independent {
            let (u, h) = (&self.w[Parameter::WeightHh], &step.masked);
            for k in 0..h.len() {
                dw[Parameter::WeightHh][k] += d[k] * h[k];
            }
            return (0..h.len()).map(|k| d[k] * u[k]).collect();
        }
        if !self.spec.cell.reset_after {
            // The gradient has already passed through this product.
            let rows = d.len();
            d[rows - step.masked.len()..].fill(0.0);
        }
        affine_backward(&self.w[Parameter::WeightHh], &step.masked, &d, &mut dw[Parameter::WeightHh], None)
    }
}

/// `part * of`; without a part nothing, even of an infinity.
fn share(part: f64, of: f64) -> f64 {
    if part == 0.0 { 0.0 } else { part * of }
}

/// `product * gain + bias` with the product normalised where there is a gain.
fn normalised(
    product: Vec<f64>,
    gain: Option<&Vec<f64>>,
    bias: Option<&Vec<f64>>,
) -> (Vec<f64>, Option<Norm>) {
    let norm = gain.map(|_| Norm::new(&product));
    let out = (0..product.len())
        .map(|k| {
            let value = match (&norm, gain) {
                (Some(norm), Some(gain)) => norm.normal[k] * gain[k],
                _ => product[k],
            };
            value + bias.map_or(0.0, |bias| bias[k])
        })
        .collect();
    (out, norm)
}

/// The gradient of the product. Adds to the gradients of gain and bias.
fn normalised_backward(
    norm: &Option<Norm>,
    gain: Option<&Vec<f64>>,
    d: &[f64],
    [dgain, dbias]: [Option<&mut Vec<f64>>; 2],
) -> Vec<f64> {
    if let Some(dbias) = dbias {
        for k in 0..d.len() {
            dbias[k] += d[k];
        }
    }
    match (norm, gain, dgain) {
        (Some(norm), Some(gain), Some(dgain)) => {
            for k in 0..d.len() {
                dgain[k] += d[k] * norm.normal[k];
            }
            norm.backward(&(0..d.len()).map(|k| d[k] * gain[k]).collect::<Vec<_>>())
        }
        _ => d.to_vec(),
    }
}

/// `W x + b`, `W` `[rows, len(x)]`.
fn affine(w: &[f64], bias: Option<&[f64]>, x: &[f64], rows: usize) -> Vec<f64> {
    (0..rows)
        .map(|row| {
            let product: f64 = (0..x.len()).map(|k| w[row * x.len() + k] * x[k]).sum();
            product + bias.map_or(0.0, |bias| bias[row])
        })
        .collect()
}

/// `dW += d x^T`, `db += d`; returns `dx = W^T d`.
fn affine_backward(w: &[f64], x: &[f64], d: &[f64], dw: &mut [f64], dbias: Option<&mut [f64]>) -> Vec<f64> {
    let mut dx = vec![0.0; x.len()];
    for row in 0..d.len() {
        for k in 0..x.len() {
            dw[row * x.len() + k] += d[row] * x[k];
            dx[k] += d[row] * w[row * x.len() + k];
        }
    }
    if let Some(dbias) = dbias {
        for row in 0..d.len() {
            dbias[row] += d[row];
        }
    }
    dx
}
