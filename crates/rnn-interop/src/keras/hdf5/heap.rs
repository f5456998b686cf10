//! Global heaps: where the texts of variable length lie.

use super::bytes::{Budget, Fields, from, part};
use std::collections::HashMap;

/// The collections that have been read, by address.
pub(super) struct Heap<'a> {
    file: &'a [u8],
    collections: HashMap<u64, HashMap<u32, &'a [u8]>>,
    budget: Budget,
    /// For what is copied out.
    copied: Budget,
}

impl<'a> Heap<'a> {
    pub(super) fn of(file: &'a [u8]) -> Self {
        Heap { file, collections: HashMap::new(), budget: Budget::of(file), copied: Budget::of(file) }
    }

    /// The bytes of a reference: length, address, index.
    pub(super) fn get(&mut self, reference: &[u8]) -> Result<&'a [u8], String> {
        let mut fields = Fields(reference);
        let (Some(length), Some(address), Some(index)) = (fields.u32(), fields.u64(), fields.u32()) else {
            return Err("the HDF5 file is damaged: a text of variable length has no address".to_string());
        };
        if length == 0 {
            return Ok(&[]);
        }
        if !self.collections.contains_key(&address) {
            let collection = collection(self.file, address, &mut self.budget)?;
            self.collections.insert(address, collection);
        }
        let object = self.collections.get(&address).and_then(|collection| collection.get(&index));
        let bytes = object.and_then(|object| object.get(..usize::try_from(length).ok()?));
        let bytes = bytes.ok_or_else(|| {
            format!("the HDF5 file is damaged: no {length} bytes at {index} of the global heap at {address}")
        })?;
        self.copied.spend(bytes.len())?;
        Ok(bytes)
    }
}

/// The objects of a collection by index.
fn collection<'a>(
    file: &'a [u8],
    address: u64,
    budget: &mut Budget,
) -> Result<HashMap<u32, &'a [u8]>, String> {
    let damaged = || format!("the HDF5 file is damaged: the global heap at {address}");
    let sized = || {
        let mut fields = Fields(from(file, address)?.strip_prefix(b"GCOL\x01")?);
        fields.take(3)?;
        part(file, address, fields.u64()?)?.get(16..)
    };
    let mut fields = Fields(sized().ok_or_else(damaged)?);
    budget.spend(16 + fields.0.len())?;
    let mut objects = HashMap::new();
    while fields.0.len() >= 16 {
        let (index, object) = object(&mut fields).ok_or_else(damaged)?;
        // What follows is free.
        if index == 0 {
            break;
        }
        objects.insert(index.into(), object);
    }
    Ok(objects)
}

fn object<'a>(fields: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let index = fields.u16()?;
    fields.take(2 + 4)?;
    let length = usize::try_from(fields.u64()?).ok()?;
    if index == 0 {
        return Some((0, &[]));
    }
    let padded = fields.take(length.checked_next_multiple_of(8)?)?;
    Some((index, &padded[..length]))
}
