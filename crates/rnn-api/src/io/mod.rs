//! Files: safetensors with PyTorch's names, written atomically and checked before use; files of `torch.save` are read. [`save`] and [`load`] are for the
//! weights of a model that a program makes itself, [`save_model`] and [`load_model`] for a model in one file.

mod archive;
mod atomic;
mod checksum;
mod element;
mod fit;
mod foreign;
mod host_tensor;
mod model;
mod options;
mod safetensors;
mod slots;
mod stream;
mod torch;

pub use self::archive::Archive;
pub(crate) use self::atomic::{expect_regular, not_regular, sync_folder, write_atomically};
pub use self::host_tensor::HostTensor;
pub(crate) use self::host_tensor::not_finite;
pub use self::model::{ModelFile, ModelWriter, load_model, save_model};
pub use self::options::LoadOptions;
pub use self::safetensors::{TensorFile, write};

use crate::error::{Error, Result};
use crate::nn::{Module, mismatches, prefix_problem};
use crate::param::Param;
use rnn_runtime::Array;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Writes all parameters of `model` to a safetensors file. The file is written beside its destination, flushed to
/// disk and renamed, so it is complete or absent.
///
/// If `path` is a symbolic link, it stays one, and the file that it leads to is replaced. An existing file passes its
/// permissions on; its owner and other hard links do not change hands. A process that is killed while it writes leaves
/// a hidden file `.NAME.NUMBER.tmp`.
///
/// # Errors
/// [`Error::Io`]: the file cannot be written or is read-only; or the path leads to a folder, a pipe or a device. Or the
/// device fails.
pub fn save(model: &(impl Module + ?Sized), path: impl AsRef<Path>) -> Result<()> {
    save_with(model, path, HashMap::new())
}

/// As [`save`], with metadata: named text, such as the configuration as JSON.
///
/// # Errors
/// As [`save`].
pub fn save_with(
    model: &(impl Module + ?Sized),
    path: impl AsRef<Path>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    write(path.as_ref(), &model.state_dict(), metadata)
}

/// The values whose names start with `prefix`, without the prefix, for
/// [`load_state_dict`](crate::nn::Module::load_state_dict): the part of a model, or a state dict of PyTorch's
/// `DataParallel` with `module.` before every name.
pub fn without_prefix(values: &BTreeMap<String, Array>, prefix: &str) -> BTreeMap<String, Array> {
    let named =
        |(name, value): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_string(), value.clone()));
    values.iter().filter_map(named).collect()
}

/// Reads all parameters of `model` from a file and returns the file's metadata. The state dict of a PyTorch `nn.LSTM`,
/// `nn.GRU` or `nn.RNN` loads unchanged, from safetensors as from a file of `torch.save` (.pt, .pth), which is recognised
/// by its first bytes and of which nothing is executed. Values are f32, or f16, bf16 and f64, which are converted.
///
/// - A prefix before all names is removed: `module.` of `DataParallel`, `_orig_mod.` of `torch.compile`, or
///   `model.rnn.` where the model is a part of what was saved. It must be the only one that fits.
/// - A parameter with several names takes its value from any of them; different values are an error. Names that
///   `safetensors.torch.save_model` dropped are found in its metadata.
///
/// # Errors
/// The file cannot be read ([`Error::Io`]) or is corrupt; or names are unknown or missing, have another shape or type,
/// or hold values that are infinite or NaN ([`Error::Checkpoint`], which lists all of them). Nothing is assigned then.
pub fn load(model: &(impl Module + ?Sized), path: impl AsRef<Path>) -> Result<HashMap<String, String>> {
    load_with(model, path, &LoadOptions::new())
}

/// As [`load`], with options.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    model: &(impl Module + ?Sized),
    path: impl AsRef<Path>,
    options: &LoadOptions,
) -> Result<HashMap<String, String>> {
    let file = fit::fitted(&model.named_parameters(), TensorFile::read(path)?, options)?;
    load_file(model, &file, options)?;
    Ok(file.metadata)
}

/// Assigns the tensors of a file, whose prefix has been removed, or none of them.
fn load_file(model: &(impl Module + ?Sized), file: &TensorFile, options: &LoadOptions) -> Result<()> {
    let params = model.named_parameters();
    let own: Vec<_> = params.iter().map(|(name, param)| (name.as_str(), param.shape())).collect();
    let mut problems = mismatches(&own, file.dims());
    problems.extend(prefix_problem(&own, file.dims(), &options.prefix));
    problems.extend(own.iter().filter_map(|(name, _)| match options.non_finite {
        true => file.type_problem(name),
        false => file.value_problem(name),
    }));
    if !problems.is_empty() {
        return Err(Error::Checkpoint { path: file.path().to_path_buf(), problems });
    }
    // Upload first: an upload can fail, and nothing has changed then.
    let mut ready = Vec::with_capacity(params.len());
    for (name, param) in &params {
        ready.push((param, file.upload(name, &param.device())?));
    }
    Param::set_all(ready)
}
