//! Zip archives for tests of readers (PKWARE's APPNOTE 6.3, section 4.3).

use flate2::{Compression, write::DeflateEncoder};
use std::io::Write;

/// An archive whose sizes stand in the directory alone, as torch and Java write it. Entries are stored, or deflated; a
/// stored one has three bytes of padding in its local header.
///
/// # Panics
/// A name of more than 65,535 bytes, or an archive of more than 4 GiB.
pub fn zip(entries: &[(&str, &[u8])], deflated: bool) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let (method, padding) = if deflated { ([8, 0], &[][..]) } else { ([0, 0], &b"FB\0"[..]) };
    let short = |number: usize| u16::try_from(number).expect("below 65,536").to_le_bytes();
    let long = |number: usize| u32::try_from(number).expect("below 4 GiB").to_le_bytes();
    for (name, data) in entries {
        let packed = if deflated { deflate(data) } else { data.to_vec() };
        let offset = file.len();
        // Version, flags (sizes follow the data), method, time and date; checksum and sizes of zero.
        file.extend([&b"PK\x03\x04\x14\0\x08\x08"[..], &method, &[0; 4], &[0; 12]].concat());
        file.extend([short(name.len()), short(padding.len())].concat());
        file.extend([name.as_bytes(), padding, &packed].concat());
        directory.extend([&b"PK\x01\x02\x14\0\x14\0\x08\x08"[..], &method, &[0; 4]].concat());
        directory.extend(crc32fast::hash(data).to_le_bytes());
        directory.extend([long(packed.len()), long(data.len())].concat());
        // No extra field and no comment; disk and attributes of zero.
        directory.extend([&short(name.len())[..], &[0; 12], &long(offset), name.as_bytes()].concat());
    }
    let (start, count) = (file.len(), short(entries.len()));
    file.extend(&directory);
    file.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &long(directory.len()), &long(start)].concat());
    file.extend([0; 2]);
    file
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(data).expect("memory takes all");
    packer.finish().expect("memory takes all")
}
