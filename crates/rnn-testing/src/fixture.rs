//! Reads the safetensors fixtures that `tools/reference/generate.py` writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// A shape and its values, row-major.
pub type Tensor<T> = (Vec<usize>, Vec<T>);

/// The content of one safetensors file.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    /// The f32 tensors by name.
    pub tensors: BTreeMap<String, Tensor<f32>>,
    /// The i64 tensors (labels) by name.
    pub integers: BTreeMap<String, Tensor<i64>>,
    /// The `__metadata__` of the file.
    pub metadata: BTreeMap<String, String>,
}

impl Fixture {
    /// Reads a whole file. An error names the file and, if there is one, the tensor: the file cannot be read or
    /// parsed, or a tensor is neither f32 nor i64.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, String> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Parses the bytes of a safetensors file; errors as in [`Fixture::read`], without the path.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let mut fixture = Fixture {
            metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(),
            ..Fixture::default()
        };
        for (name, view) in file.iter() {
            let (dims, name, data) = (view.shape().to_vec(), name.to_owned(), view.data());
            match view.dtype() {
                Dtype::F32 => {
                    fixture.tensors.insert(name, (dims, little_endian(data, f32::from_le_bytes)));
                }
                Dtype::I64 => {
                    fixture.integers.insert(name, (dims, little_endian(data, i64::from_le_bytes)));
                }
                other => return Err(format!("tensor {name} is {other:?}, expected F32 or I64")),
            }
        }
        Ok(fixture)
    }

    /// Shape and values of the f32 tensor `name`, or an error that names it.
    pub fn tensor(&self, name: &str) -> Result<&Tensor<f32>, String> {
        self.tensors.get(name).ok_or_else(|| format!("no f32 tensor {name}"))
    }

    /// The values of the f32 tensor `name`, widened to f64; an error names the tensor.
    pub fn values_f64(&self, name: &str) -> Result<Vec<f64>, String> {
        Ok(crate::data::to_f64(&self.tensor(name)?.1))
    }

    /// Shape and values of the i64 tensor `name`, or an error that names it.
    pub fn integers(&self, name: &str) -> Result<&Tensor<i64>, String> {
        self.integers.get(name).ok_or_else(|| format!("no i64 tensor {name}"))
    }

    /// The value of `field` in the flat JSON object under the metadata key `key`, as text without quotes. An error
    /// if either is missing.
    pub fn field(&self, key: &str, field: &str) -> Result<&str, String> {
        let json = self.metadata.get(key).ok_or_else(|| format!("no metadata {key}"))?;
        flat_json_field(json, field).ok_or_else(|| format!("no field {field} in {json}"))
    }

    /// [`Fixture::field`], parsed as a `usize`, `f64`, `bool` and so on.
    pub fn parse_field<T: std::str::FromStr>(&self, key: &str, field: &str) -> Result<T, String> {
        let text = self.field(key, field)?;
        text.parse().map_err(|_| format!("{key}.{field} is {text}, expected another type"))
    }
}

/// The files in `folder` whose name starts with `prefix` and ends in `.safetensors`, sorted. An error if the folder
/// cannot be read or has no such file, so that no test passes without checking anything.
pub fn list(folder: impl AsRef<Path>, prefix: &str) -> Result<Vec<PathBuf>, String> {
    let folder = folder.as_ref();
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(".safetensors") {
            paths.push(entry.path());
        }
    }
    if paths.is_empty() {
        return Err(format!("{} holds no {prefix}*.safetensors", folder.display()));
    }
    paths.sort();
    Ok(paths)
}

fn little_endian<const N: usize, T>(data: &[u8], convert: fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = data.as_chunks::<N>(); // safetensors has checked the length
    chunks.iter().map(|chunk| convert(*chunk)).collect()
}

/// A minimal JSON parser for the fixtures' metadata: one flat object whose strings hold no comma, colon or escape.
/// A JSON crate would be one more dependency for every test in the workspace.
fn flat_json_field<'a>(json: &'a str, field: &str) -> Option<&'a str> {
    let body = json.trim().strip_prefix('{')?.strip_suffix('}')?;
    body.split(',').find_map(|pair| {
        let (name, value) = pair.split_once(':')?;
        (name.trim().trim_matches('"') == field).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of eight length bytes and JSON, then the data.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn tensors_integers_and_metadata_are_read() {
        let header = r#"{"__metadata__":{"config":"{\"cell\": \"gru\", \"layers\": 2}"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"labels":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}}"#;
        let mut data = [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat();
        data.extend_from_slice(&(-7i64).to_le_bytes());
        let fixture = Fixture::parse(&file(header, &data)).unwrap();
        assert_eq!(fixture.tensor("w"), Ok(&(vec![2, 1], vec![1.5, -2.0])));
        assert_eq!(fixture.integers("labels"), Ok(&(vec![1], vec![-7])));
        assert_eq!(fixture.field("config", "cell"), Ok("gru"));
        assert_eq!(fixture.parse_field::<usize>("config", "layers"), Ok(2));
        assert!(fixture.parse_field::<usize>("config", "cell").unwrap_err().contains("gru"));
        assert!(fixture.tensor("labels").unwrap_err().contains("labels"));
        assert!(fixture.field("config", "bias").unwrap_err().contains("bias"));
        assert!(fixture.field("other", "cell").unwrap_err().contains("other"));
    }

    #[test]
    fn other_types_and_broken_files_are_errors() {
        let header = r#"{"half":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
        let error = Fixture::parse(&file(header, &[0, 0])).unwrap_err();
        assert!(error.contains("half") && error.contains("F16"), "{error}");
        assert!(Fixture::parse(b"not a safetensors file").is_err());
        assert!(Fixture::read("no/such/file").unwrap_err().contains("no/such/file"));
        assert!(list(env!("CARGO_MANIFEST_DIR"), "no_such_prefix").is_err());
    }
}
