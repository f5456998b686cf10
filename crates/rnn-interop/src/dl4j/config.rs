//! `configuration.json` of a `MultiLayerNetwork` or a `ComputationGraph`.

mod layer;
mod settings;

use super::description::{Description, Kind, Layer, Settings};
use super::graph;
use super::json::{Fields, Ordered, length, texts, typed};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// The name of the input of a network that is no graph.
const INPUT: &str = "input";

/// The members whose order counts.
#[derive(Deserialize)]
struct Vertices {
    #[serde(default)]
    vertices: Ordered,
}

/// The network without its values.
pub(super) fn read(text: &[u8]) -> Result<Description, String> {
    let wrong = |why: serde_json::Error| format!("configuration.json: {why}");
    let root: Fields = serde_json::from_slice(text).map_err(wrong)?;
    let mut unknown = Vec::new();
    let description = match root.get("confs").and_then(Value::as_array) {
        Some(confs) => sequence(&root, confs, &mut unknown),
        None if root.contains_key("vertices") => {
            let Vertices { vertices } = serde_json::from_slice(text).map_err(wrong)?;
            of_graph(&root, &vertices, &mut unknown)
        }
        None => Err("configuration.json has neither `confs` nor `vertices`".to_string()),
    };
    match unknown.is_empty() {
        true => description,
        false => Err(format!("layers that are not understood: {}", unknown.join(", "))),
    }
}

fn sequence(root: &Fields, confs: &[Value], unknown: &mut Vec<String>) -> Result<Description, String> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut seed = None;
    let mut problem = None;
    for (n, conf) in confs.iter().enumerate() {
        let input = layers.last().map_or(INPUT, |layer| &layer.name).to_string();
        seed = seed.or_else(|| conf.get("seed").and_then(Value::as_i64));
        let processor = root.get("inputPreProcessors").and_then(|all| all.get(n.to_string()));
        match of_conf(conf, &n.to_string(), vec![input], processor, unknown) {
            Ok(Some(layer)) if layers.iter().any(|other| other.name == layer.name) => {
                problem = problem.or(Some(format!("two layers are called `{}`", layer.name)));
            }
            Ok(layer) => layers.extend(layer),
            Err(why) => problem = problem.or(Some(why)),
        }
    }
    let outputs = layers.last().map(|layer| layer.name.clone()).into_iter().collect();
    problem.map_or(Ok(()), Err)?;
    description(root, layers, vec![INPUT.to_string()], outputs, seed)
}

fn of_graph(root: &Fields, vertices: &Ordered, unknown: &mut Vec<String>) -> Result<Description, String> {
    let inputs = texts(root.get("networkInputs"), "networkInputs")?;
    let outputs = texts(root.get("networkOutputs"), "networkOutputs")?;
    let mut edges = HashMap::new();
    for (name, from) in root.get("vertexInputs").and_then(Value::as_object).into_iter().flatten() {
        edges.insert(name.clone(), texts(Some(from), name)?);
    }
    let seed = root.get("defaultConfiguration").and_then(|conf| conf.get("seed")).and_then(Value::as_i64);
    let mut layers = Vec::new();
    let mut problem = None;
    for (name, vertex) in graph::sorted(&inputs, vertices, &edges)? {
        let from = edges.get(name).cloned().unwrap_or_default();
        match of_vertex(vertex, name, from, unknown) {
            Ok(layer) => layers.extend(layer),
            Err(why) => problem = problem.or(Some(why)),
        }
    }
    problem.map_or(Ok(()), Err)?;
    description(root, layers, inputs, outputs, seed)
}

/// A vertex; `None` if its class is unknown, which is noted.
fn of_vertex(
    vertex: &Value,
    name: &str,
    inputs: Vec<String>,
    unknown: &mut Vec<String>,
) -> Result<Option<Layer>, String> {
    let (class, fields) = typed(vertex).ok_or_else(|| format!("vertex `{name}` has no class"))?;
    let kind = match class {
        "LayerVertex" => {
            let conf = fields.get("layerConf").unwrap_or(&Value::Null);
            let layer = of_conf(conf, name, inputs, fields.get("preProcessor"), unknown)?;
            return Ok(layer.map(|layer| Layer { name: name.to_string(), ..layer }));
        }
        "MergeVertex" => Kind::MergeVertex,
        "LastTimeStepVertex" => Kind::LastTimeStepVertex,
        _ => {
            unknown.push(format!("{class} `{name}`"));
            return Ok(None);
        }
    };
    let (settings, parameters) = (Settings::default(), BTreeMap::new());
    Ok(Some(Layer { name: name.to_string(), kind, inputs, settings, parameters }))
}

/// A layer; `None` if its class is unknown, which is noted.
fn of_conf(
    conf: &Value,
    name: &str,
    inputs: Vec<String>,
    processor: Option<&Value>,
    unknown: &mut Vec<String>,
) -> Result<Option<Layer>, String> {
    let layer = conf.get("layer").and_then(typed);
    let (class, fields) = layer.ok_or_else(|| format!("layer `{name}` has no class"))?;
    let name = fields.get("layerName").and_then(Value::as_str).unwrap_or(name).to_string();
    let Some((kind, mut settings)) =
        layer::read(class, fields).map_err(|why| format!("layer `{name}`: {why}"))?
    else {
        unknown.push(format!("{} `{name}`", described(class, fields)));
        return Ok(None);
    };
    settings.preprocessor = processor.and_then(typed).map(|(class, _)| class.to_string());
    Ok(Some(Layer { name, kind, inputs, settings, parameters: BTreeMap::new() }))
}

/// A class, and what it wraps.
fn described(class: &str, fields: &Fields) -> String {
    let inner = fields.get("fwd").or_else(|| fields.get("underlying")).and_then(typed);
    inner.map_or(class.to_string(), |(inner, fields)| format!("{class} of {}", described(inner, fields)))
}

fn description(
    root: &Fields,
    layers: Vec<Layer>,
    inputs: Vec<String>,
    outputs: Vec<String>,
    seed: Option<i64>,
) -> Result<Description, String> {
    let cut = root.get("backpropType").and_then(Value::as_str) == Some("TruncatedBPTT");
    let steps = |name| length(root, name)?.ok_or_else(|| format!("truncated sequences without `{name}`"));
    let truncated = match cut {
        true => Some((steps("tbpttFwdLength")?, steps("tbpttBackLength")?)),
        false => None,
    };
    Ok(Description { layers, inputs, outputs, truncated, seed, normalizer: None, updater_state: None })
}
