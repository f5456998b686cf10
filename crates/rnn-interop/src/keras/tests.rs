//! Files of Keras itself, of all versions, and what becomes of them when they are cut or changed.

mod forward;
mod loaded;

use super::hdf5::{File, Group};
use super::{config, read, weights};
use rnn_api::io::Archive;
use rnn_testing::data::changed_files;
use rnn_testing::zip;
use std::path::PathBuf;

/// Files of Keras; `None` where they are absent, which is said.
fn files() -> Option<Vec<(String, Vec<u8>)>> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance/keras"));
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("not run: the files of Keras are not at {}", folder.display());
        return None;
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    Some(files)
}

fn is_model(name: &str) -> bool {
    let h5 = name.ends_with(".h5") && !name.contains("inputs_and_outputs") && !name.ends_with(".weights.h5");
    h5 || name.ends_with(".keras")
}

/// Decodes everything in a group: the first error, and how many values there are.
fn walk(group: &Group) -> Result<usize, String> {
    let mut count = 0;
    for name in group.attributes() {
        group.attribute(&name)?;
    }
    for (_, dataset) in group.datasets() {
        let array = dataset.read()?;
        assert_eq!(array.dims.iter().product::<usize>(), array.values.len());
        count += array.values.len();
    }
    for (_, group) in group.groups() {
        count += walk(group)?;
    }
    Ok(count)
}

#[test]
fn every_file_is_read() {
    for (name, bytes) in files().into_iter().flatten() {
        if name.ends_with(".h5") {
            let count = walk(File::parse(&bytes).unwrap().root()).unwrap();
            assert!(count > 0, "{name}");
        }
        if is_model(&name) {
            let (model, weights) = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!model.layers.is_empty() && !weights.is_empty(), "{name}");
            let known = |layer: &String| model.layers.iter().any(|known| known.name == *layer);
            assert!(weights.keys().all(known), "{name}");
        }
    }
}

/// The sums of the bits of each array, computed by a few lines of Python that know nothing of this reader.
#[test]
fn arrays_have_the_bits_that_another_reader_finds() {
    let Some(files) = files() else { return };
    let (_, bytes) = files.iter().find(|(name, _)| name == "lstm_seq.h5").unwrap();
    let (_, weights) = read(bytes).unwrap();
    let expected: [(&str, &str, &[usize], u32); 8] = [
        ("dense", "sequential/dense/kernel", &[3, 2], 1932598488),
        ("dense", "sequential/dense/bias", &[2], 4249440304),
        ("lstm", "sequential/lstm/lstm_cell/kernel", &[4, 20], 1831087810),
        ("lstm", "sequential/lstm/lstm_cell/recurrent_kernel", &[5, 20], 1452569203),
        ("lstm", "sequential/lstm/lstm_cell/bias", &[20], 1555158267),
        ("lstm_1", "sequential/lstm_1/lstm_cell/kernel", &[5, 12], 323425716),
        ("lstm_1", "sequential/lstm_1/lstm_cell/recurrent_kernel", &[3, 12], 1161038517),
        ("lstm_1", "sequential/lstm_1/lstm_cell/bias", &[12], 1741564412),
    ];
    let arrays = weights.iter().flat_map(|(layer, arrays)| arrays.iter().map(move |array| (layer, array)));
    let found: Vec<_> = arrays
        .map(|(layer, weight)| {
            let bits = weight.array.values.iter().map(|value| value.to_bits());
            (&**layer, &*weight.name, &*weight.array.dims, bits.fold(0u32, u32::wrapping_add))
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_three_forms_of_keras_3_hold_the_same_weights() {
    let Some(files) = files() else { return };
    let bytes = |name: String| &files.iter().find(|(file, _)| *file == name).unwrap().1;
    for name in ["lstm_seq", "gru_reset_after", "bidi", "embed_mask"] {
        let (model, mut of_h5) = read(bytes(format!("{name}.h5"))).unwrap();
        let (same, mut of_archive) = read(bytes(format!("{name}.keras"))).unwrap();
        assert_eq!(model.keras, 3);
        let settings = |model: &config::Model| {
            model.layers.iter().map(|layer| (layer.name.clone(), layer.settings.clone())).collect::<Vec<_>>()
        };
        assert_eq!(settings(&model), settings(&same), "{name}");
        let file = File::parse(bytes(format!("{name}.weights.h5"))).unwrap();
        let mut alone = weights::read(&file, &model).unwrap();
        for weights in [&mut of_h5, &mut of_archive, &mut alone] {
            weights.retain(|_, arrays| !arrays.is_empty());
        }
        let bits = |weights: weights::Weights| -> Vec<_> {
            let arrays = weights.into_iter().map(|(layer, arrays)| {
                let array = |weight: weights::Weight| {
                    let bits: Vec<u32> = weight.array.values.iter().map(|value| value.to_bits()).collect();
                    (weight.array.dims, bits)
                };
                (layer, arrays.into_iter().map(array).collect::<Vec<_>>())
            });
            arrays.collect()
        };
        let (of_h5, of_archive, alone) = (bits(of_h5), bits(of_archive), bits(alone));
        assert!(of_h5.iter().map(|(_, arrays)| arrays.len()).sum::<usize>() >= 6, "{name}");
        assert_eq!(of_h5, of_archive, "{name}");
        assert_eq!(of_h5, alone, "{name}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    for (name, bytes) in files().into_iter().flatten() {
        if name.ends_with(".h5") {
            (0..bytes.len())
                .for_each(|end| assert!(File::parse(&bytes[..end]).is_err(), "{name} of {end} bytes"));
            // With a superblock that does not state the length: an error or less content, and no panic.
            for end in (96..bytes.len()).step_by(31) {
                let mut cut = bytes[..end].to_vec();
                cut[40..48].copy_from_slice(&(end as u64).to_le_bytes());
                let _ = File::parse(&cut).map(|file| walk(file.root()));
            }
        } else if name.ends_with(".keras") {
            // Each search for the end of a cut archive goes over all of it.
            let ends = (0..bytes.len()).step_by(61).chain(bytes.len() - 300..bytes.len());
            ends.for_each(|end| assert!(read(&bytes[..end]).is_err(), "{name} of {end} bytes"));
        }
    }
}

/// Numbers that look random (Marsaglia's xorshift).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << shift } else { self.0 >> shift };
        }
        (self.0 % end as u64) as usize
    }
}

#[test]
fn changed_bytes_give_errors_and_no_panics() {
    let Some(files) = files() else { return };
    let small: Vec<_> = files.iter().filter(|(_, bytes)| bytes.len() < 45_000).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..changed_files(2_000) {
        let (name, bytes) = small[random.below(small.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = [0, 1, 0xff, random.below(256) as u8][random.below(4)];
        }
        if name.ends_with(".h5") {
            let _ = File::parse(&bytes).map(|file| walk(file.root()));
        }
        if is_model(name) {
            let _ = read(&bytes).map(|(model, weights)| {
                super::lower::parts(&model, &weights, &rnn_api::Device::cpu()).is_ok()
            });
        }
    }
}

#[test]
fn deflated_entries_are_read_and_bombs_are_not() {
    let data: Vec<u8> = (0..10_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let file = zip(&[("a", &data)], true);
    assert_eq!(Archive::read(&file).unwrap().get("a").unwrap().unwrap(), data);
    let bomb = vec![0; 80 << 20];
    let mut file = zip(&[("a", &bomb)], true);
    let error = Archive::read(&file).unwrap().get("a").unwrap_err();
    assert!(error.contains("more than the"), "{error}");
    let size = file.windows(4).position(|part| part == (80u32 << 20).to_le_bytes()).unwrap();
    file[size..size + 4].copy_from_slice(&100u32.to_le_bytes());
    let error = Archive::read(&file).unwrap().get("a").unwrap_err();
    assert!(error.contains("size or checksum"), "{error}");
}
