//! Random recurrent nodes against ONNX Runtime, and steps of SGD against PyTorch, where Python has them: `RNN_PYTHON` names the
//! interpreter, else `python3`.

use super::{BOUND, Case, arrays, common, error, recorded, value};
use libtest_mimic::Trial;
use rnn_api::optim::{Optimizer, SgdConfig};
use rnn_api::{Device, Tensor};
use rnn_interop::{Value, onnx};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nodes on the CPU. On a GPU every second node has kernels of its own, which take longer to compile than to run.
const NODES: [usize; 2] = [1000, 12];

pub(crate) fn trials() -> Vec<Trial> {
    let python = std::env::var_os("RNN_PYTHON").unwrap_or_else(|| "python3".into());
    let trials = |name: &str, packages: &str, test: fn(&OsString, &Device)| {
        let import = Command::new(&python).args(["-c", &format!("import numpy, onnx, {packages}")]).output();
        if !import.is_ok_and(|output| output.status.success()) {
            let python = python.display();
            eprintln!("ignored: {python} lacks numpy, onnx or {packages}; see tools/reference");
            return vec![Trial::test(name, || Ok(())).with_ignored_flag(true)];
        }
        let python = python.clone();
        common::trials_of(name, move |device| test(&python, device))
    };
    let mut all = trials("live::random_nodes_of_onnxruntime", "onnxruntime", random_nodes);
    all.extend(trials("live::steps_of_sgd_of_torch", "torch", steps_of_sgd));
    all
}

/// What a script of `tools/reference` writes.
fn written(python: &OsString, script: &str, more: &[&str], device: &Device) -> Folder {
    let kind = if device.is_cpu() { "cpu" } else { "gpu" };
    let folder = Folder(std::env::temp_dir().join(format!("rnn-{script}-{}-{kind}", std::process::id())));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/reference").join(script);
    let made = Command::new(python).arg(path).arg(&folder.0).args(more).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

/// The models of another exporter learn the same: their outputs after one step are those of PyTorch.
fn steps_of_sgd(python: &OsString, device: &Device) {
    let folder = written(python, "onnx_steps.py", &[], device);
    let arrays = ["LastStep", "BothDirections", "MeanOfSteps"].map(|name| {
        (folder.0.join(format!("{name}.onnx")), arrays::npz(&folder.0.join(format!("{name}.npz"))))
    });
    for (path, recorded) in arrays {
        let model = onnx::Model::load(&path, device).unwrap();
        let run = || {
            let outputs = model.run(&[("x", value(&recorded["in0.x"], device))]).unwrap();
            outputs.tensor("y").unwrap().clone()
        };
        let off = |y: &Tensor, want: &str| {
            let got: Vec<f64> = y.to_vec().unwrap().into_iter().map(f64::from).collect();
            error(&got, &recorded[want].values)
        };
        let y = run();
        assert!(off(&y, "out0.y") <= BOUND, "{}: {:e}", path.display(), off(&y, "out0.y"));
        let Value::Float(target) = value(&recorded["target"], device) else { panic!("floats") };
        let grads = y.mse(&target).unwrap().backward().unwrap();
        let mut sgd = SgdConfig::new(recorded["rate"].values[0]).init(&model).unwrap();
        sgd.step(&grads).unwrap();
        let y = run();
        assert!(off(&y, "after") <= BOUND, "{}: {:e}", path.display(), off(&y, "after"));
        assert!(off(&y, "out0.y") > 1e-2, "{}: the step changes nothing", path.display());
    }
}

fn random_nodes(python: &OsString, device: &Device) {
    let [on_cpu, on_gpu] = NODES;
    let count = if device.is_cpu() { on_cpu } else { on_gpu };
    let folder = written(python, "onnx_nodes.py", &["--count", &count.to_string()], device);
    for n in 0..count {
        let model = folder.0.join(format!("{n}.onnx"));
        let runs = recorded(&model.with_extension("npz"));
        let case = Case { name: n.to_string(), model, runs, bound: BOUND };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.check(device)));
        assert!(checked.is_ok(), "node {n} of seed 1");
    }
}

/// A folder that is removed with what it holds.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        if let Err(error) = std::fs::remove_dir_all(path) {
            eprintln!("{} stays: {error}", path.display());
        }
    }
}
