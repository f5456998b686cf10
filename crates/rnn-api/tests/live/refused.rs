//! Bad input is refused by name and changes nothing.

use super::*;

/// The text of the error of a call.
fn text<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn slices_of_another_length_are_refused_and_the_state_stays() {
    let layer = LstmConfig::new(2, 4).init(&cpu(), 1).unwrap();
    let mut stream = layer.stream(3).unwrap();
    let mut y = [0.0; 24];
    stream.step_into(&[0.5; 6], &mut y[..12]).unwrap();
    let before = stream.state().h.to_vec().unwrap();
    let length = |op, arg, expected, got| Err(LiveError::Length { op, arg, expected, got });
    assert_eq!(stream.step_into(&[0.5; 5], &mut y[..12]), length("step_into", "x", 6, 5));
    assert_eq!(stream.step_into(&[0.5; 6], &mut y[..13]), length("step_into", "y", 12, 13));
    assert_eq!(stream.block_into(&[0.5; 12], &mut y[..12]), length("block_into", "y", 24, 12));
    let samples = LiveError::Samples { op: "block_into", arg: "x", of: 6, got: 7 };
    assert_eq!(stream.block_into(&[0.5; 7], &mut y[..12]), Err(samples));
    assert_eq!(stream.state().h.to_vec().unwrap(), before);
    assert!(
        Error::from(samples).to_string().contains("whole samples of 6 values"),
        "{}",
        Error::from(samples)
    );

    let mut pipeline = Pipeline::builder(2).unwrap().recurrent(&layer).unwrap().build().unwrap();
    let before = pipeline.state();
    for (x, y) in [(3, 4), (4, 4), (2, 8), (0, 1)] {
        assert!(pipeline.process(&vec![1.0; x], &mut vec![0.0; y]).is_err(), "{x} {y}");
    }
    assert_eq!(pipeline.state(), before);
    pipeline.process(&[], &mut []).unwrap();
}

#[test]
fn layers_that_cannot_run_in_real_time_are_refused_by_their_option() {
    let lstm = || LstmConfig::new(1, 4);
    let gru = GruConfig::new(1, 4).with_reset_after(false);
    let configs: [(&str, AnyRnnConfig); 3] = [
        ("layer_norm", lstm().with_layer_norm(true).into()),
        ("proj_size", lstm().with_proj_size(2).into()),
        ("reset_after", gru.into()),
    ];
    for (option, config) in configs {
        let layer = config.init(&cpu(), 1).unwrap();
        let mut y = vec![0.0; layer.spec().state_size()];
        let mut stream = layer.stream(1).unwrap();
        assert!(text(stream.step_into(&[1.0], &mut y)).contains(option));
        let before = stream.state().h.to_vec().unwrap();
        assert!(text(stream.reset_in_place()).contains(option));
        assert_eq!(stream.state().h.to_vec().unwrap(), before);
        assert!(text(Pipeline::builder(1).unwrap().recurrent(&layer)).contains(option));
    }
    let both = lstm().with_bidirectional(true).init(&cpu(), 1).unwrap();
    assert!(text(Pipeline::builder(1).unwrap().recurrent(&both)).contains("bidirectional"));
    let reverse = lstm().with_direction(Direction::Reverse).init(&cpu(), 1).unwrap();
    assert!(text(Pipeline::builder(1).unwrap().recurrent(&reverse)).contains("Reverse"));
}

#[test]
fn stages_that_do_not_fit_are_refused() {
    let start = || Pipeline::builder(3).unwrap();
    let layer = GruConfig::new(2, 4).init(&cpu(), 1).unwrap();
    assert!(text(Pipeline::builder(0)).contains("input_size"));
    assert!(text(start().recurrent(&layer)).contains("an input of 3"));
    let linear = LinearConfig::new(4, 5).init(&cpu(), 1).unwrap();
    assert!(text(start().layer(&linear)).contains("an input of 3"));
    let norm = LayerNormConfig::new(3).init(&cpu()).unwrap();
    assert!(text(start().layer(&norm)).contains("LayerNorm"));
    let wide = LinearConfig::new(3, 5).init(&cpu(), 1).unwrap();
    assert!(text(start().linear(&wide).unwrap().residual()).contains("3 inputs"));
}

#[test]
fn states_of_other_networks_are_refused() {
    let of = |layer: &Lstm| Pipeline::builder(1).unwrap().recurrent(layer).unwrap().build().unwrap();
    let layer = |hidden, layers| LstmConfig::new(1, hidden).with_num_layers(layers).init(&cpu(), 1).unwrap();
    let mut pipeline = of(&layer(8, 1));
    pipeline.process(&[1.0], &mut [0.0; 8]).unwrap();
    let before = pipeline.state();
    // The second has as many values.
    for mut other in [of(&layer(7, 1)), of(&layer(4, 2))] {
        assert_eq!(pipeline.set_state(&other.state()), Err(LiveError::State));
        assert_eq!(other.copy_state(&mut before.clone()), Err(LiveError::State));
        assert_eq!(other.set_state(&before), Err(LiveError::State));
    }
    let json = serde_json::to_string(&before).unwrap();
    let longer: PipelineState =
        serde_json::from_str(&json.replace(r#""values":["#, r#""values":[0.0,"#)).unwrap();
    assert_eq!(pipeline.set_state(&longer), Err(LiveError::State));
    assert_eq!(pipeline.state(), before);
}

/// Equal sizes, and h alone: only the cell tells them apart.
#[test]
fn states_of_other_cells_are_refused_and_those_without_a_cell_are_read() {
    let of = |config: AnyRnnConfig| {
        let layer = config.init(&cpu(), 1).unwrap();
        Pipeline::builder(1).unwrap().recurrent(&layer).unwrap().build().unwrap()
    };
    let configs: [AnyRnnConfig; 3] =
        [GruConfig::new(1, 8).into(), MguConfig::new(1, 8).into(), RnnConfig::new(1, 8).into()];
    let mut pipelines = configs.map(of);
    for pipeline in &mut pipelines {
        pipeline.process(&[1.0], &mut [0.0; 8]).unwrap();
    }
    let states = [0, 1, 2].map(|n: usize| pipelines[n].state());
    for (n, pipeline) in pipelines.iter_mut().enumerate() {
        for (m, state) in states.iter().enumerate() {
            let expected = if n == m { Ok(()) } else { Err(LiveError::State) };
            assert_eq!(pipeline.set_state(state), expected, "{n} {m}");
            assert_eq!(pipeline.copy_state(&mut state.clone()), expected, "{n} {m}");
        }
        assert_eq!(pipeline.state(), states[n]);
    }
    // As it was kept before.
    let json = serde_json::to_string(&states[1]).unwrap();
    let (before, after) = (json.replace(r#","cells":["Mgu"]"#, ""), r#""cells":["Gru"]"#);
    assert!(before.len() < json.len(), "{json}");
    let old: PipelineState = serde_json::from_str(&before).unwrap();
    pipelines[1].reset();
    pipelines[1].set_state(&old).unwrap();
    assert_eq!(pipelines[1].state(), states[1]);
    let foreign: PipelineState = serde_json::from_str(&json.replace(r#""cells":["Mgu"]"#, after)).unwrap();
    assert_eq!(pipelines[1].set_state(&foreign), Err(LiveError::State));
}

/// Widths come from files, too. A stage took its memory when it was added, and aborted the process.
#[test]
fn widths_beyond_the_memory_are_refused_when_a_pipeline_is_built() {
    for width in [1_000_000_000_000, 1 << 62, usize::MAX] {
        let start = || Pipeline::builder(width).unwrap();
        let builders = [
            start(),
            start().activation(Activation::Tanh),
            start().unary(UnaryOp::Exp),
            start().softmax(),
            start().residual().unwrap(),
        ];
        for builder in builders {
            let error = builder.build().unwrap_err();
            assert!(matches!(error, Error::Runtime(rnn_runtime::Error::TooLarge { .. })), "{error}");
            let text = error.to_string();
            assert!(text.contains("PipelineBuilder") && text.contains(&width.to_string()), "{text}");
        }
    }
    // Each of these has room, all of them do not.
    if rnn_runtime::host_memory::available().is_some() {
        let many = (0..1 << 16).fold(Pipeline::builder(1 << 22).unwrap(), |stages, _| stages.softmax());
        assert!(text(many.build()).contains("the outputs of its stages"));
    }
}
