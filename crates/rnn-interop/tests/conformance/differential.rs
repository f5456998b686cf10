//! Random recurrent nodes against ONNX Runtime, where Python has it: `RNN_PYTHON` names the interpreter, else `python3`.

use super::{BOUND, Case, common, recorded};
use libtest_mimic::Trial;
use rnn_api::Device;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nodes on the CPU. On a GPU every second node has kernels of its own, which take longer to compile than to run.
const NODES: [usize; 2] = [1000, 12];

pub(crate) fn trials() -> Vec<Trial> {
    let python = std::env::var_os("RNN_PYTHON").unwrap_or_else(|| "python3".into());
    let name = "onnxruntime::random_nodes";
    let import = Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        eprintln!("ignored: {} lacks numpy, onnx or onnxruntime; see tools/reference", python.display());
        return vec![Trial::test(name, || Ok(())).with_ignored_flag(true)];
    }
    common::trials_of(name, move |device| random_nodes(&python, device))
}

fn random_nodes(python: &OsString, device: &Device) {
    let [on_cpu, on_gpu] = NODES;
    let (count, kind) = if device.is_cpu() { (on_cpu, "cpu") } else { (on_gpu, "gpu") };
    let folder = Folder(std::env::temp_dir().join(format!("rnn-onnxruntime-{}-{kind}", std::process::id())));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/reference/onnx_nodes.py");
    let made = Command::new(python).arg(script).arg(&folder.0).args(["--count", &count.to_string()]).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
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
