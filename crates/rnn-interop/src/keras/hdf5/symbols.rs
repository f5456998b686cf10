//! The members of a group: a B-tree of version 1, whose leaves are symbol table nodes with names in a local heap.

use super::bytes::{Budget, Fields, from, part};

/// A symbol of this kind is a link to a path.
const SOFT_LINK: u32 = 2;
/// Bytes of a symbol: two addresses, kind, scratch.
const SYMBOL: usize = 40;

/// Names and addresses of the members, by the data of a symbol table message.
pub(super) fn read(file: &[u8], table: &[u8], budget: &mut Budget) -> Result<Vec<(String, u64)>, String> {
    let mut fields = Fields(table);
    let (Some(tree), Some(heap)) = (fields.u64(), fields.u64()) else {
        return Err("the HDF5 file is damaged: a symbol table message is too short".to_string());
    };
    let names = heap_data(file, heap).ok_or_else(|| damaged("local heap", heap))?;
    budget.spend(32)?;
    let mut members = Vec::new();
    let mut nodes = vec![(tree, None)];
    while let Some((address, level)) = nodes.pop() {
        if level == Some(0) {
            symbols(file, address, names, &mut members, budget)?;
            continue;
        }
        let (found, children) = tree_node(file, address).ok_or_else(|| damaged("B-tree node", address))?;
        if level.is_some_and(|level| level - 1 != found) {
            return Err(format!("the B-tree node at {address} has level {found}, which its parent excludes"));
        }
        budget.spend(32 + 16 * children.len())?;
        // A child of a node of level 0 is a symbol table node.
        nodes.extend(children.into_iter().rev().map(|child| (child, Some(found))));
    }
    Ok(members)
}

fn damaged(what: &str, address: u64) -> String {
    format!("the HDF5 file is damaged: the {what} at {address}")
}

fn heap_data(file: &[u8], address: u64) -> Option<&[u8]> {
    let mut fields = Fields(from(file, address)?.strip_prefix(b"HEAP\0")?);
    fields.take(3)?;
    let length = fields.u64()?;
    fields.u64()?;
    part(file, fields.u64()?, length)
}

/// The level of a node and the addresses of its children.
fn tree_node(file: &[u8], address: u64) -> Option<(u8, Vec<u64>)> {
    let mut fields = Fields(from(file, address)?.strip_prefix(b"TREE\0")?);
    let (level, count) = (fields.u8()?, fields.u16()?);
    fields.take(8 + 8)?;
    let mut child = || {
        fields.u64()?;
        fields.u64()
    };
    let children = (0..count).map(|_| child()).collect::<Option<_>>()?;
    Some((level, children))
}

/// Adds the symbols of a node to the members.
fn symbols(
    file: &[u8],
    address: u64,
    names: &[u8],
    members: &mut Vec<(String, u64)>,
    budget: &mut Budget,
) -> Result<(), String> {
    let lost = || damaged("symbol table node", address);
    let node = from(file, address).and_then(|bytes| bytes.strip_prefix(b"SNOD\x01"));
    let mut fields = Fields(node.ok_or_else(lost)?);
    fields.take(1).ok_or_else(lost)?;
    let count = fields.u16().ok_or_else(lost)?;
    budget.spend(8 + SYMBOL * usize::from(count))?;
    for _ in 0..count {
        let mut symbol = || {
            let (name, header, kind) = (fields.u64()?, fields.u64()?, fields.u32()?);
            fields.take(4 + 16)?;
            Some((text(names, name)?, header, kind))
        };
        let (name, header, kind) = symbol().ok_or_else(lost)?;
        budget.spend(name.len() + 1)?;
        if kind == SOFT_LINK {
            return Err(format!("`{name}` is a soft link, which Keras does not write"));
        }
        members.push((name.to_string(), header));
    }
    Ok(())
}

/// The text in a heap that ends with a zero.
fn text(heap: &[u8], offset: u64) -> Option<&str> {
    let bytes = from(heap, offset)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}
