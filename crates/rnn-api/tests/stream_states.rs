//! States of streams as bytes and files: a stream goes on with the same bits, and what does not fit changes nothing.

use rnn_api::nn::{AnyRnnConfig, RecurrentCell, RecurrentLayer, RecurrentStream};
use rnn_api::prelude::*;
use rnn_api::{Error, Result};

const BATCH: usize = 3;

/// The values of the state.
fn state<C: RecurrentCell>(stream: &RecurrentStream<C>) -> Vec<f32> {
    stream.state().hidden().to_vec().unwrap()
}

fn step<C: RecurrentCell>(stream: &mut RecurrentStream<C>, at: usize) -> Vec<u32> {
    let x = (0..2 * stream.batch()).map(|k| ((k + at) as f32).sin()).collect();
    let x = Tensor::from_vec(&Device::cpu(), x, &[stream.batch(), 2]).unwrap();
    stream.step(&x).unwrap().to_vec().unwrap().iter().map(|value| value.to_bits()).collect()
}

/// Four steps, and the last two again from saved states.
fn goes_on<C: RecurrentCell>(layer: &RecurrentLayer<C>, name: &str) {
    let path = std::env::temp_dir().join(format!("rnn-stream-{}-{name}", std::process::id()));
    let mut stream = layer.stream(BATCH).unwrap();
    (0..2).for_each(|at| drop(step(&mut stream, at)));
    let bytes = stream.to_bytes().unwrap();
    stream.save(&path).unwrap();
    let expected = [step(&mut stream, 2), step(&mut stream, 3)];
    let (mut of_bytes, mut of_file) = (layer.stream(BATCH).unwrap(), layer.stream(BATCH).unwrap());
    of_bytes.load_bytes(&bytes).unwrap();
    of_file.load(&path).unwrap();
    for mut stream in [of_bytes, of_file] {
        assert_eq!([step(&mut stream, 2), step(&mut stream, 3)], expected, "{name}");
    }
    let mut of_file = layer.stream(BATCH).unwrap();
    of_file.load_bytes(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(step(&mut of_file, 2), expected[0], "{name}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn streams_go_on_from_bytes_and_files() {
    let device = Device::cpu();
    goes_on(&LstmConfig::new(2, 4).with_num_layers(2).with_proj_size(3).init(&device, 1).unwrap(), "lstm");
    goes_on(&GruConfig::new(2, 4).init(&device, 1).unwrap(), "gru");
    goes_on(&RnnConfig::new(2, 4).init(&device, 1).unwrap(), "rnn");
    for config in [AnyRnnConfig::from(LstmConfig::new(2, 4)), MguConfig::new(2, 4).into()] {
        goes_on(&config.init(&device, 1).unwrap(), "any");
    }
}

fn gru() -> GruStream {
    GruConfig::new(2, 4).init(&Device::cpu(), 1).unwrap().stream(BATCH).unwrap()
}

fn refused<C: RecurrentCell>(stream: &mut RecurrentStream<C>, bytes: &[u8], part: &str) {
    let before = state(stream);
    match stream.load_bytes(bytes) {
        Err(Error::StateDict { problems }) => assert!(problems.join("; ").contains(part), "{problems:?}"),
        other => panic!("expected Error::StateDict, got {other:?}"),
    }
    assert_eq!(state(stream), before);
}

#[test]
fn states_that_do_not_fit_are_refused_by_name() {
    let device = Device::cpu();
    let mut stream = gru();
    let bytes = stream.to_bytes().unwrap();
    let mgu = MguConfig::new(2, 4).init(&device, 1).unwrap().stream(BATCH).unwrap();
    refused(&mut stream, &mgu.to_bytes().unwrap(), "a cell \"Mgu\", the stream has \"Gru\"");
    let wide = GruConfig::new(2, 5).with_num_layers(2).init(&device, 1).unwrap().stream(1).unwrap();
    refused(&mut stream, &wide.to_bytes().unwrap(), "`h` must be [1, 3, 4], got [2, 1, 5]");
    let mut lstm = LstmConfig::new(2, 4).init(&device, 1).unwrap().stream(BATCH).unwrap();
    refused(&mut lstm, &bytes, "a cell \"Gru\", the stream has \"Lstm\"");
    refused(&mut stream, b"", "an empty file");
    refused(&mut stream, b"PK\x03\x04 /data.pkl", "torch.save");
}

#[test]
fn damaged_states_are_refused() {
    let mut stream = gru();
    drop(step(&mut stream, 0));
    let bytes = stream.to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(matches!(stream.load_bytes(&bytes[..length]), Err(Error::StateDict { .. })), "{length}");
    }
    let data = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    for at in data..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        refused(&mut stream, &damaged, "the content has changed");
    }
    let version = br#""rnn.state":"1"#;
    let end = bytes.windows(version.len()).position(|part| part == version).unwrap() + version.len();
    let mut later = bytes.clone();
    later[end - 1] = b'7';
    refused(&mut stream, &later, "of version \"7\"; this program reads version 1");
}

#[test]
fn files_name_their_path_and_states_that_are_not_finite_are_not_saved() -> Result<()> {
    let path = std::env::temp_dir().join(format!("rnn-stream-{}-weights", std::process::id()));
    let layer = GruConfig::new(2, 4).init(&Device::cpu(), 1)?;
    rnn_api::io::save(&layer, &path)?;
    let mut stream = layer.stream(BATCH)?;
    let error = stream.load(&path).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()) && error.contains("no state of a stream"), "{error}");
    std::fs::remove_file(&path).expect("the test's file");
    assert!(matches!(stream.load(&path), Err(Error::Io { .. })));
    let nan = Tensor::full(&Device::cpu(), &[1, BATCH, 4], f32::NAN)?;
    stream.set_state(&GruState::new(nan, 1))?;
    let error = stream.save(&path).unwrap_err().to_string();
    assert!(error.contains("state must be finite") && !path.exists(), "{error}");
    Ok(())
}
