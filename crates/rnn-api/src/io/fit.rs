//! Finds the tensors of a file that a model's parameters take their values from.

use super::host_tensor::HostTensor;
use super::options::LoadOptions;
use super::safetensors::TensorFile;
use crate::error::{Error, Result};
use crate::param::Param;
use std::collections::BTreeMap;

/// The tensors of a file under the names of a model: renamed, without a prefix, and with every name of what is one parameter.
///
/// # Errors
/// [`Error::Checkpoint`]: several prefixes fit, or a parameter has two names with different values.
pub(super) fn fitted(
    params: &[(String, Param)],
    file: TensorFile,
    options: &LoadOptions,
) -> Result<TensorFile> {
    let mut file = renamed(file, options)?.with_prefix(&options.prefix);
    if options.prefix.is_empty() {
        file = without_common_prefix(params, file)?;
    }
    restore_dropped(params, &mut file);
    unite_tied(params, &mut file)?;
    if options.ignore_extra {
        file.tensors.retain(|name, _| params.iter().any(|(own, _)| own == name));
    }
    Ok(file)
}

fn refused(file: &TensorFile, problems: Vec<String>) -> Error {
    Error::Checkpoint { path: file.path().to_path_buf(), problems }
}

fn renamed(mut file: TensorFile, options: &LoadOptions) -> Result<TensorFile> {
    if options.rename.is_empty() {
        return Ok(file);
    }
    let (mut tensors, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, tensor) in std::mem::take(&mut file.tensors) {
        let start = options.rename.iter().find(|(from, _)| name.starts_with(from));
        let new = start.map_or(name.clone(), |(from, to)| format!("{to}{}", &name[from.len()..]));
        if tensors.insert(new.clone(), tensor).is_some() {
            problems.push(format!("`{name}` is renamed to `{new}`, which is there already"));
        }
    }
    file.tensors = tensors;
    if problems.is_empty() { Ok(file) } else { Err(refused(&file, problems)) }
}

/// Removes what stands before all names of the model, such as `module.` of PyTorch's `DataParallel`, `_orig_mod.` of
/// `torch.compile`, or `model.rnn.` of a checkpoint, where none of the model's names is there without it.
fn without_common_prefix(params: &[(String, Param)], file: TensorFile) -> Result<TensorFile> {
    let Some((first, _)) = params.first() else { return Ok(file) };
    if params.iter().any(|(name, _)| file.tensors.contains_key(name)) {
        return Ok(file);
    }
    let before = |name: &String| {
        name.strip_suffix(first.as_str()).filter(|prefix| prefix.ends_with('.')).map(str::to_string)
    };
    let fits = |prefix: &String| {
        params.iter().all(|(name, param)| {
            let tensor = file.tensors.get(&format!("{prefix}{name}"));
            tensor.is_some_and(|tensor| tensor.dims == param.shape().dims())
        })
    };
    let prefixes: Vec<String> = file.tensors.keys().filter_map(before).filter(fits).collect();
    match &prefixes[..] {
        // What is missing is said with all names.
        [] => Ok(file),
        [prefix] => {
            tracing::info!(path = %file.path().display(), prefix, "names have a prefix, which is removed");
            Ok(file.with_prefix(prefix))
        }
        _ => {
            let names: Vec<_> = prefixes.iter().map(|prefix| format!("`{prefix}`")).collect();
            let problem = format!(
                "the prefixes {} all fit; choose one with io::LoadOptions::with_prefix",
                names.join(", ")
            );
            Err(refused(&file, vec![problem]))
        }
    }
}

/// Gives names back that `safetensors.torch.save_model` dropped, because their tensors share memory with others: the
/// metadata has the name that was kept for each.
fn restore_dropped(params: &[(String, Param)], file: &mut TensorFile) {
    for (name, _) in params {
        // The metadata has the whole names.
        let kept = file.metadata.iter().find(|(dropped, _)| file.without_prefix(dropped) == Some(name));
        let kept = kept.and_then(|(_, kept)| file.without_prefix(kept)).map(str::to_string);
        if let Some(tensor) = kept.and_then(|kept| file.tensors.get(&kept)).cloned() {
            file.tensors.entry(name.clone()).or_insert(tensor);
        }
    }
}

/// Gives all names of one parameter the value of the first that is there; different values are an error.
fn unite_tied(params: &[(String, Param)], file: &mut TensorFile) -> Result<()> {
    let mut names: BTreeMap<_, Vec<&String>> = BTreeMap::new();
    for (name, param) in params {
        names.entry(param.id()).or_default().push(name);
    }
    let mut problems = Vec::new();
    for tied in names.values().filter(|names| names.len() > 1) {
        let Some(first) = tied.iter().find(|name| file.tensors.contains_key(**name)) else { continue };
        let value = file.tensors[*first].clone();
        for name in tied {
            let other = file.tensors.entry((*name).clone()).or_insert_with(|| value.clone());
            if !same(&value, other) {
                problems.push(format!(
                    "`{first}` and `{name}` are one parameter of the model, got different values"
                ));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(refused(file, problems)) }
}

fn same(a: &HostTensor, b: &HostTensor) -> bool {
    let bits = |tensor: &HostTensor| {
        let values = tensor.values.as_ref().ok();
        values.map(|values| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
    };
    a.dims == b.dims && bits(a) == bits(b)
}

#[cfg(test)]
mod tests {
    use crate::io::{LoadOptions, load, load_with};
    use crate::nn::{Linear, LinearConfig, Module};
    use crate::{Device, module};
    use safetensors::tensor::{Dtype, TensorView, serialize};
    use std::collections::HashMap;
    use std::path::PathBuf;

    struct Tied {
        encoder: Linear,
        decoder: Linear,
    }
    module!(Tied { encoder, decoder });

    /// One layer under two names.
    fn tied(seed: u64) -> Tied {
        let encoder = LinearConfig::new(1, 2).init(&Device::cpu(), seed).unwrap();
        Tied { decoder: encoder.clone(), encoder }
    }

    /// A file of two values under every name, in the given type.
    fn file(name: &str, tensors: &[(&str, Dtype, Vec<u8>)], metadata: &[(&str, &str)]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rnn-api-fit-{}-{name}", std::process::id()));
        let views = tensors.iter().map(|(name, dtype, bytes)| {
            let dims = if name.ends_with("weight") { vec![2, 1] } else { vec![2] };
            (*name, TensorView::new(*dtype, dims, bytes).unwrap())
        });
        let metadata: HashMap<_, _> =
            metadata.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        std::fs::write(&path, serialize(views, Some(metadata)).unwrap()).unwrap();
        path
    }

    fn single(values: [f32; 2]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn weights(model: &impl Module) -> Vec<Vec<f32>> {
        model.named_parameters().iter().map(|(_, param)| param.value().to_vec().unwrap()).collect()
    }

    /// `safetensors.torch.save_model` writes one of two tensors that share memory, and says so in the metadata.
    #[test]
    fn dropped_names_are_found_in_the_metadata() {
        let tensors = [
            ("net.encoder.weight", Dtype::F32, single([1.0, 2.0])),
            ("net.encoder.bias", Dtype::F32, single([3.0, 4.0])),
        ];
        let metadata =
            [("net.decoder.weight", "net.encoder.weight"), ("net.decoder.bias", "net.encoder.bias")];
        let path = file("dropped", &tensors, &metadata);
        let decoder = LinearConfig::new(1, 2).init(&Device::cpu(), 5).unwrap();
        load_with(&decoder, &path, &LoadOptions::new().with_prefix("net.decoder.")).unwrap_err();
        // Two layers here, one in the file.
        let apart = Tied { encoder: tied(1).encoder, decoder };
        load_with(&apart, &path, &LoadOptions::new().with_prefix("net.")).unwrap();
        assert_eq!(weights(&apart), [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_parameter_takes_one_value() {
        let one = [
            ("decoder.weight", Dtype::F32, single([1.0, 2.0])),
            ("decoder.bias", Dtype::F32, single([3.0, 4.0])),
        ];
        let path = file("one", &one, &[]);
        let model = tied(2);
        load(&model, &path).unwrap();
        assert_eq!(weights(&model)[..2], [[1.0, 2.0], [3.0, 4.0]]);

        let mut both = one.to_vec();
        both.push(("encoder.weight", Dtype::F32, single([1.0, 2.5])));
        let before = weights(&model);
        let other = file("both", &both, &[]);
        let error = load(&model, &other).unwrap_err().to_string();
        assert!(error.contains("`encoder.weight` and `decoder.weight` are one parameter"), "{error}");
        assert_eq!(weights(&model), before);
        [path, other].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }

    #[test]
    fn other_floating_point_types_are_converted() {
        let wide: Vec<u8> = [0.1f64, -3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let short: Vec<u8> =
            [1.5, -2.0].iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()).collect();
        let path = file("types", &[("weight", Dtype::F64, wide), ("bias", Dtype::BF16, short)], &[]);
        let linear = LinearConfig::new(1, 2).init(&Device::cpu(), 3).unwrap();
        load(&linear, &path).unwrap();
        assert_eq!(weights(&linear), [[0.1, -3.0], [1.5, -2.0]]);
        // A value that f32 does not hold is infinite.
        let large: Vec<u8> = [1e300f64, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let bias = single([0.0, 0.0]);
        let other = file("large", &[("weight", Dtype::F64, large), ("bias", Dtype::F32, bias)], &[]);
        let error = load(&linear, &other).unwrap_err().to_string();
        assert!(error.contains("`weight` must be finite, got inf at element 0"), "{error}");
        [path, other].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
}
