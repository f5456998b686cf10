//! The size of an update relative to the parameters.

use crate::error::Result;
use crate::nn::Module;
use crate::param::Param;
use rnn_runtime::Array;
use rnn_runtime::ops::optim::{ClipOptions, grad_norm};
use rnn_runtime::ops::pointwise::{BinaryOp, binary};
use std::collections::{BTreeMap, BTreeSet};

/// The parameters before a step.
pub(crate) struct Ratios(Vec<(String, Param, Array)>);

impl Ratios {
    pub(crate) fn before(model: &dyn Module) -> Self {
        let mut seen = BTreeSet::new();
        let trained = model.named_parameters().into_iter().filter(|(_, param)| seen.insert(param.id()));
        Ratios(trained.map(|(name, param)| (name, param.clone(), param.array())).collect())
    }

    /// The norm of the change over the norm of the parameters: for all together, and for each by name.
    pub(crate) fn after(self) -> Result<(Option<f64>, BTreeMap<String, f64>)> {
        let mut changes = Vec::with_capacity(self.0.len());
        for (_, param, before) in &self.0 {
            changes.push(binary(BinaryOp::Sub, &param.array(), before)?);
        }
        let (changes, before) = (
            sums_of_squares(&changes.iter().collect::<Vec<_>>())?,
            sums_of_squares(&self.0.iter().map(|(_, _, before)| before).collect::<Vec<_>>())?,
        );
        // A parameter that is zero has no ratio, such as a bias before its first step.
        let ratio = |change: f64, of: f64| (of > 0.0).then(|| (change / of).sqrt());
        let by_name = self.0.iter().zip(changes.iter().zip(&before));
        let by_name =
            by_name.filter_map(|((name, ..), (&c, &b))| Some((name.clone(), ratio(c, b)?))).collect();
        Ok((ratio(changes.iter().sum(), before.iter().sum()), by_name))
    }
}

fn sums_of_squares(arrays: &[&Array]) -> Result<Vec<f64>> {
    let sums = grad_norm(arrays, &ClipOptions::default())?.sums;
    Ok(sums.to_vec()?.into_iter().map(f64::from).collect())
}
