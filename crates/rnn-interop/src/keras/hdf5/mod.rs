//! HDF5 as h5py writes it for Keras: superblock 0, object headers of version 1, symbol tables, and data that lie in one
//! piece. The form is the "HDF5 File Format Specification Version 3.0".
//!
//! A file is untrusted. Every structure of a sound file has bytes of its own, so all of them together are no larger than
//! the file: reading stops where they are. That bounds time and memory, and ends every cycle.

mod attribute;
mod bytes;
mod dataset;
mod datatype;
mod header;
mod heap;
mod numbers;
mod symbols;

pub use self::attribute::Value;
pub use self::dataset::{Array, Dataset};

use self::bytes::{Budget, Fields};
use self::header::Message;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// A file whose groups have been read. Attributes and datasets are decoded when they are asked for.
#[derive(Debug)]
pub struct File<'a> {
    root: Group<'a>,
}

/// A group: attributes and named members.
#[derive(Debug)]
pub struct Group<'a> {
    file: &'a [u8],
    messages: Vec<Message<'a>>,
    members: BTreeMap<String, Member<'a>>,
}

#[derive(Debug)]
enum Member<'a> {
    Group(Group<'a>),
    Dataset(Dataset<'a>),
}

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Groups within groups. Keras needs about eight.
const DEPTH: usize = 64;

impl<'a> File<'a> {
    /// Whether a file may be one of HDF5, by its first bytes.
    #[must_use]
    pub fn is_hdf5(bytes: &[u8]) -> bool {
        bytes.starts_with(SIGNATURE)
    }

    /// Reads all groups.
    ///
    /// # Errors
    /// What is damaged, cut off or of a form that Keras does not write.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let root = superblock(bytes)?;
        let mut reader = Reader { file: bytes, budget: Budget::of(bytes) };
        match reader.member(root, 0)? {
            Member::Group(root) => Ok(File { root }),
            Member::Dataset(_) => Err("the root of the HDF5 file is no group".to_string()),
        }
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> usize {
        self.root.file.len()
    }

    /// The group that holds everything.
    #[must_use]
    pub fn root(&self) -> &Group<'a> {
        &self.root
    }
}

/// The address of the root's object header.
fn superblock(bytes: &[u8]) -> Result<u64, String> {
    let rest = bytes.strip_prefix(SIGNATURE).ok_or("no HDF5 file: the signature at its start is missing")?;
    let cut = || "the HDF5 file is cut off in its superblock".to_string();
    let version = *rest.first().ok_or_else(cut)?;
    if version > 1 {
        return Err(format!(
            "the HDF5 file has superblock version {version}; only 0 and 1 are read, which h5py writes without `libver`"
        ));
    }
    let mut fields = Fields(rest);
    let mut read = || {
        fields.take(5)?;
        let sizes = (fields.u8()?, fields.u8()?);
        fields.take(1 + 2 + 2 + 4 + if version == 1 { 4 } else { 0 })?;
        let base = fields.u64()?;
        fields.u64()?;
        let end = fields.u64()?;
        fields.take(8 + 8)?;
        Some((sizes, base, end, fields.u64()?))
    };
    let (sizes, base, end, root) = read().ok_or_else(cut)?;
    if sizes != (8, 8) || base != 0 {
        return Err(format!(
            "the HDF5 file must have offsets and lengths of 8 bytes and start at 0, got {sizes:?} and {base}"
        ));
    }
    if end > bytes.len() as u64 {
        return Err(format!("the HDF5 file is cut off: it has {} of {end} bytes", bytes.len()));
    }
    Ok(root)
}

struct Reader<'a> {
    file: &'a [u8],
    budget: Budget,
}

impl<'a> Reader<'a> {
    /// The group or dataset at an address.
    fn member(&mut self, address: u64, depth: usize) -> Result<Member<'a>, String> {
        if depth > DEPTH {
            return Err(format!(
                "the groups of the HDF5 file are nested more than {DEPTH} deep, or in a cycle"
            ));
        }
        let messages = header::read(self.file, address, &mut self.budget)?;
        let Some(table) = messages.iter().find(|message| message.kind == header::SYMBOL_TABLE) else {
            if messages.iter().any(|message| matches!(message.kind, header::LINK | header::LINK_INFO)) {
                return Err("the HDF5 file has groups of the newer form, without symbol tables".to_string());
            }
            return Ok(Member::Dataset(Dataset { file: self.file, messages }));
        };
        let mut members = BTreeMap::new();
        for (name, address) in symbols::read(self.file, table.data, &mut self.budget)? {
            let member = self.member(address, depth + 1)?;
            if members.insert(name.clone(), member).is_some() {
                return Err(format!("a group of the HDF5 file holds `{name}` twice"));
            }
        }
        Ok(Member::Group(Group { file: self.file, messages, members }))
    }
}

impl<'a> Group<'a> {
    /// The groups in this one by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Group<'a>)> {
        self.members.iter().filter_map(|(name, member)| match member {
            Member::Group(group) => Some((&**name, group)),
            Member::Dataset(_) => None,
        })
    }

    /// The datasets in this group by name.
    pub fn datasets(&self) -> impl Iterator<Item = (&str, &Dataset<'a>)> {
        self.members.iter().filter_map(|(name, member)| match member {
            Member::Dataset(dataset) => Some((&**name, dataset)),
            Member::Group(_) => None,
        })
    }

    /// The group at a path such as `a/b`.
    #[must_use]
    pub fn group(&self, path: &str) -> Option<&Group<'a>> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(self, |group, part| {
            match group.members.get(part)? {
                Member::Group(group) => Some(group),
                Member::Dataset(_) => None,
            }
        })
    }

    /// The dataset at a path such as `a/b`.
    #[must_use]
    pub fn dataset(&self, path: &str) -> Option<&Dataset<'a>> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.group(folder)?.members.get(name)? {
            Member::Dataset(dataset) => Some(dataset),
            Member::Group(_) => None,
        }
    }

    /// The names of the attributes.
    #[must_use]
    pub fn attributes(&self) -> Vec<String> {
        attribute::names(&self.messages)
    }

    /// The value of an attribute; `None` where there is none of this name.
    ///
    /// # Errors
    /// The attribute is damaged, or neither text nor number.
    pub fn attribute(&self, name: &str) -> Result<Option<Value>, String> {
        attribute::read(self.file, &self.messages, name)
    }
}
