//! [`Insight`]: what examinations of a network found, over the steps of its training.

use crate::doctor::{Finding, GateStatistics, GradientFlow, LayerFlow, MemoryHorizon};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most examinations that are kept; of more, every second one stays.
const MOST: usize = 24;
/// The most layers of a network, and the most steps back in time.
const MOST_LAYERS: usize = 8;
const MOST_BACK: usize = 120;
const MOST_FINDINGS: usize = 30;

/// The gradient of one layer by steps back in time, after each of several training steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Flow {
    pub(super) layer: String,
    /// The training step, and the norm by steps back from the end, the largest of each `width` neighbours.
    pub(super) norms: Vec<(u64, Vec<f64>)>,
    pub(super) width: usize,
    /// The steps of the sequence.
    pub(super) steps: usize,
    /// In the last examination, the steps back from which on it stays below a hundredth of its largest value.
    pub(super) horizon: Option<usize>,
}

/// What examinations found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Insight {
    pub(super) flows: Vec<Flow>,
    /// The last ones, and the training step.
    pub(super) gates: Option<(u64, GateStatistics)>,
    pub(super) memory: Option<MemoryHorizon>,
    pub(super) findings: Vec<Finding>,
}

impl Flow {
    fn add(&mut self, step: u64, layer: &LayerFlow) {
        let back = layer.back();
        let width = back.len().div_ceil(MOST_BACK).max(1);
        if self.width != width {
            // Sequences of another length: columns would mean something else.
            (self.width, self.norms) = (width, Vec::new());
        }
        if self.norms.len() >= MOST {
            let mut keep = false;
            self.norms.retain(|_| {
                keep = !keep;
                keep
            });
        }
        let largest =
            |norms: &[f64]| norms.iter().copied().filter(|norm| norm.is_finite()).fold(0.0, f64::max);
        self.norms.push((step, back.chunks(width).map(largest).collect()));
        (self.steps, self.horizon) = (self.steps.max(back.len()), layer.horizon(0.01));
    }
}

/// The name of a layer of a stack in one direction.
pub(super) fn layer_name(path: &str, stack_layer: usize, reverse: bool) -> String {
    format!("{path}, layer {stack_layer}{}", if reverse { " backwards" } else { "" })
}

impl Insight {
    /// Adds the gradients of a training step: of the longest call of every layer, the last one of several.
    pub(super) fn add_flow(&mut self, step: u64, flow: &GradientFlow) {
        let mut longest: BTreeMap<String, &LayerFlow> = BTreeMap::new();
        for layer in &flow.layers {
            let best =
                longest.entry(layer_name(&layer.layer, layer.stack_layer, layer.reverse)).or_insert(layer);
            if layer.h_back.len() >= best.h_back.len() {
                *best = layer;
            }
        }
        for (name, layer) in longest {
            let at = self.flows.iter().position(|flow| flow.layer == name);
            let at = match at {
                None if self.flows.len() >= MOST_LAYERS => continue,
                None => {
                    self.flows.push(Flow {
                        layer: name,
                        norms: Vec::new(),
                        width: 1,
                        steps: 0,
                        horizon: None,
                    });
                    self.flows.len() - 1
                }
                Some(at) => at,
            };
            self.flows[at].add(step, layer);
        }
    }

    pub(super) fn set_findings(&mut self, findings: &[Finding]) {
        self.findings = findings.iter().take(MOST_FINDINGS).cloned().collect();
    }

    pub(super) fn set_gates(&mut self, step: u64, gates: &GateStatistics) {
        let mut gates = gates.clone();
        gates.layers.truncate(MOST_LAYERS);
        self.gates = Some((step, gates));
    }
}
