//! Sound files as programs write them: samples of `../shared/conformance/wild`, and warnings.

use super::wav::tests::{chunk, fmt, riff, stereo};
use super::*;
use crate::data::text::tests::TestFile;
use rnn_testing::warnings::warnings;
use std::io::Write;

/// Reads a file of the folder; says so where it is absent.
fn wild(name: &str, check: impl FnOnce(&Path)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/wild").join(name);
    if path.exists() {
        return check(&path);
    }
    // The test harness does not capture what is written to the stream itself.
    writeln!(std::io::stderr(), "not tested: no {}", path.display()).unwrap();
}

/// 800 samples of 16 bits: sample k is 16384 sin(k / 5) / 32768.
fn sine(path: &Path) {
    let said = warnings(|| {
        let sound = Sound::read(path).unwrap();
        assert_eq!((sound.samples().len(), sound.rate()), (800, 8000));
        for (k, sample) in sound.samples().iter().enumerate() {
            // The file has whole numbers, so the difference is at most one unit of 16 bits.
            let want = 0.5 * (k as f64 / 5.0).sin();
            assert!((f64::from(*sample) - want).abs() <= 1.0 / 32768.0, "{k}: {sample} {want}");
        }
    });
    assert_eq!(said, [""; 0]);
}

#[test]
fn an_odd_chunk_before_the_samples() {
    wild("odd_chunk.wav", sine);
}

#[test]
fn the_lengths_of_a_pipe() {
    wild("pipe.wav", sine);
}

#[test]
fn a_stopped_recorder_leaves_a_length_of_zero() {
    wild("data_length_zero.wav", |path| {
        let said = warnings(|| {
            let sound = Sound::read(path).unwrap();
            assert_eq!(sound.samples(), [0.5, -0.5, 32767.0 / 32768.0, -1.0]);
        });
        assert!(
            said.len() == 1 && said[0].contains("data_length_zero.wav: the header states no samples"),
            "{said:?}"
        );
    });
}

#[test]
fn extensible_formats() {
    wild("extensible_24_in_32.wav", |path| {
        assert_eq!(Sound::read(path).unwrap().samples(), [0.5, -0.5]);
    });
    wild("extensible_float_6_channels.wav", |path| {
        let channels = Sound::read_channels(path).unwrap();
        let all: Vec<f32> = channels.iter().flat_map(|sound| sound.samples().to_vec()).collect();
        assert_eq!(all, [0.6, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((Sound::read(path).unwrap().samples(), channels[5].rate()), (&[0.6 / 6.0][..], 48000));
    });
}

#[test]
fn a_cut_file_ends_early_with_a_warning() {
    let whole = stereo(&[16384, 16384, 100, 100]);
    let file = TestFile::new("cut.wav", &whole[..whole.len() - 3]);
    let said = warnings(|| assert_eq!(Sound::read(&file.0).unwrap().samples(), [0.5]));
    assert!(
        said.len() == 2 && said[0].contains("states 8 bytes of samples; the file ends after 5"),
        "{said:?}"
    );
    assert!(said[1].contains("the last 1 bytes"), "{said:?}");
    // Nothing is left: an error, not an empty sound.
    assert!(Sound::from_bytes(&whole[..44]).unwrap_err().to_string().contains("the sound is empty"));
}

#[test]
fn doubles_beyond_single_precision_are_named() {
    let data = [0.5, 1e300].map(f64::to_le_bytes).concat();
    let bytes = riff(&[fmt(3, 1, 8000, 8, 64, &[]), chunk(b"data", &data)]);
    let error = Sound::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.starts_with("step 1: expected a finite number"), "{error}");
}

#[test]
fn hidden_files_and_folders_are_passed_over() {
    let file = TestFile::new("yes_1.wav", &stereo(&[1, 1]));
    let folder = file.0.parent().unwrap();
    // What macOS leaves on other file systems.
    std::fs::write(folder.join("._yes_1.wav"), b"\0\x05\x16\x07").unwrap();
    let (files, _) = labelled_files(folder, LabelFrom::NameUntil('_')).unwrap();
    assert_eq!(files, std::slice::from_ref(&file.0));
    for name in ["all/yes", "all/.git"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    std::fs::copy(&file.0, folder.join("all/yes/1.wav")).unwrap();
    let (files, labels) = labelled_files(folder.join("all"), LabelFrom::Folder).unwrap();
    assert_eq!((files.len(), labels.values()), (1, &["yes".to_string()][..]));
}
