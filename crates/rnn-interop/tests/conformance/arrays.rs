//! Recorded arrays: NumPy's `.npz` and `.npy`, and tensors of ONNX in `.pb` files, read without the crate under test.

use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// An array in host memory. Numbers of every type fit f64 here.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<f64>,
    pub(crate) integers: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The entries of a zip file by name.
pub(crate) fn zip(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let end = bytes.windows(4).rposition(|part| part == b"PK\x05\x06").unwrap();
    let (count, mut at) = (u16_at(&bytes, end + 10), u32_at(&bytes, end + 16));
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let (method, packed, local) =
            (u16_at(&bytes, at + 10), u32_at(&bytes, at + 20), u32_at(&bytes, at + 42));
        let [name, extra, comment] = [28, 30, 32].map(|field| u16_at(&bytes, at + field));
        let text = String::from_utf8(bytes[at + 46..at + 46 + name].to_vec()).unwrap();
        let data = local + 30 + u16_at(&bytes, local + 26) + u16_at(&bytes, local + 28);
        let data = &bytes[data..data + packed];
        let mut whole = Vec::new();
        match method {
            0 => whole.extend_from_slice(data),
            _ => drop(DeflateDecoder::new(data).read_to_end(&mut whole).unwrap()),
        }
        entries.insert(text, whole);
        at += 46 + name + extra + comment;
    }
    entries
}

/// The arrays of an `.npz` file by name.
pub(crate) fn npz(path: &Path) -> BTreeMap<String, Array> {
    let array = |(name, bytes): (String, Vec<u8>)| (name.trim_end_matches(".npy").to_string(), npy(&bytes));
    zip(path).into_iter().map(array).collect()
}

fn npy(bytes: &[u8]) -> Array {
    assert_eq!(&bytes[..7], b"\x93NUMPY\x01");
    let data = 10 + u16_at(bytes, 8);
    let header = std::str::from_utf8(&bytes[10..data]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let after = |key: &str| header.split(&format!("'{key}': ")).nth(1).unwrap();
    let kind = after("descr").split('\'').nth(1).unwrap();
    let shape = after("shape").trim_start_matches('(').split(')').next().unwrap();
    let dims =
        shape.split(',').map(str::trim).filter(|size| !size.is_empty()).map(|size| size.parse().unwrap());
    Array { dims: dims.collect(), values: values(kind, &bytes[data..]), integers: !kind.contains('f') }
}

fn values(kind: &str, data: &[u8]) -> Vec<f64> {
    fn each<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks().0.iter().map(|bytes| read(*bytes)).collect()
    }
    match kind {
        "<f8" => each(data, f64::from_le_bytes),
        "<f4" => each(data, |bytes| f32::from_le_bytes(bytes).into()),
        "<f2" => each(data, |bytes| half::f16::from_le_bytes(bytes).to_f64()),
        "<i8" => each(data, |bytes| i64::from_le_bytes(bytes) as f64),
        "<i4" => each(data, |bytes| i32::from_le_bytes(bytes).into()),
        "|b1" | "|u1" => each(data, |[byte]| byte.into()),
        _ => panic!("type {kind}"),
    }
}

/// A `TensorProto` and its name.
pub(crate) fn pb(path: &Path) -> (String, Array) {
    let bytes = std::fs::read(path).unwrap();
    let (mut dims, mut kind, mut name, mut raw) = (Vec::new(), 0, String::new(), Vec::new());
    let (mut singles, mut longs) = (Vec::new(), Vec::new());
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        match (tag >> 3, tag & 7) {
            (1, 0) => dims.push(varint(&mut rest) as usize),
            (2, 0) => kind = varint(&mut rest),
            (field, 2) => {
                let length = varint(&mut rest) as usize;
                let (mut part, after) = rest.split_at(length);
                rest = after;
                match field {
                    1 => {
                        while !part.is_empty() {
                            dims.push(varint(&mut part) as usize)
                        }
                    }
                    4 => singles = values("<f4", part),
                    5 | 7 => {
                        while !part.is_empty() {
                            longs.push(varint(&mut part) as i64 as f64)
                        }
                    }
                    8 => name = String::from_utf8(part.to_vec()).unwrap(),
                    9 => raw = part.to_vec(),
                    _ => {}
                }
            }
            other => panic!("field {other:?}"),
        }
    }
    let types = [(1, "<f4"), (6, "<i4"), (7, "<i8"), (11, "<f8")];
    let (_, text) = types.iter().find(|(number, _)| *number == kind).unwrap();
    let found = if raw.is_empty() { [singles, longs].concat() } else { values(text, &raw) };
    (name, Array { dims, values: found, integers: text.contains('i') })
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for n in 0.. {
        let byte = rest[0];
        *rest = &rest[1..];
        value |= u64::from(byte & 127) << (7 * n);
        if byte < 128 {
            break;
        }
    }
    value
}
