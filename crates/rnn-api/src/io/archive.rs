//! Zip archives in memory (PKWARE's APPNOTE 6.3, sections 4.3 to 4.5), which several systems write models as: entries are
//! stored or deflated, and only the directory at the end of the file is sure to know their sizes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The entries of a zip archive by name. Nothing is unpacked before it is asked for.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<&'a str, Entry>,
}

#[derive(Debug)]
struct Entry {
    data: Range<usize>,
    method: Method,
    size: u64,
    crc: u32,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Stored,
    Deflated,
    Other(u16),
    Encrypted,
}

const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const LISTED: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// The longest comment after the end record.
const COMMENT: usize = 0xffff;

impl<'a> Archive<'a> {
    /// Whether a file may be an archive, by its first bytes.
    #[must_use]
    pub fn is_zip(bytes: &[u8]) -> bool {
        bytes.starts_with(LOCAL)
    }

    /// Reads the directory and checks that every entry lies in the file.
    ///
    /// # Errors
    /// In words: the archive is damaged or cut off, or names an entry twice.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (count, start) = directory(bytes)?;
        let mut entries = HashMap::new();
        let mut rest = Fields(bytes.get(start..).ok_or("the archive's directory lies outside the file")?);
        for n in 0..count {
            let (name, entry) = listed(bytes, &mut rest).ok_or_else(|| {
                format!("entry {n} of {count} in the archive's directory is cut off or damaged")
            })?;
            if entries.insert(name, entry).is_some() {
                return Err(format!("the archive holds `{name}` twice"));
            }
        }
        Ok(Archive { bytes, entries })
    }

    /// The names of all entries, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    /// The bytes of an entry, whose size and checksum are right; `None` if there is no such entry. A checksum of zero says
    /// that the writer computed none.
    ///
    /// # Errors
    /// In words: the entry is damaged, encrypted or packed in another way, or it unpacks to far more than an archive of this
    /// size should hold. Deflated entries need the feature `gzip`.
    pub fn get(&self, name: &str) -> Result<Option<Cow<'a, [u8]>>, String> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let packed = &self.bytes[entry.data.clone()];
        let data = match entry.method {
            Method::Stored => Cow::Borrowed(packed),
            Method::Deflated => Cow::Owned(self.inflated(name, packed, entry.size)?),
            Method::Other(method) => {
                return Err(format!("entry `{name}` is packed by method {method}; 0 and 8 are read"));
            }
            Method::Encrypted => return Err(format!("entry `{name}` is encrypted")),
        };
        let whole = || entry.crc == 0 || crc32fast::hash(&data) == entry.crc;
        match data.len() as u64 == entry.size && whole() {
            true => Ok(Some(data)),
            false => Err(format!(
                "entry `{name}` is damaged: its size or checksum is not that of the {} bytes that the directory names",
                entry.size
            )),
        }
    }

    /// Unpacks no more than one byte beyond the size in the directory. An entry may have 64 MiB, and 64 times the bytes of the
    /// archive: weights hardly shrink, but the zeros of an optimizer's state do.
    #[cfg(feature = "gzip")]
    fn inflated(&self, name: &str, packed: &[u8], size: u64) -> Result<Vec<u8>, String> {
        use std::io::Read;
        let held = self.bytes.len();
        let limit = (held as u64).saturating_mul(64).saturating_add(64 << 20);
        if size > limit {
            return Err(format!(
                "entry `{name}` unpacks to {size} bytes, more than the {limit} that an archive of {held} may hold: too many"
            ));
        }
        let mut data = Vec::new();
        let read = flate2::read::DeflateDecoder::new(packed).take(size + 1).read_to_end(&mut data);
        read.map_err(|why| format!("entry `{name}` is damaged: {why}"))?;
        Ok(data)
    }

    #[cfg(not(feature = "gzip"))]
    fn inflated(&self, name: &str, _: &[u8], _: u64) -> Result<Vec<u8>, String> {
        Err(format!("entry `{name}` is deflated; the feature `gzip` reads such entries"))
    }
}

/// The number of entries, and where their list starts.
fn directory(bytes: &[u8]) -> Result<(u64, usize), String> {
    let cut = || "no zip archive, or one that is cut off: it has no end record".to_string();
    let from = bytes.len().saturating_sub(END.len() + 18 + COMMENT);
    let tail = &bytes[from..];
    let end = from + tail.windows(END.len()).rposition(|part| part == END).ok_or_else(cut)?;
    let mut fields = Fields(&bytes[end + END.len()..]);
    let mut record = || {
        fields.take(6)?;
        let (count, _, start) = (u64::from(fields.u16()?), fields.u32()?, fields.u32()?);
        let comment = usize::from(fields.u16()?);
        fields.take(comment)?;
        Some((count, start))
    };
    let (count, start) = record().ok_or_else(cut)?;
    let locator = end.checked_sub(20).filter(|&at| bytes[at..].starts_with(LOCATOR_64));
    let Some(locator) = locator else { return Ok((count, start as usize)) };
    directory_64(bytes, locator).ok_or_else(cut)
}

/// As [`directory`], of archives beyond 4 GiB or 65,535 entries.
fn directory_64(bytes: &[u8], locator: usize) -> Option<(u64, usize)> {
    let mut fields = Fields(bytes.get(locator + 8..)?);
    let record = usize::try_from(fields.u64()?).ok()?;
    let mut fields = Fields(bytes.get(record..)?.strip_prefix(END_64)?);
    fields.take(8 + 2 + 2 + 4 + 4 + 8)?;
    let count = fields.u64()?;
    fields.u64()?;
    Some((count, usize::try_from(fields.u64()?).ok()?))
}

/// The next entry of the directory; `None` where it is cut off.
fn listed<'a>(bytes: &'a [u8], rest: &mut Fields<'a>) -> Option<(&'a str, Entry)> {
    rest.0 = rest.0.strip_prefix(LISTED)?;
    rest.take(4)?;
    let (flags, method) = (rest.u16()?, rest.u16()?);
    rest.take(4)?;
    let crc = rest.u32()?;
    let (packed, size) = (u64::from(rest.u32()?), u64::from(rest.u32()?));
    let [name, extra, comment] = [rest.u16()?, rest.u16()?, rest.u16()?].map(usize::from);
    rest.take(8)?;
    let offset = u64::from(rest.u32()?);
    let (name, extra) = (rest.take(name)?, rest.take(extra)?);
    rest.take(comment)?;
    let name = std::str::from_utf8(name).ok()?;
    let [size, packed, offset] = widened([size, packed, offset], extra)?;
    let method = match (flags & 1 != 0, method) {
        (true, _) => Method::Encrypted,
        (false, 0) => Method::Stored,
        (false, 8) => Method::Deflated,
        (false, other) => Method::Other(other),
    };
    let data = data(bytes, offset, packed)?;
    Some((name, Entry { data, method, size, crc }))
}

/// Sizes and offset; the 64-bit ones of the extra field 1 where the short ones are full.
fn widened(short: [u64; 3], extra: &[u8]) -> Option<[u64; 3]> {
    const FULL: u64 = 0xffff_ffff;
    if !short.contains(&FULL) {
        return Some(short);
    }
    let mut fields = Fields(extra);
    loop {
        let (kind, length) = (fields.u16()?, usize::from(fields.u16()?));
        let mut value = Fields(fields.take(length)?);
        if kind == 1 {
            let mut long = short;
            for size in long.iter_mut().filter(|size| **size == FULL) {
                *size = value.u64()?;
            }
            return Some(long);
        }
    }
}

/// Where the data of an entry lies, behind its local header.
fn data(bytes: &[u8], offset: u64, packed: u64) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let mut fields = Fields(bytes.get(start..)?.strip_prefix(LOCAL)?);
    fields.take(22)?;
    let (name, extra) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
    let from = start.checked_add(30 + name + extra)?;
    let to = from.checked_add(usize::try_from(packed).ok()?)?;
    (to <= bytes.len()).then_some(from..to)
}

/// The name in the first local header. The directory may be cut off.
pub(super) fn first_name(bytes: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(bytes.strip_prefix(LOCAL)?);
    fields.take(22)?;
    let length = usize::from(fields.u16()?);
    fields.take(2)?;
    fields.take(length)
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

    fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }
}
