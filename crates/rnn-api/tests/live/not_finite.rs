//! NaN and infinities in a state: they stay, change nothing else, and a reset removes them.

use super::*;

fn pipeline(layer: &AnyRnn) -> Pipeline {
    Pipeline::builder(2).unwrap().recurrent(layer).unwrap().build().unwrap()
}

const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// H = 11 leaves padded lanes, which a NaN reaches, too.
#[test]
fn a_reset_gives_the_bits_of_a_fresh_pipeline() {
    for (name, layer) in layers(2, 11) {
        let x = uniform(3, 2 * 8);
        let (mut want, mut got) = ([0.0; 8 * 11], [0.0; 8 * 11]);
        pipeline(&layer).process(&x, &mut want).unwrap();
        let mut used = pipeline(&layer);
        used.process(&[f32::NAN, 0.5, 0.5, 0.5], &mut got[..22]).unwrap();
        assert!(!used.is_finite(), "{name}");
        used.reset();
        assert!(used.is_finite(), "{name}");
        used.process(&x, &mut got).unwrap();
        assert_eq!(bits(&got), bits(&want), "{name}");
        let kept = pipeline(&layer).state();
        used.process(&[0.5, f32::NAN], &mut got[..11]).unwrap();
        used.set_state(&kept).unwrap();
        used.process(&x, &mut got).unwrap();
        assert_eq!(bits(&got), bits(&want), "{name}, a state in place of a reset");
    }
}

#[test]
fn a_value_that_is_not_finite_is_found_in_every_layer_and_in_c() {
    let config = RnnConfig::new(1, 3).with_activation(Activation::Identity).with_num_layers(2);
    let layer = config.init(&cpu(), 1).unwrap();
    for bad in BAD {
        let mut network = Pipeline::builder(1).unwrap().recurrent(&layer).unwrap().build().unwrap();
        network.process(&[bad], &mut [0.0; 3]).unwrap();
        assert!(!network.is_finite(), "{bad}");
    }
    // A learnt initial state puts a value at any place.
    let lstm = LstmConfig::new(1, 3).with_num_layers(2).with_learnable_state(true).init(&cpu(), 1).unwrap();
    let network = || Pipeline::builder(1).unwrap().recurrent(&lstm).unwrap().build().unwrap();
    assert!(network().is_finite());
    for place in 0..12 {
        let mut values = lstm.state_dict();
        for (first, name) in [(0, "h_0"), (6, "c_0")] {
            let of = (first..first + 6).map(|n| if n == place { BAD[n % 3] } else { 0.0 }).collect();
            let of = Tensor::from_vec(&cpu(), of, values[name].dims()).unwrap();
            values.insert(name.to_string(), of.into_array());
        }
        lstm.load_state_dict(&values).unwrap();
        assert!(!network().is_finite(), "{place}");
        let mut stream = lstm.stream(2).unwrap();
        assert!(!stream.is_finite().unwrap(), "{place}");
        stream.set_state(&LstmState::zeros(lstm.spec(), &cpu(), 2).unwrap()).unwrap();
        assert!(stream.is_finite().unwrap(), "{place}");
    }
    assert!(Pipeline::builder(1).unwrap().softmax().build().unwrap().is_finite());
}

/// Rows share a stack, so what a row leaves behind must not reach the next.
#[test]
fn a_row_that_is_not_finite_changes_no_bit_of_its_neighbours() {
    for (name, layer) in layers(2, 11) {
        let [mut clean, mut spoilt] = [(); 2].map(|()| layer.stream(3).unwrap());
        let (mut want, mut got) = ([0.0; 33], [0.0; 33]);
        for step in 0..4 {
            let mut x = uniform(step, 6);
            clean.step_into(&x, &mut want).unwrap();
            x[2] = BAD[step as usize % 3];
            spoilt.step_into(&x, &mut got).unwrap();
            assert_eq!(bits(&got[..11]), bits(&want[..11]), "{name}, step {step}, before");
            assert_eq!(bits(&got[22..]), bits(&want[22..]), "{name}, step {step}, after");
        }
        assert!(clean.is_finite().unwrap() && !spoilt.is_finite().unwrap(), "{name}");
        let mut fresh = layer.stream(3).unwrap();
        spoilt.reset_in_place().unwrap();
        clean.reset().unwrap();
        assert!(spoilt.is_finite().unwrap(), "{name}");
        for step in 0..3 {
            let x = uniform(9 + step, 6);
            fresh.step_into(&x, &mut want).unwrap();
            for stream in [&mut spoilt, &mut clean] {
                stream.step_into(&x, &mut got).unwrap();
                assert_eq!(bits(&got), bits(&want), "{name}, step {step} after a reset");
            }
        }
    }
}

#[test]
fn a_reset_in_place_goes_back_to_the_state_that_the_layer_has_learnt() {
    let config = LstmConfig::new(2, 5).with_num_layers(2).with_learnable_state(true);
    let layer = config.init(&cpu(), 1).unwrap();
    let mut values = layer.state_dict();
    for (seed, name) in [(1, "h_0"), (2, "c_0")] {
        let of = Tensor::from_vec(&cpu(), uniform(seed, 10), values[name].dims()).unwrap();
        values.insert(name.to_string(), of.into_array());
    }
    let mut stream = layer.stream(3).unwrap();
    layer.load_state_dict(&values).unwrap();
    let all = |stream: &LstmStream| {
        let state = stream.state();
        [state.h.to_vec().unwrap(), state.c.to_vec().unwrap()]
    };
    let mut y = [0.0; 15];
    stream.step_into(&[0.5; 6], &mut y).unwrap();
    stream.reset_in_place().unwrap();
    assert_eq!(all(&stream), [[0.0; 30], [0.0; 30]], "as it was when the stream was made");
    stream.refresh().unwrap();
    stream.step_into(&[0.5; 6], &mut y).unwrap();
    stream.reset_in_place().unwrap();
    assert_eq!(all(&stream), all(&layer.stream(3).unwrap()));
    assert_ne!(all(&stream)[0], [0.0; 30]);
}
