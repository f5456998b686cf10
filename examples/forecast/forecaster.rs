//! A forecaster: the weighted sum of forecasts with and without a network, with intervals.

use super::baselines::Simple;
use super::combination::mix;
use super::interval::{Forecasts, Interval};
use super::network::{NetworkConfig, Scale, Trained};
use super::samples::Plan;
use super::series::Series;
use anyhow::{Result, ensure};
use rnn_api::model;
use rnn_api::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;

model!(
    /// Networks with different transforms. There may be none.
    pub(crate) struct Networks, NetworksConfig { pub(crate) networks: Vec<NetworkConfig> }
);

/// What a model file keeps beside the networks. The weights of all forecasts sum to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mix {
    /// Forecasts without a network, with their weights.
    pub(crate) simple: Vec<(f64, Simple)>,
    /// What the networks mean, with their weights.
    pub(crate) scales: Vec<(f64, Scale)>,
    pub(crate) interval: Interval,
}

impl Mix {
    /// The first step that it can forecast from.
    pub(crate) fn first_origin(&self) -> usize {
        let simple = self.simple.iter().map(|(_, simple)| simple.first_origin());
        simple.chain(self.scales.iter().map(|(_, scale)| scale.plan.first_origin())).max().unwrap_or(0)
    }

    /// Refuses parts that contradict each other, the number of networks or that of columns.
    fn check(&self, networks: usize, columns: usize) -> Result<()> {
        let horizon = self.interval.horizon;
        ensure!(columns > 0 && horizon > 0, "{columns} columns and a horizon of {horizon}");
        ensure!(self.scales.len() == networks, "{} scales for {networks} networks", self.scales.len());
        let plan = |plan: &Plan| {
            let sized = plan.transforms.len() == columns && plan.horizon == horizon && plan.window > 0;
            sized && plan.transforms.iter().all(|transform| transform.season != Some(0))
        };
        let simple = self.simple.iter().all(|(_, simple)| match simple {
            Simple::Persistence => true,
            Simple::Season(period) => *period > 0,
            Simple::Linear { plan: of, model } => plan(of) && model.fits(of),
        });
        let scales = self.scales.iter().all(|(_, Scale { plan: of, inputs, changes })| {
            plan(of) && [inputs.features(), changes.features()] == [columns, horizon]
        });
        ensure!(simple && scales, "forecasts that do not fit {columns} columns and a horizon of {horizon}");
        let weights = self.simple.iter().map(|(weight, _)| *weight);
        let weights: Vec<f64> = weights.chain(self.scales.iter().map(|(weight, _)| *weight)).collect();
        let sum: f64 = weights.iter().sum();
        // They were rounded when they were divided by their sum.
        let valid = weights.iter().all(|&weight| weight >= 0.0) && (sum - 1.0).abs() < 1e-6;
        ensure!(valid, "weights of forecasts {weights:?} that are negative or do not sum to 1");
        self.interval.check()
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.scales.iter().map(|(weight, scale)| (*weight, scale.plan.target().to_string()));
        let mut kinds = vec![("networks", networks.collect::<Vec<_>>())];
        for (weight, simple) in &self.simple {
            let (kind, of) = match simple {
                Simple::Persistence => ("the last value", String::new()),
                Simple::Season(_) => ("the last season", String::new()),
                Simple::Linear { plan, .. } => ("linear autoregressions", plan.target().to_string()),
            };
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, members)) => members.push((*weight, of)),
                None => kinds.push((kind, vec![(*weight, of)])),
            }
        }
        let kinds: Vec<String> =
            kinds.iter().filter_map(|(kind, members)| described(kind, members)).collect();
        f.write_str(&kinds.join(", "))
    }
}

/// The share of a kind of forecasts, and that of each transform.
fn described(kind: &str, members: &[(f64, String)]) -> Option<String> {
    let percent = |of: &str| {
        let shares = members.iter().filter(|(_, transform)| of.is_empty() || transform == of);
        format!("{:.0} %", 100.0 * shares.map(|(weight, _)| weight).sum::<f64>())
    };
    let mut transforms: Vec<&str> = members.iter().map(|(_, transform)| &transform[..]).collect();
    transforms.dedup();
    match transforms[..] {
        [] => None,
        [""] => Some(format!("{} {kind}", percent(""))),
        _ => {
            let each: Vec<String> = transforms.iter().map(|of| format!("{of} {}", percent(of))).collect();
            Some(format!("{} {kind} (transform {})", percent(""), each.join(", ")))
        }
    }
}

/// What forecasts.
pub(crate) struct Forecaster {
    pub(crate) config: NetworksConfig,
    pub(crate) networks: Networks,
    pub(crate) mix: Mix,
}

impl Forecaster {
    /// The weighted sum of forecasts without a network and of trained networks.
    pub(crate) fn new(simple: Vec<(f64, Simple)>, trained: Vec<(f64, Trained)>, interval: Interval) -> Self {
        let (mut configs, mut networks, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        for (weight, Trained { config, network, scale }) in trained {
            configs.push(config);
            networks.push(network);
            scales.push((weight, scale));
        }
        let mix = Mix { simple, scales, interval };
        Forecaster { config: NetworksConfig { networks: configs }, networks: Networks { networks }, mix }
    }

    /// Refuses a file whose parts contradict each other.
    pub(crate) fn check(&self, columns: usize) -> Result<()> {
        let trained = self.config.networks.iter().all(|network| !network.members.is_empty());
        ensure!(trained, "a network without members");
        self.mix.check(self.networks.networks.len(), columns)
    }

    /// Forecasts from consecutive known steps, with intervals.
    pub(crate) fn forecast(
        &self,
        series: &Series,
        origins: Vec<usize>,
        device: &Device,
    ) -> Result<Forecasts> {
        let horizon = self.mix.interval.horizon;
        let mut weighted: Vec<(f64, Vec<f64>)> = Vec::new();
        for (weight, simple) in &self.mix.simple {
            weighted.push((*weight, simple.forecast(series, &origins, horizon)?));
        }
        for ((weight, scale), network) in self.mix.scales.iter().zip(&self.networks.networks) {
            weighted.push((*weight, scale.forecast(network, series, &origins, device)?));
        }
        let weighted = weighted.iter().map(|(weight, values)| (*weight, &values[..]));
        let values = mix(weighted, origins.len() * horizon);
        ensure!(values.iter().all(|value| value.is_finite()), "a forecast that is not a finite number");
        Ok(self.mix.interval.around(series.target(), origins, values))
    }
}
