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
            norms(&changes.iter().collect::<Vec<_>>())?,
            norms(&self.0.iter().map(|(_, _, before)| before).collect::<Vec<_>>())?,
        );
        // A parameter that is zero has no ratio, such as a bias before its first step.
        let ratio = |change: f64, of: f64| (of > 0.0).then(|| change / of);
        let by_name = self.0.iter().zip(changes.iter().zip(&before));
        let by_name =
            by_name.filter_map(|((name, ..), (&c, &b))| Some((name.clone(), ratio(c, b)?))).collect();
        let together = |norms: &[f64]| norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
        Ok((ratio(together(&changes), together(&before)), by_name))
    }
}

fn norms(arrays: &[&Array]) -> Result<Vec<f64>> {
    let norms = grad_norm(arrays, &ClipOptions::default())?.norms;
    Ok(norms.to_vec()?.into_iter().map(f64::from).collect())
}
