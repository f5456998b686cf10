//! Imported models written as ONNX and read again.

use rnn_api::Device;
use rnn_api::nn::Module;
use rnn_interop::{Model, onnx};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A path of its own for every call.
pub(crate) fn path() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("rnn-interop-exported-{}-{n}.onnx", std::process::id()))
}

/// A model by way of a file, on the CPU.
pub(crate) fn exported(model: &Model) -> Model {
    let path = path();
    onnx::export_graph(model, &path).unwrap();
    let again = onnx::Model::load(&path, &Device::cpu()).unwrap();
    std::fs::remove_file(&path).unwrap();
    again
}

/// The bits of every parameter by name.
pub(crate) fn parameters(model: &Model) -> BTreeMap<String, Vec<u32>> {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let params = model.named_parameters().into_iter();
    params.map(|(name, param)| (name, bits(param.value().to_vec().unwrap()))).collect()
}

/// The bits of every parameter, sorted and without names: weights of linear layers are transposed in the file.
pub(crate) fn unnamed(model: &Model) -> Vec<Vec<u32>> {
    let mut all: Vec<Vec<u32>> = parameters(model).into_values().collect();
    all.iter_mut().for_each(|bits| bits.sort_unstable());
    all.sort_unstable();
    all
}
