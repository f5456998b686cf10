//! Configs of which a part is replaced: an error, or a model that runs or says why not.

use super::{array, cases, weights};
use crate::Model;
use crate::keras::config::parse;
use crate::keras::lower::parts;
use crate::keras::tests::Random;
use crate::value::Value;
use rnn_api::{Device, Tensor, no_grad};
use rnn_testing::data::changed_files;
use serde_json::{Value as Json, json};

/// Visits every part of a text in JSON.
fn each(value: &mut Json, visit: &mut dyn FnMut(&mut Json)) {
    visit(value);
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| each(item, visit)),
        Json::Object(fields) => fields.iter_mut().for_each(|(_, field)| each(field, visit)),
        _ => (),
    }
}

/// The config with one part replaced by something hostile, or by another of its parts.
fn mutated(config: &Json, random: &mut Random) -> Json {
    let mut config = config.clone();
    let mut count = 0;
    each(&mut config, &mut |_| count += 1);
    let (to, from, hostile) = (1 + random.below(count - 1), random.below(count), random.below(2) == 0);
    let (mut n, mut copied) = (0, Json::Null);
    each(&mut config, &mut |part| {
        if n == from {
            copied = part.clone();
        }
        n += 1;
    });
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(1u64 << 31),
        json!(1u64 << 62),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
        json!("GRU"),
        json!("softmax"),
    ];
    let new = if hostile { values[random.below(values.len())].clone() } else { copied };
    n = 0;
    each(&mut config, &mut |part| {
        if n == to {
            *part = new.clone();
        }
        n += 1;
    });
    config
}

#[test]
fn changed_configs_give_errors_and_no_panics() {
    let device = Device::cpu();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let cases = cases();
    // A round makes and runs a model, which takes as long as a hundred changed files elsewhere.
    let (rounds, mut refused, mut ran) = (changed_files(44_000) / 100, 0, 0);
    for round in 0..rounds {
        let case = &cases[round % cases.len()];
        let config: Json = serde_json::from_str(case["config"].as_str().unwrap()).unwrap();
        let text = mutated(&config, &mut random).to_string();
        let parsed = parse(&text, case["version"].as_str());
        let parts = parsed.ok().and_then(|config| parts(&config, &weights(&case["weights"]), &device).ok());
        let Some(parts) = parts else {
            refused += 1;
            continue;
        };
        let model = Model::new(parts, &device);
        let arrays = case["runs"][0]["inputs"].as_array().unwrap().iter().map(array);
        let values =
            arrays.map(|array| Tensor::from_slice(&device, &array.values, &array.dims).unwrap().into());
        let names = model.inputs().iter().map(|port| port.name.as_str());
        let given: Vec<(&str, Value)> = names.zip(values).collect();
        ran += usize::from(no_grad(|| model.run(&given)).is_ok());
    }
    assert!(refused > rounds / 10 && ran > rounds / 10, "{refused} refused, {ran} ran");
}
