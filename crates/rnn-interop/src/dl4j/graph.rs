//! The order of a graph's vertices. The coefficients of a `ComputationGraph` lie in the order of its topological sort, so the
//! sort must be that of DL4J, ties included.

use super::json::Ordered;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};

/// The vertices in DL4J's order.
pub(super) fn sorted<'a>(
    inputs: &[String],
    vertices: &'a Ordered,
    edges: &HashMap<String, Vec<String>>,
) -> Result<Vec<&'a (String, Value)>, String> {
    let names = inputs.iter().chain(vertices.0.iter().map(|(name, _)| name));
    let mut number = HashMap::new();
    for (n, name) in names.enumerate() {
        if number.insert(name.as_str(), n).is_some() {
            return Err(format!("the graph has two vertices `{name}`"));
        }
    }
    let (mut waits_for, mut feeds) = (vec![0usize; number.len()], vec![Vec::new(); number.len()]);
    for (at, (name, _)) in vertices.0.iter().enumerate() {
        let to = inputs.len() + at;
        for from in edges.get(name).into_iter().flatten() {
            let from = *number.get(from.as_str()).ok_or_else(|| unknown(name, from))?;
            if !feeds[from].contains(&to) {
                feeds[from].push(to);
                waits_for[to] += 1;
            }
        }
    }
    let mut order = Vec::new();
    let mut ready: VecDeque<usize> = (0..waits_for.len()).filter(|&n| waits_for[n] == 0).collect();
    while let Some(next) = ready.pop_front() {
        order.extend(next.checked_sub(inputs.len()).map(|at| &vertices.0[at]));
        for to in hashed(&feeds[next]) {
            waits_for[to] -= 1;
            if waits_for[to] == 0 {
                ready.push_back(to);
            }
        }
    }
    match order.len() == vertices.0.len() {
        true => Ok(order),
        false => Err("the graph's vertices form a circle".to_string()),
    }
}

fn unknown(name: &str, from: &str) -> String {
    format!("vertex `{name}` reads `{from}`, which is neither an input nor a vertex")
}

/// Numbers in the order in which Java's `HashSet` yields them.
fn hashed(numbers: &[usize]) -> Vec<usize> {
    let mut buckets = 16;
    while numbers.len() > buckets / 4 * 3 {
        buckets *= 2;
    }
    let mut sorted = numbers.to_vec();
    sorted.sort_by_key(|number| number % buckets);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_broken_as_by_java() {
        let vertices =
            |names: &[&str]| Ordered(names.iter().map(|&name| (name.into(), Value::Null)).collect());
        let edges = |edges: &[(&str, &str)]| {
            edges
                .iter()
                .map(|&(to, from)| (to.to_string(), vec![from.to_string()]))
                .collect::<HashMap<_, _>>()
        };
        let graph = vertices(&["d", "c", "b"]);
        let order = sorted(&["in".into()], &graph, &edges(&[("b", "in"), ("c", "b"), ("d", "in")]));
        let names: Vec<_> = order.unwrap().iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, ["d", "b", "c"]);
        assert!(sorted(&[], &graph, &edges(&[("b", "c"), ("c", "b")])).unwrap_err().contains("circle"));
        assert!(sorted(&[], &graph, &edges(&[("b", "x")])).unwrap_err().contains("`x`"));
        assert_eq!(hashed(&[2, 17, 18]), [17, 2, 18]);
    }
}
