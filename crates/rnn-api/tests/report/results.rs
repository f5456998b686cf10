//! What a program adds to its page.

use crate::check_page;
use crate::folder::Folder;
use rnn_api::metrics::ConfusionMatrix;
use rnn_api::prelude::*;
use rnn_api::train::Report;

#[test]
fn results_are_shown_and_replaced() {
    let folder = Folder::new();
    let report = Report::new(folder.join("x.html"));
    let page = report.page();
    page.text("sample", "the first");
    page.text("sample", "the <b>second</b>");
    let mut matrix = ConfusionMatrix::with_names(["cat", "d<o>g", "cow"]).unwrap();
    matrix.add(&[0, 1, 1, 0], &[0, 1, 0, 0]).unwrap();
    page.confusion("test part", &matrix);
    page.forecast("ahead", &[1.0, 2.0, f32::NAN], &[1.5, 1.0, 2.0]).unwrap();
    page.save().unwrap();
    let text = folder.read("x.html");
    check_page(&text);
    assert!(text.contains("the &lt;b&gt;second") && !text.contains("the first"));
    assert!(text.contains("<th>cat</th>") && text.contains("d&lt;o&gt;g") && text.contains("67 %"));
    assert!(text.contains("ahead: errors") && text.contains("Prediction minus truth"));
    // A class without items has no recall.
    assert!(text.contains("<th>–</th>"));
}

#[test]
fn activations_are_those_of_the_row() {
    let (folder, device) = (Folder::new(), Device::cpu());
    let (steps, batch, units) = (3, 2, 5);
    let lstm = LstmConfig::new(2, units).init(&device, 1).unwrap();
    let x: Vec<f32> = rnn_testing::data::uniform(7, steps * batch * 2);
    let x = Tensor::from_vec(&device, x, &[steps, batch, 2]).unwrap();
    let (_, traces) = lstm.forward_traced(&x, Default::default(), &[0]).unwrap();
    let page = Report::new(folder.join("x.html")).page();
    let labels: Vec<String> = ["<", "b", "c"].map(String::from).to_vec();
    page.activations("memory", &traces[0], 1, &labels).unwrap();
    page.save().unwrap();
    let text = folder.read("x.html");
    check_page(&text);
    let c = traces[0].c.as_ref().unwrap().to_vec().unwrap();
    for unit in 0..units {
        let values = (0..steps).map(|step| f64::from(c[(step * batch + 1) * units + unit].tanh()));
        let strip = text.split(&format!("data-n=\"{unit}\" data-v=\"")).nth(1).unwrap();
        let shown = strip[..strip.find('"').unwrap()].split(' ');
        let shown: Vec<f64> = shown.map(|value| value.replace('−', "-").parse().unwrap()).collect();
        assert!(values.zip(shown).all(|(value, shown)| (value - shown).abs() < 6e-4 * value.abs().max(1e-2)));
    }
    assert!(text.contains("<i>&lt;</i>"));
    for (row, labels, named) in [(2, &labels[..], "row"), (0, &labels[..2], "labels")] {
        let refused = page.activations("memory", &traces[0], row, labels).unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}

#[test]
fn too_much_is_cut() {
    let folder = Folder::new();
    let page = Report::new(folder.join("x.html")).page();
    for n in 0..50 {
        page.text(&format!("sample {n}"), &"<\"&>".repeat(20_000));
    }
    let classes = 60;
    let mut matrix = ConfusionMatrix::new(classes).unwrap();
    matrix.add(&(0..classes as u32).collect::<Vec<_>>(), &(0..classes as u32).collect::<Vec<_>>()).unwrap();
    page.save().unwrap();
    let text = folder.read("x.html");
    check_page(&text);
    assert!(text.contains("at most 40 results") && text.contains("further results are left out"));
    let other = Report::new(folder.join("y.html")).page();
    other.confusion("many", &matrix);
    other.forecast("long", &vec![1.0; 100_000], &vec![0.5; 100_000]).unwrap();
    other.save().unwrap();
    let text = folder.read("y.html");
    check_page(&text);
    assert!(text.contains("20 further classes are left out") && text.len() < 300_000);
}

#[test]
fn examinations_have_a_section() {
    use rnn_api::doctor::{Finding, GateStatistics, GradientFlow, MemoryHorizon};
    let folder = Folder::new();
    let page = Report::new(folder.join("x.html")).page();
    page.save().unwrap();
    assert!(!folder.read("x.html").contains("Memory and gates"));

    let flow = |norms: &[f64]| -> GradientFlow {
        let layer = serde_json::json!({ "layer": "l<s>tm", "call": 0, "stack_layer": 1, "reverse": true,
            "h": norms, "c": null, "h_back": norms, "c_back": null });
        serde_json::from_value(serde_json::json!({ "layers": [layer], "skipped": [] })).unwrap()
    };
    // More examinations than rows.
    (0..60).for_each(|_| page.gradient_flow(&flow(&[1.0, 0.1, 0.001, 1e-6])));
    let unit = serde_json::json!({ "mean": 0.25, "std": 0.1, "low": 0.5, "high": 0.25 });
    let gate = |name: &str, range: [f64; 2]| {
        serde_json::json!({ "name": name, "count": 8, "mean": 0.25, "std": 0.1, "low": 0.5, "high": 0.25, "range": range,
            "bounded": true, "histogram": [4, 0, 4], "units": [unit, unit] })
    };
    let layer = serde_json::json!({ "layer": "lstm", "stack_layer": 0, "reverse": false, "time_constants": [1.5, 90.0],
        "gates": [gate("f", [0.0, 1.0]), gate("h", [-1.0, 1.0])] });
    let gates: GateStatistics = serde_json::from_value(serde_json::json!({ "layers": [layer] })).unwrap();
    page.gates(&gates);
    let memory: MemoryHorizon = serde_json::from_value(
        serde_json::json!({ "lags": [0, 1, 2], "effect": [1.0, 0.5, 0.1], "steps": 9 }),
    )
    .unwrap();
    page.memory(&memory);
    let finding: Finding = serde_json::from_value(serde_json::json!({ "rule": "short_memory", "severity": "problem",
        "sentence": "Forget gates are <shut>.", "evidence": "mean 0.1", "remedy": "Open them.", "code": "x.with_y(1)" })).unwrap();
    page.findings(&[finding]);
    page.save().unwrap();
    let text = folder.read("x.html");
    check_page(&text);
    for found in [
        "Gradient by time step: l&lt;s&gt;tm, layer 1 backwards",
        "from 2 of 4 steps back on",
        "f, forget gate",
        "50 % at the lower, 25 % at the upper end",
        "Time constants of the units",
        "Openness of gates: lstm, layer 0",
        "data-v=\"0.75 0.75\"",
        "Memory: effect of an input",
        "Forget gates are &lt;shut&gt;.",
        "x.with_y(1)",
    ] {
        assert!(text.contains(found), "{found}");
    }
    let rows = text.split("Gradient by time step").nth(1).unwrap();
    let rows = rows[..rows.find("</figure>").unwrap()].matches("class=\"row\"").count();
    assert!((12..=24).contains(&rows), "{rows}");
}
