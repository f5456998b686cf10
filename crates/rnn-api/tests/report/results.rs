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
        assert!(values.zip(shown).all(|(value, shown)| (value - shown).abs() < 2e-4 * value.abs().max(1e-2)));
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
        page.text(&format!("sample {n}"), &"long ".repeat(20_000));
    }
    let classes = 60;
    let mut matrix = ConfusionMatrix::new(classes).unwrap();
    matrix.add(&(0..classes as u32).collect::<Vec<_>>(), &(0..classes as u32).collect::<Vec<_>>()).unwrap();
    page.save().unwrap();
    let text = folder.read("x.html");
    check_page(&text);
    assert!(text.contains("at most 40 results"));
    let other = Report::new(folder.join("y.html")).page();
    other.confusion("many", &matrix);
    other.forecast("long", &vec![1.0; 100_000], &vec![0.5; 100_000]).unwrap();
    other.save().unwrap();
    let text = folder.read("y.html");
    check_page(&text);
    assert!(text.contains("20 further classes are left out") && text.len() < 300_000);
}
