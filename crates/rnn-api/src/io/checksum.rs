//! The checksum of a file's content.

use super::host_tensor::HostTensor;
use super::safetensors::bytes;
use std::collections::{BTreeMap, HashMap};

/// The name of the checksum in the metadata of a file.
pub(super) const CHECKSUM: &str = "rnn.crc32";

/// The checksum of all values, names and shapes, and of this library's metadata. It does not depend on the order of any of
/// them in the file, so another tool may write the same content.
pub(super) fn checksum(tensors: &BTreeMap<String, HostTensor>, metadata: &HashMap<String, String>) -> String {
    let mut hash = crc32fast::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let own = metadata.iter().filter(|(name, _)| name.starts_with("rnn.") && *name != CHECKSUM);
    for (name, text) in own.collect::<BTreeMap<_, _>>() {
        part(name.as_bytes());
        part(text.as_bytes());
    }
    for (name, tensor) in tensors {
        part(name.as_bytes());
        part(format!("{:?}", tensor.dims).as_bytes());
        match &tensor.values {
            Ok(values) => part(&bytes(values)),
            Err(dtype) => part(dtype.as_bytes()),
        }
    }
    format!("{:08x}", hash.finalize())
}

/// The problem with the checksum of a file, if any.
pub(super) fn checksum_problem(
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &HashMap<String, String>,
) -> Option<String> {
    let Some(stored) = metadata.get(CHECKSUM) else { return Some(missing(CHECKSUM)) };
    let found = checksum(tensors, metadata);
    (*stored != found).then(|| {
        format!(
            "the content has changed since it was saved: its checksum is {found}, `{CHECKSUM}` in the metadata says \
             {stored}"
        )
    })
}

/// The problem of a part of the metadata that is not there.
pub(super) fn missing(name: &str) -> String {
    format!("`{name}` is missing in the metadata")
}
