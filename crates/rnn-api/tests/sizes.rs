//! Sizes that no machine can serve: a typed error that names the size, before anything is drawn or allocated.

use rnn_api::prelude::*;
use rnn_api::{CellSpec, Error, StackSpec};
use rnn_runtime::host_memory;

/// The result is an error about memory or about a size out of range, and its text has all of these parts.
#[track_caller]
fn refused<T>(result: Result<T, Error>, parts: &[&str]) {
    let Some(error) = result.err() else { panic!("accepted: {parts:?}") };
    let text = error.to_string();
    assert!(
        matches!(error, Error::Config { .. } | Error::Runtime(rnn_runtime::Error::TooLarge { .. }))
            || matches!(
                error,
                Error::Runtime(rnn_runtime::Error::Value { .. } | rnn_runtime::Error::Shape { .. })
            ),
        "{error:?}"
    );
    assert!(parts.iter().all(|part| text.contains(part)), "{text:?} without one of {parts:?}");
}

fn cpu() -> Device {
    Device::cpu()
}

#[test]
fn layers_of_impossible_sizes_are_refused_by_name() {
    let huge = [1 << 24, 1 << 31, 1 << 33, 1 << 36, 1 << 62, usize::MAX];
    refused(
        LstmConfig::new(10, 100_000).init(&cpu(), 1),
        &["LstmConfig", "weight_hh", "hidden_size = 100000"],
    );
    for size in huge {
        refused(LstmConfig::new(1, size).init(&cpu(), 1), &["LstmConfig", "hidden_size"]);
        refused(LstmConfig::new(size, 1 << 20).init(&cpu(), 1), &["LstmConfig", "input_size"]);
        refused(GruConfig::new(size, size).init(&cpu(), 1), &["GruConfig", "input_size"]);
        refused(MguConfig::new(4, size).init(&cpu(), 1), &["MguConfig", "hidden_size"]);
        refused(RnnConfig::new(4, size).init(&cpu(), 1), &["RnnConfig", "hidden_size"]);
        refused(LstmConfig::new(1, 1).with_num_layers(size).init(&cpu(), 1), &["LstmConfig", "num_layers"]);
        let wide = LstmConfig::new(4, 8).with_bidirectional(true).with_learnable_state(true);
        refused(wide.with_num_layers(size).init(&cpu(), 1), &["LstmConfig", "num_layers"]);
        let projected = LstmConfig::new(4, size).with_proj_size(size - 1);
        refused(projected.init(&cpu(), 1), &["LstmConfig", "hidden_size"]);
        let table = EmbeddingConfig::new(size, 1 << 20).init(&cpu(), 1);
        refused(table, &["EmbeddingConfig", "weight", "num_embeddings"]);
        refused(LinearConfig::new(size, 1 << 20).init(&cpu(), 1), &["LinearConfig", "input_size"]);
        refused(LinearConfig::new(1 << 20, size).init(&cpu(), 1), &["LinearConfig", "output_size"]);
    }
    refused(EmbeddingConfig::new(1 << 31, 8).init(&cpu(), 1), &["num_embeddings = 2147483648"]);
    refused(LinearConfig::new(1 << 33, 1 << 33).init(&cpu(), 1), &["input_size = 8589934592"]);
    for size in &huge[2..] {
        refused(LayerNormConfig::new(*size).init(&cpu()), &["LayerNormConfig", "weight", "size"]);
    }
    // As read from a file.
    let json = r#"{"input_size": 4, "hidden_size": 18446744073709551615, "num_layers": 4294967295}"#;
    let config: GruConfig = serde_json::from_str(json).unwrap();
    refused(config.init(&cpu(), 1), &["GruConfig", "hidden_size"]);
}

/// Every parameter is a possible array, but all of them exceed the machine. Linux would kill the process half-way.
#[test]
fn parameters_beyond_the_machine_s_memory_are_refused_together() {
    let Some(available) = host_memory::available() else {
        eprintln!("NOT CHECKED: this system does not say how much memory it has");
        return;
    };
    // 128 MB per layer.
    let layers = (available / (64 << 20)) as usize;
    let config = LstmConfig::new(2000, 2000).with_num_layers(layers);
    refused(config.init(&cpu(), 1), &["LstmConfig", "num_layers", "the limit is"]);
    let side = (2 * available / 4).isqrt() as usize;
    refused(LinearConfig::new(side, side).init(&cpu(), 1), &["LinearConfig", "input_size"]);
    refused(Tensor::zeros(&cpu(), &[side, side]), &["the limit is"]);
}

#[test]
fn tensors_of_impossible_shapes_are_refused() {
    let shapes: [&[usize]; 6] = [
        &[1 << 40],
        &[1 << 31, 2],
        &[usize::MAX],
        &[usize::MAX, usize::MAX, usize::MAX],
        &[1 << 60; 8],
        &[0, 1 << 60],
    ];
    let x = Tensor::from_slice(&cpu(), &[1.0], &[1]).unwrap();
    for dims in shapes {
        refused(Tensor::zeros(&cpu(), dims), &[&format!("{dims:?}")]);
        refused(Tensor::ones(&cpu(), dims), &[&format!("{dims:?}")]);
        refused(Tensor::full(&cpu(), dims, 2.0), &[&format!("{dims:?}")]);
        refused(Tensor::from_slice(&cpu(), &[1.0], dims), &[&format!("{dims:?}")]);
        refused(Tensor::from_vec(&cpu(), vec![1.0], dims), &[&format!("{dims:?}")]);
        refused(Tensor::from_indices(&cpu(), &[1], dims), &[&format!("{dims:?}")]);
        refused(x.reshape(dims), &[&format!("{dims:?}")]);
        refused(x.broadcast_to(dims), &[&format!("{dims:?}")]);
    }
    refused(Tensor::zeros(&cpu(), &[1; 9]), &["at most 8 axes"]);
    refused(x.broadcast_to(&[1; 9]), &["at most 8 axes"]);
    // Joined clones share memory until they are joined.
    let wide = Tensor::zeros(&cpu(), &[1 << 16, 1]).unwrap();
    refused(wide.mul(&wide.transpose(0, 1).unwrap()), &["the limit is"]);
    let many = vec![&wide; 1 << 17];
    refused(Tensor::concat(&many, 0), &["concat"]);
    refused(Tensor::stack(&many, 1), &["concat"]);
    refused(x.slice(0, 0..usize::MAX), &["slice"]);
    refused(x.select(0, usize::MAX), &["slice"]);
    refused(x.select(usize::MAX, 0), &["axis"]);
    refused(x.mean_axis(usize::MAX), &["axis"]);
}

#[test]
fn states_and_streams_of_impossible_batches_are_refused() {
    let lstm = LstmConfig::new(3, 4).init(&cpu(), 1).unwrap();
    let learnt = GruConfig::new(3, 4).with_learnable_state(true).init(&cpu(), 1).unwrap();
    for batch in [0, 1 << 30, 1 << 40, usize::MAX] {
        let name = ["batch", &batch.to_string()];
        refused(lstm.zero_state(batch), &name);
        refused(learnt.zero_state(batch), &name);
        refused(lstm.stream(batch), &name);
        refused(learnt.stream(batch), &name);
        refused(LstmState::zeros(lstm.spec(), &cpu(), batch), &name);
    }
    // A spec that nothing has checked.
    let mut spec = StackSpec::new(CellSpec::gru(), usize::MAX, usize::MAX);
    (spec.num_layers, spec.direction) = (usize::MAX, Direction::Bidirectional);
    refused(HiddenState::zeros(&spec, &cpu(), 2), &["batch = 2"]);
    assert_eq!(
        (spec.gate_rows(), spec.num_states(), spec.output_size()),
        (usize::MAX, usize::MAX, usize::MAX)
    );
}

#[test]
fn lengths_whose_sum_overflows_are_refused() {
    refused(Lengths::new([usize::MAX, usize::MAX]), &["lengths", "2^32"]);
    refused(Lengths::new([1 << 31, 1 << 31]), &["lengths", "4294967296"]);
    assert_eq!(Lengths::new([1 << 31, (1 << 31) - 1]).unwrap().total(), (1 << 32) - 1);
    let sequences = |steps, batch| rnn_runtime::ops::rnn::Sequences::new([steps, batch], None, None);
    refused(sequences(1, 1 << 40).map_err(Error::from), &["batch"]);
    refused(sequences(usize::MAX, 2).map_err(Error::from), &["batch"]);
    refused(sequences(0, 2).map_err(Error::from), &["steps"]);
}

/// The report on sizes at the edge of what is accepted does not overflow, and beyond it they are refused.
#[test]
#[cfg(feature = "gpu")]
fn explain_counts_or_refuses_every_size() {
    let device = cpu();
    let explain = |spec: &StackSpec, steps, batch| device.explain(spec, steps, batch).map_err(Error::from);
    for cell in [CellSpec::lstm(), CellSpec::gru(), CellSpec::rnn_tanh()] {
        for size in [usize::MAX, 1 << 60, 1 << 25, 0] {
            refused(explain(&StackSpec::new(cell, size, 4), 5, 2), &["input_size"]);
            refused(explain(&StackSpec::new(cell, 4, size), 5, 2), &["hidden_size"]);
            let deep = StackSpec { num_layers: size, ..StackSpec::new(cell, 4, 4) };
            refused(explain(&deep, 5, 2), &["num_layers"]);
        }
        let most =
            StackSpec { direction: Direction::Bidirectional, ..StackSpec::new(cell, 1 << 24, 1 << 24) };
        let said = explain(&most, 1, u32::MAX as usize).unwrap();
        assert!(said.kept_bytes > said.weight_bytes && said.largest_array > 1 << 58, "{said}");
        let deep = StackSpec { num_layers: 1 << 16, ..most };
        refused(explain(&deep, u32::MAX as usize, 1), &["Device::explain", "65536 layers"]);
        refused(explain(&most, 1 << 16, 1 << 16), &["batch"]);
        refused(explain(&most, usize::MAX, usize::MAX), &["batch"]);
    }
}
