//! Zip archives as Java writes them: entries are stored or deflated, and only the directory at the end of the file is sure to
//! know their sizes (PKWARE's APPNOTE 6.3, sections 4.3 to 4.5).

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;

/// The entries of an archive by name.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<&'a str, Entry>,
}

struct Entry {
    data: Range<usize>,
    deflated: bool,
    size: u64,
    crc: u32,
}

const END: &[u8] = b"PK\x05\x06";
const LISTED: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// The longest comment after the end record.
const COMMENT: usize = 0xffff;
/// Bytes that an entry may have in an archive of any size.
const ALWAYS: u64 = 1 << 26;
/// How many times larger than the archive an entry may be beyond them. Weights hardly shrink; an updater's zeros do.
const RATIO: u64 = 64;

impl<'a> Archive<'a> {
    /// Reads the directory and checks that every entry lies in the file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (count, start) = directory(bytes)?;
        let mut entries = HashMap::new();
        let mut rest = Fields(bytes.get(start..).ok_or("the archive's directory lies outside the file")?);
        for n in 0..count {
            let (name, entry) = listed(bytes, &mut rest).ok_or_else(|| {
                format!("entry {n} of {count} in the archive's directory is cut off or damaged")
            })??;
            if entries.insert(name, entry).is_some() {
                return Err(format!("the archive holds `{name}` twice"));
            }
        }
        Ok(Archive { bytes, entries })
    }

    /// The bytes of an entry, whose size and checksum are right; `None` if there is no such entry.
    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let limit = (self.bytes.len() as u64).saturating_mul(RATIO).saturating_add(ALWAYS);
        if entry.size > limit {
            let held = self.bytes.len();
            return Err(format!("entry `{name}` has {} bytes in an archive of {held}: too many", entry.size));
        }
        let data =
            entry.unpacked(&self.bytes[entry.data.clone()]).map_err(|why| format!("entry `{name}` {why}"))?;
        match crc32fast::hash(&data) == entry.crc {
            true => Ok(Some(data)),
            false => Err(format!("entry `{name}` is damaged: its checksum is wrong")),
        }
    }
}

impl Entry {
    /// At most one byte more than the size in the directory is unpacked.
    fn unpacked(&self, packed: &[u8]) -> Result<Vec<u8>, String> {
        let mut data = Vec::new();
        let read = match self.deflated {
            true => flate2::read::DeflateDecoder::new(packed).take(self.size + 1).read_to_end(&mut data),
            false => packed.take(self.size + 1).read_to_end(&mut data),
        };
        read.map_err(|why| format!("cannot be unpacked: {why}"))?;
        match data.len() as u64 == self.size {
            true => Ok(data),
            false => Err(format!("does not have the {} bytes that the directory names", self.size)),
        }
    }
}

/// The number of entries, and where their list starts.
fn directory(bytes: &[u8]) -> Result<(u16, usize), String> {
    let cut = || "no zip archive, or one that is cut off: it has no end record".to_string();
    let from = bytes.len().saturating_sub(END.len() + 18 + COMMENT);
    let tail = &bytes[from..];
    let end = from + tail.windows(END.len()).rposition(|part| part == END).ok_or_else(cut)?;
    let mut fields = Fields(&bytes[end + END.len()..]);
    let mut record = || {
        fields.take(6)?;
        let (count, _, start) = (fields.u16()?, fields.u32()?, fields.u32()?);
        let comment = usize::from(fields.u16()?);
        fields.take(comment)?;
        Some((count, start))
    };
    let (count, start) = record().ok_or_else(cut)?;
    Ok((count, start as usize))
}

/// The next entry of the directory; `None` where it is cut off.
fn listed<'a>(bytes: &'a [u8], rest: &mut Fields<'a>) -> Option<Result<(&'a str, Entry), String>> {
    rest.0 = rest.0.strip_prefix(LISTED)?;
    rest.take(4)?;
    let (flags, method) = (rest.u16()?, rest.u16()?);
    rest.take(4)?;
    let (crc, packed, size) = (rest.u32()?, rest.u32()?, rest.u32()?);
    let [name, extra, comment] = [rest.u16()?, rest.u16()?, rest.u16()?].map(usize::from);
    rest.take(8)?;
    let offset = rest.u32()?;
    let name = std::str::from_utf8(rest.take(name)?).ok()?;
    rest.take(extra)?;
    rest.take(comment)?;
    if flags & 1 != 0 || !matches!(method, 0 | 8) {
        return Some(Err(format!("entry `{name}` is encrypted, or packed by method {method}: not 0 or 8")));
    }
    if [packed, size, offset].contains(&u32::MAX) {
        return Some(Err(format!("entry `{name}` is beyond 4 GiB; such archives are not read")));
    }
    let data = data(bytes, offset, packed)?;
    Some(Ok((name, Entry { data, deflated: method == 8, size: u64::from(size), crc })))
}

/// Where the data of an entry lies, behind its local header.
fn data(bytes: &[u8], offset: u32, packed: u32) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let mut fields = Fields(bytes.get(start..)?.strip_prefix(LOCAL)?);
    fields.take(22)?;
    let (name, extra) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
    let from = start.checked_add(30 + name + extra)?;
    let to = from.checked_add(usize::try_from(packed).ok()?)?;
    (to <= bytes.len()).then_some(from..to)
}

/// Little-endian fields, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.number().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }
}
