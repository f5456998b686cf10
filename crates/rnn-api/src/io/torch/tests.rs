//! Files written by hand: what torch 2.15 cannot be asked to write, and what is hostile. Files of torch itself are in
//! `tests/devices/pt_files.rs`.

use super::{is_torch, tensors};
use rnn_testing::data::{SplitMix64, changed_files};
use rnn_testing::zip;

fn text(text: &str) -> Vec<u8> {
    let mut code = b"X".to_vec();
    code.extend((text.len() as u32).to_le_bytes());
    code.extend(text.as_bytes());
    code
}

fn integer(value: i32) -> Vec<u8> {
    [b"J".to_vec(), value.to_le_bytes().to_vec()].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
}

fn sizes(sizes: &[i32]) -> Vec<u8> {
    tuple(&sizes.iter().map(|&size| integer(size)).collect::<Vec<_>>())
}

/// A view of storage `key`.
fn tensor(kind: &str, key: &str, offset: i32, dims: &[i32], strides: &[i32]) -> Vec<u8> {
    let legacy = b"N".to_vec();
    let storage = tuple(&[
        text("storage"),
        format!("ctorch\n{kind}\n").into_bytes(),
        text(key),
        text("cpu"),
        integer(6),
        legacy,
    ]);
    let call = b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec();
    let arguments = [
        [storage, b"Q".to_vec()].concat(),
        integer(offset),
        sizes(dims),
        sizes(strides),
        b"\x89".to_vec(),
        b"N".to_vec(),
    ];
    [call, tuple(&arguments), b"R".to_vec()].concat()
}

fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items = items.iter().flat_map(|(name, value)| [text(name), value.clone()].concat());
    [b"}(".to_vec(), items.collect(), b"u".to_vec()].concat()
}

fn pickle(value: Vec<u8>) -> Vec<u8> {
    [b"\x80\x02".to_vec(), value, b".".to_vec()].concat()
}

/// 0 to 5, in f32.
fn six() -> Vec<u8> {
    (0..6u8).flat_map(|n| f32::from(n).to_le_bytes()).collect()
}

fn file(value: Vec<u8>) -> Vec<u8> {
    zip(&[("m/data.pkl", &pickle(value)), ("m/byteorder", b"little"), ("m/data/0", &six())], false)
}

fn refusal(value: Vec<u8>) -> String {
    tensors(&file(value)).unwrap_err()
}

#[test]
fn views_share_their_storage() {
    let transposed = tensor("FloatStorage", "0", 0, &[3, 2], &[1, 3]);
    let row = tensor("FloatStorage", "0", 3, &[3], &[1]);
    let repeated = tensor("FloatStorage", "0", 5, &[2, 2], &[0, 0]);
    let empty = tensor("FloatStorage", "0", 6, &[0, 7], &[7, 1]);
    let value = dict(&[("t", transposed), ("row", row), ("same", repeated), ("empty", empty)]);
    let read = tensors(&file(value)).unwrap();
    assert_eq!(read["t"].values, Ok(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    assert_eq!(read["row"].values, Ok(vec![3.0, 4.0, 5.0]));
    assert_eq!(read["same"].values, Ok(vec![5.0; 4]));
    assert_eq!((&read["empty"].dims[..], &read["empty"].values), (&[0, 7][..], &Ok(vec![])));
}

#[test]
fn the_byte_order_of_the_machine_counts() {
    let big: Vec<u8> = (0..6u8).flat_map(|n| f32::from(n).to_be_bytes()).collect();
    let value = pickle(dict(&[("w", tensor("FloatStorage", "0", 1, &[2], &[2]))]));
    let file = zip(&[("m/data.pkl", &value), ("m/byteorder", b"big"), ("m/data/0", &big)], false);
    assert_eq!(tensors(&file).unwrap()["w"].values, Ok(vec![1.0, 3.0]));
}

/// The form before PyTorch 1.6: `torch.save(.., _use_new_zipfile_serialization=False)`.
#[test]
fn files_before_the_zip_form_are_read() {
    for big_endian in [false, true] {
        let order = if big_endian { b"\x89".to_vec() } else { b"\x88".to_vec() };
        let machine = dict(&[("protocol_version", integer(1001)), ("little_endian", order)]);
        let value = dict(&[
            ("w", tensor("FloatStorage", "940", 0, &[2, 3], &[3, 1])),
            ("n", tensor("LongStorage", "941", 0, &[1], &[1])),
        ]);
        let keys = [b"](".to_vec(), text("940"), text("941"), b"e".to_vec()].concat();
        let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
        file.extend([pickle(b"M\xe9\x03".to_vec()), pickle(machine), pickle(value), pickle(keys)].concat());
        let number = |value: u64| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let single = |value: f32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        file.extend(number(6));
        file.extend((0..6u8).flat_map(|n| single(f32::from(n))));
        file.extend(number(1));
        file.extend(number(7));
        assert!(is_torch(&file));
        let read = tensors(&file).unwrap();
        assert_eq!(read["w"].values, Ok(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(read["n"].integers, Some(vec![7]));
        let error = tensors(&file[..file.len() - 1]).unwrap_err();
        assert!(error.contains("cut off in storage `941`"), "{error}");
    }
}

/// A checkpoint of Lightning: hyperparameters of a class of its own, a path, and a state dict.
#[test]
fn objects_are_data() {
    let class = b"cpytorch_lightning.utilities.parsing\nAttributeDict\n)\x81}(".to_vec();
    let object = [class, text("lr"), integer(1), b"ub".to_vec()].concat();
    let path = b"cpathlib\nPosixPath\n(X\x04\0\0\0/tmptR".to_vec();
    let weight = tensor("FloatStorage", "0", 0, &[6], &[1]);
    let value =
        dict(&[("hyper_parameters", object), ("path", path), ("state_dict", dict(&[("rnn.w", weight)]))]);
    assert_eq!(tensors(&file(value)).unwrap().keys().collect::<Vec<_>>(), ["state_dict.rnn.w"]);
}

#[test]
fn functions_are_not_called() {
    for (call, name) in [
        (&b"cos\nsystem\n(X\x04\0\0\0true"[..], "os.system"),
        (b"cbuiltins\neval\n(X\x01\0\0\x001", "builtins.eval"),
        (b"ctorch._utils\n_rebuild_sparse_tensor\n(", "torch._utils._rebuild_sparse_tensor"),
    ] {
        let call = [call.to_vec(), b"tR".to_vec()].concat();
        let error = refusal(dict(&[("w", call)]));
        assert!(error.contains(&format!("calls `{name}`")), "{error}");
    }
}

#[test]
fn hostile_values_are_refused() {
    let view = |offset, dims: &[i32], strides: &[i32]| {
        refusal(dict(&[("w", tensor("FloatStorage", "0", offset, dims, strides))]))
    };
    for error in [
        view(0, &[7], &[1]),
        view(6, &[1], &[1]),
        view(0, &[2, 3], &[i32::MAX, i32::MAX]),
        view(0, &[i32::MAX, i32::MAX, i32::MAX], &[1, 1, 1]),
    ] {
        assert!(error.contains("`w`") && error.contains("leave a storage of 6 elements"), "{error}");
    }
    // 2^62 elements of one number each.
    let error = view(0, &[i32::MAX, i32::MAX], &[0, 0]);
    assert!(error.contains("share storages too often"), "{error}");
    for (dims, strides) in [(&[-1][..], &[1][..]), (&[2], &[-1]), (&[2, 1], &[1])] {
        let error = view(0, dims, strides);
        assert!(error.contains("the arguments of `torch._utils._rebuild_tensor_v2`"), "{error}");
    }
    let error = refusal(dict(&[("w", tensor("FloatStorage", "../../etc", 0, &[1], &[1]))]));
    assert!(error.contains("no entry `m/data/../../etc`"), "{error}");

    // A dict that contains itself, lists that double on every level, and 100,000 levels.
    let error = refusal([b"}q\0".to_vec(), text("a"), b"h\0s".to_vec()].concat());
    assert!(error.contains("nested deeper than 64 levels"), "{error}");
    let doubled = (0..60).fold(b"]".to_vec(), |inner, _| [b"(".to_vec(), inner, b"2l".to_vec()].concat());
    let error = refusal(doubled);
    assert!(error.contains("contain one another too often"), "{error}");
    let deep = [vec![b'('; 100_000], vec![b'l'; 100_000]].concat();
    assert!(refusal(deep).contains("nested deeper"));
    assert!(refusal(integer(1)).contains("no tensors"));
}

#[test]
fn damaged_bytes_are_found() {
    let mut damaged = file(dict(&[("w", tensor("FloatStorage", "0", 0, &[6], &[1]))]));
    let values = damaged.windows(24).position(|part| part == six()).unwrap();
    damaged[values] ^= 1;
    let error = tensors(&damaged).unwrap_err();
    assert!(error.contains("entry `m/data/0` is damaged"), "{error}");
}

/// 20,000 files with one to four bytes changed, without checksums, which would find them first; `RNN_FUZZ` sets another
/// number. An error or tensors of the right size, never a panic.
#[test]
fn changed_bytes_are_an_error_or_tensors() {
    let count = changed_files(20_000);
    let whole = file(dict(&[
        ("w", tensor("FloatStorage", "0", 0, &[2, 3], &[3, 1])),
        ("model", dict(&[("b", tensor("HalfStorage", "0", 1, &[5], &[2]))])),
    ]));
    let mut checked = whole.clone();
    // The checksum of every entry, 16 bytes behind the start of its record.
    for at in 0..checked.len() - 4 {
        if checked[at..].starts_with(b"PK\x01\x02") {
            checked[at + 16..at + 20].fill(0);
        }
    }
    let (mut rng, mut errors) = (SplitMix64::new(19), 0);
    let mut below = |bound: usize| rng.next_below(bound);
    for _ in 0..count {
        let mut bytes = checked.clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            bytes[at] = below(256) as u8;
        }
        match tensors(&bytes) {
            Ok(read) => {
                for tensor in read.values() {
                    let elements: usize = tensor.dims.iter().product();
                    assert!(
                        tensor.values.as_ref().is_ok_and(|values| values.len() == elements)
                            || tensor.integers.as_ref().is_some_and(|values| values.len() == elements)
                            || tensor.values.is_err()
                    );
                }
            }
            Err(error) => {
                assert!(!error.is_empty());
                errors += 1;
            }
        }
    }
    assert!(errors > count / 3, "{errors} of {count}");
}
