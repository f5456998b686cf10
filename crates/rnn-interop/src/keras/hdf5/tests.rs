//! Files written by hand: types that Keras seldom writes, and what is hostile. Files of Keras are in `keras/tests.rs`.

use super::{File, Value};

fn le(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}

fn message(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(8), 0);
    [&kind.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), &[0; 4], &data].concat()
}

/// An object header of version 1.
fn header(messages: &[Vec<u8>]) -> Vec<u8> {
    let data = messages.concat();
    let count = (messages.len() as u16).to_le_bytes();
    [&[1, 0][..], &count, &[1, 0, 0, 0], &(data.len() as u32).to_le_bytes(), &[0; 4], &data].concat()
}

/// Where the parts of [`file`] lie.
const ROOT: u64 = 96;
const TREE: u64 = 136;
const NODE: u64 = 184;
const HEAP: u64 = 232;
const MEMBER: u64 = 280;

/// A file with one member `a`, whose header is given, and bytes after it.
fn file(member: &[u8], rest: &[u8]) -> Vec<u8> {
    let end = MEMBER + (member.len() + rest.len()) as u64;
    let start =
        [&b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0"[..], &le(0), &le(u64::MAX)].concat();
    let entry = [&le(0)[..], &le(ROOT), &[0; 24]].concat();
    let root = header(&[message(0x11, &[le(TREE), le(HEAP)].concat())]);
    let tree = [&b"TREE\0\0\x01\0"[..], &le(u64::MAX), &le(u64::MAX), &le(0), &le(NODE), &le(0)].concat();
    let node = [&b"SNOD\x01\0\x01\0"[..], &le(0), &le(MEMBER), &[0; 24]].concat();
    let heap = [&b"HEAP\0\0\0\0"[..], &le(16), &le(1), &le(HEAP + 32), b"a\0", &[0; 14]].concat();
    [&start[..], &le(end), &le(u64::MAX), &entry, &root, &tree, &node, &heap, member, rest].concat()
}

fn dataspace(dims: &[u64]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&dim| le(dim)).collect();
    [&[1, (dims.len() / 8) as u8, 0, 0, 0, 0, 0, 0][..], &dims].concat()
}

fn float(size: u32, big_endian: bool) -> Vec<u8> {
    let (parts, bias) = match size {
        2 => ([10, 5, 0, 10], 15u32),
        4 => ([23, 8, 0, 23], 127),
        _ => ([52, 11, 0, 52], 1023),
    };
    let precision = (8 * size as u16).to_le_bytes();
    let start = [0x11, 0x20 | u8::from(big_endian), 8 * size as u8 - 1, 0];
    [&start[..], &size.to_le_bytes(), &[0, 0], &precision, &parts, &bias.to_le_bytes()].concat()
}

fn integer(size: u32, signed: bool) -> Vec<u8> {
    let precision = (8 * size as u16).to_le_bytes();
    [&[0x10, if signed { 8 } else { 0 }, 0, 0][..], &size.to_le_bytes(), &[0, 0], &precision].concat()
}

/// A compact dataset.
fn dataset(datatype: &[u8], dims: &[u64], data: &[u8]) -> Vec<u8> {
    let layout = [&[3, 0][..], &(data.len() as u16).to_le_bytes(), data].concat();
    header(&[message(1, &dataspace(dims)), message(3, datatype), message(8, &layout)])
}

fn values(member: &[u8]) -> Result<Vec<f32>, String> {
    let bytes = file(member, &[]);
    let file = File::parse(&bytes)?;
    file.root().dataset("a").unwrap().read().map(|array| array.values)
}

#[test]
fn numbers_of_all_types_are_read() {
    let halves = [0x3c00u16, 0xc100, 0x0001, 0x7c00];
    let expected = Ok(vec![1.0, -2.5, 2f32.powi(-24), f32::INFINITY]);
    assert_eq!(values(&dataset(&float(2, false), &[4], &halves.map(u16::to_le_bytes).concat())), expected);
    assert_eq!(values(&dataset(&float(2, true), &[4], &halves.map(u16::to_be_bytes).concat())), expected);
    let expected = Ok(vec![1.5, -0.1]);
    assert_eq!(
        values(&dataset(&float(4, true), &[2], &[1.5f32, -0.1].map(f32::to_be_bytes).concat())),
        expected
    );
    assert_eq!(
        values(&dataset(&float(4, false), &[2], &[1.5f32, -0.1].map(f32::to_le_bytes).concat())),
        expected
    );
    assert_eq!(
        values(&dataset(&float(8, true), &[2], &[1.5f64, -0.1].map(f64::to_be_bytes).concat())),
        expected
    );
    assert_eq!(
        values(&dataset(&float(8, false), &[2], &[1.5f64, -0.1].map(f64::to_le_bytes).concat())),
        expected
    );
    assert_eq!(values(&dataset(&integer(1, true), &[2], &[255, 7])), Ok(vec![-1.0, 7.0]));
    assert_eq!(values(&dataset(&integer(1, false), &[2], &[255, 7])), Ok(vec![255.0, 7.0]));
    assert_eq!(values(&dataset(&integer(8, true), &[1], &(-5i64).to_le_bytes())), Ok(vec![-5.0]));
    assert_eq!(values(&dataset(&integer(4, true), &[], &9i32.to_le_bytes())), Ok(vec![9.0]));
}

#[test]
fn what_is_not_supported_is_named() {
    let chunked = [3, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    let parts =
        |layout: &[u8]| [message(1, &dataspace(&[1])), message(3, &float(4, false)), message(8, layout)];
    let error = values(&header(&parts(&chunked))).unwrap_err();
    assert!(error.contains("in chunks"), "{error}");
    let far = [&[3, 1][..], &le(1 << 40), &le(4)].concat();
    let error = values(&header(&parts(&far))).unwrap_err();
    assert!(error.contains("damaged"), "{error}");
    let error = values(&dataset(&float(4, false), &[1 << 40, 1 << 40], &[])).unwrap_err();
    assert!(error.contains("too large"), "{error}");
    let error = values(&dataset(&float(4, false), &[1 << 40], &[])).unwrap_err();
    assert!(error.contains("no 4398046511104 bytes"), "{error}");
    let mut newer = file(&dataset(&float(4, false), &[0], &[]), &[]);
    newer[8] = 3;
    let error = File::parse(&newer).unwrap_err();
    assert!(error.contains("superblock version 3"), "{error}");
}

/// An attribute of version 1 or 3.
fn attribute(version: u8, name: &str, datatype: &[u8], dims: &[u64], data: &[u8]) -> Vec<u8> {
    let space = dataspace(dims);
    let lengths = [name.len() + 1, datatype.len(), space.len()].map(|length| (length as u16).to_le_bytes());
    let pad = |part: &[u8]| {
        let mut part = part.to_vec();
        part.resize(if version == 1 { part.len().next_multiple_of(8) } else { part.len() }, 0);
        part
    };
    let name = format!("{name}\0");
    let encoding = if version == 3 { &[0][..] } else { &[] };
    let parts = [pad(name.as_bytes()), pad(datatype), pad(&space), data.to_vec()].concat();
    message(0x0c, &[&[version, 0][..], &lengths.concat(), encoding, &parts].concat())
}

#[test]
fn attributes_are_texts_or_numbers() {
    let text = |padding: u8, size: u32| [&[0x13, padding, 0, 0][..], &size.to_le_bytes()].concat();
    for version in [1, 3] {
        let plain = message(3, &float(4, false));
        let at = |messages: &[Vec<u8>]| MEMBER + header(messages).len() as u64;
        let long = |address| {
            let reference = |length: u32, index: u32| {
                [&length.to_le_bytes()[..], &le(address), &index.to_le_bytes()].concat()
            };
            let datatype = [&[0x19, 1, 0, 0, 16, 0, 0, 0][..], &text(0, 1)].concat();
            let data = [reference(3, 1), reference(0, 0), reference(2, 2)].concat();
            attribute(version, "long", &datatype, &[3], &data)
        };
        let messages = |address| {
            [
                plain.clone(),
                attribute(version, "names", &text(1, 4), &[2], b"ab\0\0abcd"),
                attribute(version, "spaces", &text(2, 4), &[], b"ab  "),
                attribute(version, "n", &integer(2, true), &[], &(-3i16).to_le_bytes()),
                long(address),
            ]
        };
        let heap = [
            &b"GCOL\x01\0\0\0"[..],
            &le(64),
            &[&[1, 0, 1, 0, 0, 0, 0, 0][..], &le(3), b"xyz\0\0\0\0\0"].concat(),
            &[&[2, 0, 1, 0, 0, 0, 0, 0][..], &le(2), "é\0\0\0\0\0\0".as_bytes()].concat(),
        ];
        let bytes = file(&header(&messages(at(&messages(0)))), &heap.concat());
        let file = File::parse(&bytes).unwrap();
        let read = |name: &str| file.root().dataset("a").unwrap().attribute(name).unwrap();
        let texts = |texts: &[&str]| Some(Value::Texts(texts.iter().map(|text| text.to_string()).collect()));
        assert_eq!(read("names"), texts(&["ab", "abcd"]));
        assert_eq!(read("spaces"), texts(&["ab"]));
        assert_eq!(read("n"), Some(Value::Numbers(vec![-3.0])));
        assert_eq!(read("long"), texts(&["xyz", "", "é"]));
        assert_eq!(read("none"), None);
    }
}

#[test]
fn cycles_are_refused() {
    let sound = file(&dataset(&float(4, false), &[1], &[0; 4]), &[]);
    assert!(File::parse(&sound).is_ok());
    let changed = |at: u64, value: &[u8]| {
        let mut bytes = sound.clone();
        bytes[at as usize..][..value.len()].copy_from_slice(value);
        File::parse(&bytes).map(|_| ()).unwrap_err()
    };
    // A member that is the root, and B-tree nodes that contain themselves, as a leaf and as an inner node.
    for error in [
        changed(NODE + 16, &le(ROOT)),
        changed(TREE + 32, &le(TREE)),
        changed(TREE + 4, &[[0, 1, 1, 0], [0; 4]].concat()[..4]),
    ] {
        assert!(error.contains("damaged") || error.contains("cycle"), "{error}");
    }
    let mut inner = sound.clone();
    inner[TREE as usize + 5] = 1;
    inner[TREE as usize + 32..][..8].copy_from_slice(&le(TREE));
    let error = File::parse(&inner).map(|_| ()).unwrap_err();
    assert!(error.contains("its parent excludes"), "{error}");
    let continued = header(&[message(0x10, &[le(MEMBER + 16), le(24)].concat())]);
    let mut continued = file(&continued, &[]);
    continued[MEMBER as usize + 2] = 0xff;
    continued[MEMBER as usize + 3] = 0xff;
    let error = File::parse(&continued).map(|_| ()).unwrap_err();
    assert!(error.contains("form a cycle"), "{error}");
}
