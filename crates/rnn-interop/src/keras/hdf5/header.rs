//! Object headers of version 1: messages that say what a group or dataset is.

use super::bytes::{Budget, Fields, part};

/// One message of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u8,
    pub(super) data: &'a [u8],
}

pub(super) const DATASPACE: u16 = 0x01;
pub(super) const LINK_INFO: u16 = 0x02;
pub(super) const DATATYPE: u16 = 0x03;
pub(super) const LINK: u16 = 0x06;
pub(super) const EXTERNAL: u16 = 0x07;
pub(super) const LAYOUT: u16 = 0x08;
pub(super) const FILTERS: u16 = 0x0b;
pub(super) const ATTRIBUTE: u16 = 0x0c;
const CONTINUATION: u16 = 0x10;
pub(super) const SYMBOL_TABLE: u16 = 0x11;

impl Message<'_> {
    /// Whether the message lies elsewhere, and this is only its address.
    pub(super) fn is_shared(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// The messages of the header at an address.
pub(super) fn read<'a>(
    file: &'a [u8],
    address: u64,
    budget: &mut Budget,
) -> Result<Vec<Message<'a>>, String> {
    let damaged = || format!("the HDF5 file is damaged: the object header at {address}");
    let mut prefix = Fields(part(file, address, 16).ok_or_else(damaged)?);
    let version = prefix.u8().ok_or_else(damaged)?;
    if version != 1 {
        return Err(format!("the object header at {address} must have version 1, got {version}"));
    }
    let mut first = || {
        prefix.u8()?;
        let count = prefix.u16()?;
        prefix.u32()?;
        Some((count, part(file, address.checked_add(16)?, prefix.u32()?.into())?))
    };
    let (count, block) = first().ok_or_else(damaged)?;
    budget.spend(16 + block.len())?;
    let (mut messages, mut blocks) = (Vec::new(), vec![block]);
    while let Some(block) = blocks.pop() {
        let mut fields = Fields(block);
        while fields.0.len() >= 8 && messages.len() < usize::from(count) {
            let message = message(&mut fields).ok_or_else(damaged)?;
            messages.push(message);
            if message.kind == CONTINUATION {
                let block = continued(file, message.data).ok_or_else(damaged)?;
                budget.spend(block.len())?;
                blocks.push(block);
            }
        }
    }
    match messages.len() == usize::from(count) {
        true => Ok(messages),
        false => Err(format!("the object header at {address} has {} of {count} messages", messages.len())),
    }
}

fn message<'a>(fields: &mut Fields<'a>) -> Option<Message<'a>> {
    let (kind, length, flags) = (fields.u16()?, fields.u16()?, fields.u8()?);
    fields.take(3)?;
    Some(Message { kind, flags, data: fields.take(length.into())? })
}

/// The block that a continuation message points to.
fn continued<'a>(file: &'a [u8], data: &[u8]) -> Option<&'a [u8]> {
    let mut fields = Fields(data);
    part(file, fields.u64()?, fields.u64()?)
}
