//! The batch size from which on the GPU is faster.

use super::job::{Budget, Job, Pass, medians};
use crate::common::case::Case;
use crate::common::verify;
use anyhow::Result;
use rnn_api::prelude::*;
use serde::Serialize;

/// Times over the batch size, for a fixed layer and length.
#[derive(Serialize)]
pub(crate) struct Crossover {
    pub(crate) name: String,
    pub(crate) cell: String,
    #[serde(rename = "T")]
    pub(crate) steps: usize,
    #[serde(rename = "I")]
    pub(crate) inputs: usize,
    #[serde(rename = "H")]
    pub(crate) hidden: usize,
    pub(crate) pass: Pass,
    pub(crate) points: Vec<Point>,
    /// The smallest batch size from which on the GPU was faster at every measured size.
    pub(crate) gpu_from_batch: Option<usize>,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Point {
    pub(crate) batch: usize,
    pub(crate) cpu_ms: f64,
    pub(crate) gpu_ms: f64,
}

/// Measures both passes at batch sizes 1, 2, 4 up to `largest`. Every size is verified on both devices.
pub(crate) fn measure(
    case: &Case,
    [cpu, gpu]: [&Device; 2],
    largest: usize,
    budget: Budget,
) -> Result<Vec<Crossover>> {
    let mut points = Pass::BOTH.map(|_| Vec::new());
    for batch in std::iter::successors(Some(1), |batch| Some(2 * batch)).take_while(|&b| b <= largest) {
        let case = Case { B: batch, ..case.clone() };
        let (on_cpu, on_gpu) = (Job::new(&case, cpu)?, Job::new(&case, gpu)?);
        verify::verify(&case, &on_cpu.layer, cpu)?;
        verify::verify(&case, &on_gpu.layer, gpu)?;
        for (pass, points) in Pass::BOTH.into_iter().zip(&mut points) {
            let [cpu_ms, gpu_ms] = medians([&on_cpu, &on_gpu], pass, budget)?;
            points.push(Point { batch, cpu_ms, gpu_ms });
        }
    }
    let sweeps = Pass::BOTH.into_iter().zip(points).map(|(pass, points)| Crossover {
        name: case.name.clone(),
        cell: case.cell.clone(),
        steps: case.T,
        inputs: case.I,
        hidden: case.H,
        pass,
        gpu_from_batch: faster_from(&points),
        points,
    });
    Ok(sweeps.collect())
}

fn faster_from(points: &[Point]) -> Option<usize> {
    let faster = points.iter().rev().take_while(|point| point.gpu_ms < point.cpu_ms);
    faster.last().map(|point| point.batch)
}

impl Crossover {
    /// `lstm, T = 50, I = 32, H = 64, forward`.
    pub(crate) fn title(&self) -> String {
        let Crossover { cell, steps, inputs, hidden, pass, .. } = self;
        format!("{cell}, T = {steps}, I = {inputs}, H = {hidden}, {}", pass.name())
    }

    pub(crate) fn verdict(&self) -> String {
        let largest = self.points.last().map_or(0, |point| point.batch);
        match self.gpu_from_batch {
            Some(batch) => format!("crossover at B = {batch}"),
            None => format!("crossover: none up to {largest}"),
        }
    }
}
