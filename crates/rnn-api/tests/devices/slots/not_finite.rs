//! One stream that is not finite.

use super::*;

/// The same batches twice, once with a NaN in the input of one stream: it is alone in that, until it is reset.
pub(super) fn a_stream_that_is_not_finite_changes_no_bit_of_the_others(device: &Device) {
    let model = model(device);
    let [mut clean, mut spoilt] = [(); 2].map(|()| slots(device, &model));
    let [ids, others] = [&mut clean, &mut spoilt].map(|slots| [0; 4].map(|_| slots.open().unwrap()));
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    for round in 0..4 {
        let mut x = uniform(round, 2 * 4);
        let want = together(&model, &mut clean, &ids, &x);
        x[3] = if round % 2 == 0 { f32::NAN } else { f32::INFINITY };
        let got = together(&model, &mut spoilt, &others, &x);
        assert_eq!(bits(&got[..3]), bits(&want[..3]), "round {round}");
        assert_eq!(bits(&got[6..]), bits(&want[6..]), "round {round}");
        assert!(got[3..6].iter().any(|value| !value.is_finite()), "round {round}");
    }
    let finite = |slots: &Slots<State>, ids: [SlotId; 4]| ids.map(|id| slots.is_finite(id).unwrap());
    assert_eq!((finite(&clean, ids), finite(&spoilt, others)), ([true; 4], [true, false, true, true]));
    let error = spoilt.save(others[1]).unwrap_err().to_string();
    assert!(error.contains("state must be finite"), "{error}");
    // A branch of it is as it is.
    let branch = spoilt.fork(others[1]).unwrap();
    assert!(!spoilt.is_finite(branch).unwrap());
    spoilt.reset(others[1]).unwrap();
    clean.reset(ids[1]).unwrap();
    assert_eq!(finite(&spoilt, others), [true; 4]);
    for round in 4..8 {
        let x = uniform(round, 2 * 4);
        let want = together(&model, &mut clean, &ids, &x);
        assert_eq!(bits(&together(&model, &mut spoilt, &others, &x)), bits(&want), "round {round}");
    }
    // Its place, when another stream has it.
    spoilt.close(branch).unwrap();
    let next = spoilt.open().unwrap();
    assert!(spoilt.is_finite(next).unwrap() && spoilt.is_finite(branch).is_err());
}

/// A stream of its own: every device finds a NaN in it, and a reset ends it.
pub(super) fn a_stream_of_one_layer_is_reset(device: &Device) {
    let lstm = LstmConfig::new(2, 5).with_num_layers(2).init(device, 1).unwrap();
    let tensor = |x: &[f32]| Tensor::from_slice(device, x, &[2, 2]).unwrap();
    let bits = |y: Tensor| y.to_vec().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let [mut fresh, mut used] = [(); 2].map(|()| lstm.stream(2).unwrap());
    used.step(&tensor(&[0.5, f32::NAN, 0.5, 0.25])).unwrap();
    assert!(!used.is_finite().unwrap() && fresh.is_finite().unwrap());
    used.reset().unwrap();
    assert!(used.is_finite().unwrap());
    let x = tensor(&uniform(3, 4));
    assert_eq!(bits(used.step(&x).unwrap()), bits(fresh.step(&x).unwrap()));
    let before = used.state().h.to_vec().unwrap();
    match used.reset_in_place() {
        Ok(()) => assert!(device.is_cpu() && used.state().h.to_vec().unwrap() == [0.0; 20]),
        Err(error) => {
            assert!(!device.is_cpu() && error.to_string().contains("only on the CPU"), "{error}");
            assert_eq!(used.state().h.to_vec().unwrap(), before);
        }
    }
}
