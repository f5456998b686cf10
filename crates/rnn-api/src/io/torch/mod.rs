//! Files of `torch.save` (.pt, .pth): state dicts, checkpoints that hold them, and pickled modules, whose tensors are read as
//! data. The forms are PyTorch's `torch/serialization.py`: a zip archive since 1.6, a sequence of pickles before.

mod legacy;
mod names;
mod pickle;
mod view;

use self::names::named;
use self::pickle::{Arena, TensorData};
use self::view::Memory;
use super::archive::{Archive, first_name};
use super::host_tensor::HostTensor;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Whether a file may be one of `torch.save`, by its first bytes.
pub(super) fn is_torch(bytes: &[u8]) -> bool {
    let first = || first_name(bytes).is_some_and(|name| name.ends_with(b"data.pkl"));
    let any = || Archive::read(bytes).is_ok_and(|archive| root(&archive).is_ok());
    legacy::is_legacy(bytes) || Archive::is_zip(bytes) && (first() || any())
}

/// The tensors of a file.
///
/// # Errors
/// What is damaged, or refused, in words.
pub(super) fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, HostTensor>, String> {
    if legacy::is_legacy(bytes) { legacy::tensors(bytes) } else { of_archive(bytes) }
}

fn of_archive(bytes: &[u8]) -> Result<BTreeMap<String, HostTensor>, String> {
    let archive = Archive::read(bytes)?;
    let root = root(&archive)?;
    let entry = |name: &str| {
        let name = format!("{root}{name}");
        match archive.get(&name)? {
            Some(Cow::Borrowed(bytes)) => Ok(bytes),
            Some(Cow::Owned(_)) => {
                Err(format!("entry `{name}` is compressed; torch.save stores entries as they are"))
            }
            None => Err(format!("the archive has no entry `{name}`")),
        }
    };
    // Absent before PyTorch 2.0, which wrote the machine's order.
    let big_endian = entry("byteorder").is_ok_and(|order| order == b"big");
    let mut arena = Arena::default();
    let (value, _) = pickle::read(entry("data.pkl")?, &mut arena)?;
    let named = named(&arena, value)?;
    let mut storages = HashMap::new();
    for TensorData { storage, .. } in named.values() {
        if !storages.contains_key(&storage.key) {
            storages.insert(storage.key.clone(), entry(&format!("data/{}", storage.key))?);
        }
    }
    Memory { storages, big_endian, file: bytes.len() }.tensors(named)
}

/// The folder of `data.pkl`, with the slash after it.
fn root<'a>(archive: &Archive<'a>) -> Result<&'a str, String> {
    let mut roots = archive.names().filter_map(|name| name.strip_suffix("data.pkl"));
    match (roots.next(), roots.next()) {
        (Some(root), None) if root.matches('/').count() <= 1 => Ok(root),
        (None, _) => Err("a zip archive without data.pkl is no file of torch.save".to_string()),
        _ => Err("the archive must hold one `NAME/data.pkl`".to_string()),
    }
}

#[cfg(test)]
mod tests;
