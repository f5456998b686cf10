//! Zip archives as Keras 3 writes its `.keras` files: entries that are stored or deflated (PKWARE's APPNOTE 6.3, sections
//! 4.3 to 4.5).

use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

/// The entries of an archive by name.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<&'a str, Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    data: &'a [u8],
    deflated: bool,
    size: u64,
    crc: u32,
}

const END: &[u8] = b"PK\x05\x06";
const LISTED: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// The longest comment after the end record.
const COMMENT: usize = 0xffff;
/// Unpacked, an entry has at most this many bytes, and [`FACTOR`] times those of the archive.
const ALLOWED: u64 = 64 << 20;
/// Weights hardly shrink: Keras stores them as they are.
const FACTOR: u64 = 16;

impl<'a> Archive<'a> {
    /// Whether a file may be an archive, by its first bytes.
    #[must_use]
    pub fn is_zip(bytes: &[u8]) -> bool {
        bytes.starts_with(LOCAL)
    }

    /// Reads the directory and checks that every entry lies in the file.
    ///
    /// # Errors
    /// The archive is damaged, cut off or encrypted.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (count, start) = directory(bytes).ok_or("the zip archive has no end: it is cut off")?;
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

    /// The bytes of an entry, whose checksum is right.
    ///
    /// # Errors
    /// There is no such entry, it is damaged, or it unpacks to far more than an archive of this size should hold.
    pub fn get(&self, name: &str) -> Result<Cow<'a, [u8]>, String> {
        let entry = self.entries.get(name).ok_or_else(|| format!("the archive has no entry `{name}`"))?;
        let limit = ALLOWED.saturating_add(FACTOR.saturating_mul(self.bytes.len() as u64));
        if entry.size > limit {
            let size = entry.size;
            return Err(format!(
                "entry `{name}` unpacks to {size} bytes, more than the {limit} allowed here"
            ));
        }
        let data =
            if entry.deflated { Cow::Owned(inflated(name, entry)?) } else { Cow::Borrowed(entry.data) };
        let mut crc = Crc::new();
        crc.update(&data);
        match data.len() as u64 == entry.size && crc.sum() == entry.crc {
            true => Ok(data),
            false => Err(format!("entry `{name}` is damaged: its size or checksum is wrong")),
        }
    }
}

/// Unpacks no more than one byte beyond the size in the directory.
fn inflated(name: &str, entry: &Entry) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    let read = DeflateDecoder::new(entry.data).take(entry.size.saturating_add(1)).read_to_end(&mut data);
    read.map_err(|error| format!("entry `{name}` is damaged: {error}"))?;
    Ok(data)
}

/// The number of entries, and where their list starts. Archives beyond 4 GiB are not read.
fn directory(bytes: &[u8]) -> Option<(u16, usize)> {
    let from = bytes.len().saturating_sub(END.len() + 18 + COMMENT);
    let tail = &bytes[from..];
    let end = tail.windows(END.len()).rposition(|part| part == END)?;
    let mut fields = Fields(&tail[end + END.len()..]);
    fields.take(6)?;
    let count = fields.u16()?;
    fields.u32()?;
    let start = usize::try_from(fields.u32()?).ok()?;
    let comment = fields.u16()?;
    fields.take(comment.into())?;
    Some((count, start))
}

/// The next entry of the directory; `None` where it is cut off.
fn listed<'a>(bytes: &'a [u8], rest: &mut Fields<'a>) -> Option<Result<(&'a str, Entry<'a>), String>> {
    rest.0 = rest.0.strip_prefix(LISTED)?;
    rest.take(4)?;
    let (flags, method) = (rest.u16()?, rest.u16()?);
    rest.take(4)?;
    let (crc, packed, size) = (rest.u32()?, rest.u32()?, u64::from(rest.u32()?));
    let [name, extra, comment] = [rest.u16()?, rest.u16()?, rest.u16()?].map(usize::from);
    rest.take(8)?;
    let offset = rest.u32()?;
    let name = std::str::from_utf8(rest.take(name)?).ok()?;
    rest.take(extra + comment)?;
    if flags & 1 != 0 || !matches!(method, 0 | 8) {
        return Some(Err(format!(
            "entry `{name}` is encrypted or packed by method {method}; 0 and 8 are read"
        )));
    }
    if [packed, offset].contains(&u32::MAX) {
        return Some(Err(format!("entry `{name}` has the 64-bit form, which is not supported")));
    }
    let data = data(bytes, offset, packed)?;
    Some(Ok((name, Entry { data, deflated: method == 8, size, crc })))
}

/// The data of an entry, behind its local header.
fn data(bytes: &[u8], offset: u32, packed: u32) -> Option<&[u8]> {
    let mut fields = Fields(bytes.get(usize::try_from(offset).ok()?..)?.strip_prefix(LOCAL)?);
    fields.take(22)?;
    let (name, extra) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
    fields.take(name + extra)?;
    fields.take(usize::try_from(packed).ok()?)
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
