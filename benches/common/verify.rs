//! Checks a case against the f64 oracle at its full size.
//!
//! The rows of a batch are independent, so the oracle computes only two of them. The cotangent is zero for all
//! other rows, so the gradients of the weights are those of the two rows.

use super::case::{Case, Layer};
use anyhow::{Context, Result, ensure};
use rnn_api::prelude::*;
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::to_f64;
use rnn_testing::oracle::{StackCase, StackInput, named_weights, weights_by_name};

/// The largest difference over the largest value of a tensor; the bound of the project's tests.
const BOUND: f64 = 1e-4;

/// The worst relative error of y, dx and every gradient.
///
/// # Errors
/// A relative error is above the bound; the tensor is named.
pub(crate) fn verify(case: &Case, layer: &Layer, device: &Device) -> Result<f64> {
    verify_within(BOUND, case, layer, device)
}

/// As [`verify`], with another bound.
///
/// # Errors
/// As [`verify`].
#[allow(dead_code, reason = "the benches have only layers in f32")]
pub(crate) fn verify_within(bound: f64, case: &Case, layer: &Layer, device: &Device) -> Result<f64> {
    let (steps, batch, inputs, outputs) = (case.T, case.B, case.I, case.outputs());
    let rows: Vec<usize> = if batch == 1 { vec![0] } else { vec![0, batch - 1] };
    let pick = |values: &[f32], width: usize| -> Vec<f64> {
        let steps = values.chunks(batch * width);
        let picked = steps.flat_map(|step| rows.iter().flat_map(|row| &step[row * width..][..width]));
        picked.map(|&x| f64::from(x)).collect()
    };
    let x = case.x();
    let mut dy = vec![0f32; steps * batch * outputs];
    let key = RngKey::new(8);
    for step in dy.chunks_mut(batch * outputs).enumerate() {
        for &row in &rows {
            for (j, value) in step.1[row * outputs..][..outputs].iter_mut().enumerate() {
                *value = 2.0 * key.uniform(step.0 as u32, (row * outputs + j) as u32) - 1.0;
            }
        }
    }

    let leaf = Tensor::from_vec(device, x.clone(), &[steps, batch, inputs])?.requires_grad();
    let cotangent = Tensor::from_vec(device, dy.clone(), &[steps, batch, outputs])?;
    let got = layer.train(&leaf, &cotangent)?;

    let spec = layer.spec();
    let weights = weights_by_name(spec, |name| -> Result<Vec<f64>> {
        let parameters = layer.parameters();
        let (_, param) = parameters.iter().find(|(n, _)| n == name).with_context(|| name.to_string())?;
        Ok(to_f64(&param.array().to_vec()?))
    })?;
    let states = case.L * rows.len() * outputs;
    let oracle = StackCase {
        spec: *spec,
        weights,
        input: StackInput { t: steps, b: rows.len(), x: pick(&x, inputs), ..StackInput::default() },
        dy: pick(&dy, outputs),
        dh_n: vec![0.0; states],
        dc_n: spec.cell.kind.has_cell_state().then(|| vec![0.0; states]),
    };
    let forward = oracle.forward();
    let want = oracle.backward(&forward);
    let mut worst = 0f64;
    let mut check = |name: &str, got: Vec<f64>, want: &[f64]| {
        let error = max_rel_err(&got, want);
        ensure!(error <= bound, "case {}: {name} has relative error {error:.1e}", case.name);
        worst = worst.max(error);
        Ok(())
    };
    check("y", pick(&got.y.to_vec()?, outputs), &forward.y)?;
    let dx = got.dx.context("no gradient of x")?;
    check("dx", pick(&dx.to_vec()?, inputs), &want.dx)?;
    let want = named_weights(spec, &want.weights);
    for (name, grad) in &got.weights {
        let (_, want) = want.iter().find(|(n, _)| n == name).context("no such gradient")?;
        check(name, to_f64(&grad.to_vec()?), want)?;
    }
    Ok(worst)
}
