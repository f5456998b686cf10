//! The order in which the calls of a model run.

use crate::keras::config::{Call, Layer, Model, Settings};
use std::collections::{HashMap, VecDeque};

/// A layer, the number of its call, and what enters it: `None` for inputs.
type Numbered<'a> = (&'a Layer, usize, Option<&'a Call>);

fn all(model: &Model) -> Vec<Numbered<'_>> {
    let mut calls: Vec<Numbered<'_>> = Vec::new();
    for (n, layer) in model.layers.iter().enumerate() {
        if layer.settings == Settings::Input || model.sequential && n == 0 {
            calls.push((layer, 0, None));
        } else {
            calls.extend(layer.inbound.iter().enumerate().map(|(node, call)| (layer, node, Some(call))));
        }
    }
    calls
}

/// Layers that are not supported, where no call would say so.
pub(super) fn unused(model: &Model) -> Vec<String> {
    let silent = model
        .layers
        .iter()
        .enumerate()
        .filter(|(n, layer)| layer.inbound.is_empty() && !(model.sequential && *n == 0));
    let problem = |(_, layer): (usize, &Layer)| match &layer.settings {
        Settings::Unsupported(why) => Some(layer.problem(why)),
        _ => None,
    };
    silent.filter_map(problem).collect()
}

/// Every call after those whose outputs it reads (Kahn 1962). A call that reads what is not there comes as soon as it can.
pub(super) fn calls(model: &Model) -> Result<Vec<Numbered<'_>>, String> {
    let calls = all(model);
    let numbers: HashMap<(&str, usize), usize> =
        calls.iter().enumerate().map(|(n, (layer, node, _))| ((&*layer.name, *node), n)).collect();
    let mut readers = vec![Vec::new(); calls.len()];
    let mut waiting = vec![0usize; calls.len()];
    for (n, (_, _, call)) in calls.iter().enumerate() {
        for source in call.iter().flat_map(|call| call.sources()) {
            if let Some(&read) = numbers.get(&(&*source.layer, source.node)) {
                readers[read].push(n);
                waiting[n] += 1;
            }
        }
    }
    let mut ready: VecDeque<usize> = (0..calls.len()).filter(|&n| waiting[n] == 0).collect();
    let mut order = Vec::with_capacity(calls.len());
    while let Some(n) = ready.pop_front() {
        order.push(calls[n]);
        for &reader in &readers[n] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push_back(reader);
            }
        }
    }
    if order.len() == calls.len() {
        return Ok(order);
    }
    let stuck = calls.iter().zip(&waiting).filter(|(_, waiting)| **waiting > 0);
    let mut names: Vec<String> = stuck.map(|((layer, _, _), _)| format!("`{}`", layer.name)).collect();
    names.dedup();
    Err(format!("layers are in a cycle, or wait for one: {}", names.join(", ")))
}
