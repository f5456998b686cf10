//! The weights of one cell as PyTorch lays them out.

use crate::array::Array;
use crate::error::Result;
use crate::ops::pointwise::accumulate;
use rnn_kernels::cell::Parameter;

/// Weights of one cell, or their gradients; PyTorch's layout. Shapes: [`Parameter`].
#[derive(Clone, Debug)]
pub struct CellWeights {
    /// `weight_ih`: `[G*H, I]`
    pub w_ih: Array,
    /// `weight_hh`: `[G*H, P]`, `[H]` of an independent recurrence
    pub w_hh: Array,
    /// `bias_ih`: `[G*H]`
    pub b_ih: Option<Array>,
    /// `bias_hh`: `[G*H]`
    pub b_hh: Option<Array>,
    /// `weight_hr`: `[P, H]`
    pub w_hr: Option<Array>,
    /// `weight_peephole`: `[3*H]`, `[2*H]` when coupled
    pub peephole: Option<Array>,
    /// `norm_ih`: `[G*H]`
    pub norm_ih: Option<Array>,
    /// `norm_hh`: `[G*H]`
    pub norm_hh: Option<Array>,
    /// `norm_c`: `[H]`
    pub norm_c: Option<Array>,
    /// `norm_c_bias`: `[H]`
    pub norm_c_bias: Option<Array>,
}

impl CellWeights {
    /// Two matrices and nothing else.
    pub fn new(w_ih: Array, w_hh: Array) -> Self {
        CellWeights {
            w_ih,
            w_hh,
            b_ih: None,
            b_hh: None,
            w_hr: None,
            peephole: None,
            norm_ih: None,
            norm_hh: None,
            norm_c: None,
            norm_c_bias: None,
        }
    }

    /// One parameter, if there.
    pub fn get(&self, parameter: Parameter) -> Option<&Array> {
        match parameter {
            Parameter::WeightIh => Some(&self.w_ih),
            Parameter::WeightHh => Some(&self.w_hh),
            Parameter::BiasIh => self.b_ih.as_ref(),
            Parameter::BiasHh => self.b_hh.as_ref(),
            Parameter::WeightHr => self.w_hr.as_ref(),
            Parameter::Peephole => self.peephole.as_ref(),
            Parameter::NormIh => self.norm_ih.as_ref(),
            Parameter::NormHh => self.norm_hh.as_ref(),
            Parameter::NormC => self.norm_c.as_ref(),
            Parameter::NormCBias => self.norm_c_bias.as_ref(),
        }
    }

    /// One parameter, if there, to be changed.
    pub(super) fn get_mut(&mut self, parameter: Parameter) -> Option<&mut Array> {
        match parameter {
            Parameter::WeightIh => Some(&mut self.w_ih),
            Parameter::WeightHh => Some(&mut self.w_hh),
            Parameter::BiasIh => self.b_ih.as_mut(),
            Parameter::BiasHh => self.b_hh.as_mut(),
            Parameter::WeightHr => self.w_hr.as_mut(),
            Parameter::Peephole => self.peephole.as_mut(),
            Parameter::NormIh => self.norm_ih.as_mut(),
            Parameter::NormHh => self.norm_hh.as_mut(),
            Parameter::NormC => self.norm_c.as_mut(),
            Parameter::NormCBias => self.norm_c_bias.as_mut(),
        }
    }

    /// Replaces one parameter.
    pub fn set(&mut self, parameter: Parameter, value: Array) {
        match parameter {
            Parameter::WeightIh => self.w_ih = value,
            Parameter::WeightHh => self.w_hh = value,
            Parameter::BiasIh => self.b_ih = Some(value),
            Parameter::BiasHh => self.b_hh = Some(value),
            Parameter::WeightHr => self.w_hr = Some(value),
            Parameter::Peephole => self.peephole = Some(value),
            Parameter::NormIh => self.norm_ih = Some(value),
            Parameter::NormHh => self.norm_hh = Some(value),
            Parameter::NormC => self.norm_c = Some(value),
            Parameter::NormCBias => self.norm_c_bias = Some(value),
        }
    }

    /// The parameters that are there, in the order of [`Parameter::ALL`].
    pub fn all(&self) -> impl Iterator<Item = (Parameter, &Array)> {
        Parameter::ALL.into_iter().filter_map(|parameter| Some((parameter, self.get(parameter)?)))
    }
}

/// Adds the gradients that a part of a pass has to those of the parts before it.
pub(super) fn add_weights(sum: &mut Option<Vec<CellWeights>>, part: Vec<CellWeights>) -> Result<()> {
    let Some(sum) = sum else {
        *sum = Some(part);
        return Ok(());
    };
    for (sum, part) in sum.iter_mut().zip(&part) {
        for (parameter, own) in part.all() {
            if let Some(of) = sum.get_mut(parameter) {
                accumulate(of, own)?;
            }
        }
    }
    Ok(())
}
