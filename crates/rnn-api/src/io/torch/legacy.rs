//! Files of `torch.save` before PyTorch 1.6, or with `_use_new_zipfile_serialization=False`: five pickles (a magic number,
//! the protocol, the machine, the object, the keys of the storages), then each storage with its length before it.

use super::names::named;
use super::pickle::{self, Arena, Id, Value};
use super::view::{Memory, element};
use crate::io::host_tensor::HostTensor;
use std::collections::{BTreeMap, HashMap};

/// The first pickle: the number 0x1950a86a20f9469cfc6c after `PROTO 2`.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(super) fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, HostTensor>, String> {
    let mut arena = Arena::default();
    let mut rest = bytes;
    let mut ids: [Id; 5] = [0; 5];
    for id in &mut ids {
        (*id, rest) = pickle::read(rest, &mut arena)?;
    }
    let [_, _, machine, object, keys] = ids;
    let little_endian = arena.field(machine, "little_endian").map(|id| arena.get(id));
    let big_endian = matches!(little_endian, Some(Value::Bool(false)));
    let storages = storages(&arena, keys, rest, big_endian)?;
    Memory { storages, big_endian, file: bytes.len() }.tensors(named(&arena, object)?)
}

fn storages<'a>(
    arena: &Arena,
    keys: Id,
    mut rest: &'a [u8],
    big_endian: bool,
) -> Result<HashMap<String, &'a [u8]>, String> {
    let sizes: HashMap<&str, usize> = (0..arena.len())
        .filter_map(|id| match arena.get(id) {
            Value::Storage(storage) => Some((&*storage.key, element(&storage.kind)?.size())),
            _ => None,
        })
        .collect();
    let mut storages = HashMap::new();
    for &key in arena.list(keys).ok_or("the list of storages is damaged")? {
        let key = arena.text(key).ok_or("the list of storages is damaged")?;
        let size = sizes.get(key).ok_or_else(|| format!("storage `{key}` has an unknown element type"))?;
        let mut take = || {
            let (length, after) = rest.split_first_chunk()?;
            let length = if big_endian { u64::from_be_bytes(*length) } else { u64::from_le_bytes(*length) };
            let bytes = usize::try_from(length).ok()?.checked_mul(*size)?;
            let (data, after) = after.split_at_checked(bytes)?;
            rest = after;
            Some(data)
        };
        let data = take().ok_or_else(|| format!("the file is cut off in storage `{key}`"))?;
        storages.insert(key.to_string(), data);
    }
    Ok(storages)
}
