//! States as bytes: which models they belong to, and those of earlier versions.

use super::*;

fn refused<S: rnn_api::train::Carried>(slots: &mut Slots<S>, bytes: &[u8], part: &str) {
    let open = slots.len();
    match slots.load(bytes) {
        Err(Error::StateDict { problems }) => assert!(problems.join("; ").contains(part), "{problems:?}"),
        other => panic!("{part:?}: {other:?}"),
    }
    assert_eq!(slots.len(), open);
}

/// Cells with h alone and of one size have equal arrays.
pub(super) fn states_of_other_cells_are_refused(device: &Device) {
    let gru = GruConfig::new(2, 4).init(device, 1).unwrap();
    let mgu = MguConfig::new(2, 4).init(device, 1).unwrap();
    let rnn = RnnConfig::new(2, 4).init(device, 1).unwrap();
    let states = [gru.zero_state(1), mgu.zero_state(1), rnn.zero_state(1)].map(Result::unwrap);
    let x = Tensor::zeros(device, &[3, 1, 2]).unwrap();
    let later = gru.forward(&x, None).unwrap().state;
    for (n, initial) in states.iter().enumerate() {
        let kind = ["Gru", "Mgu", "Rnn"][n];
        let mut slots = Slots::new(device, initial.clone());
        let id = slots.open().unwrap();
        let bytes = slots.save(id).unwrap();
        for (m, other) in states.iter().enumerate() {
            let mut others = Slots::new(device, other.clone());
            match n == m {
                true => drop(others.load(&bytes).unwrap()),
                false => {
                    refused(&mut others, &bytes, &format!("numbers cell={kind}, directions=1, these slots"))
                }
            }
        }
        // A state that the program has put together may be of any cell.
        let mut made = Slots::new(device, HiddenState::new(initial.h.clone(), 1));
        let id = made.load(&bytes).unwrap();
        slots.load(&made.save(id).unwrap()).unwrap();
    }
    // In a list, at its second place.
    let [of_gru, of_mgu, _] = &states;
    let mut pair = Slots::new(device, vec![of_gru.clone(), later]);
    let id = pair.open().unwrap();
    let bytes = pair.save(id).unwrap();
    assert!(Slots::new(device, vec![of_gru.clone(), of_gru.clone()]).load(&bytes).is_ok());
    refused(&mut Slots::new(device, vec![of_gru.clone(), of_mgu.clone()]), &bytes, "1.cell=Mgu");
}

/// Cells with h alone and of one size.
pub(super) fn states_of_other_models_are_refused_by_name(device: &Device) {
    let gru = GruConfig::new(2, 4).init(device, 1).unwrap();
    let mgu = MguConfig::new(2, 4).init(device, 1).unwrap();
    let slots = |zero: HiddenState, model: Option<&str>| {
        let slots = Slots::new(device, zero);
        model.into_iter().fold(slots, Slots::with_model)
    };
    let [of_gru, of_mgu] = [gru.zero_state(1).unwrap(), mgu.zero_state(1).unwrap()];
    let mut first = slots(of_gru.clone(), Some("a GRU, \"4\""));
    let id = first.open().unwrap();
    let bytes = first.save(id).unwrap();
    assert!(first.load(&bytes).is_ok());
    assert!(slots(of_gru.clone(), Some("a GRU, \"4\"")).load(&bytes).is_ok());
    let theirs = r#"a state of version 2, of the model "a GRU, \"4\""; these slots are of "#;
    refused(&mut slots(of_mgu.clone(), Some("an MGU")), &bytes, &format!("{theirs}the model \"an MGU\""));
    refused(&mut slots(of_mgu.clone(), None), &bytes, &format!("{theirs}a model without a name"));
    let mut unnamed = slots(of_gru, None);
    let id = unnamed.open().unwrap();
    let without = unnamed.save(id).unwrap();
    refused(
        &mut slots(of_mgu, Some("")),
        &without,
        "of a model without a name; these slots are of the model \"\"",
    );
    assert!(unnamed.load(&without).is_ok());
    // The name is under the checksum.
    let at = bytes.windows(5).position(|part| part == b"a GRU").unwrap();
    let mut renamed = bytes.clone();
    renamed[at + 2] = b'D';
    refused(&mut first, &renamed, "the content has changed");
}

/// Two layers of one direction and one layer of two directions have equal arrays.
pub(super) fn states_with_other_numbers_are_refused(device: &Device) {
    let deep = GruConfig::new(2, 4).with_num_layers(2).init(device, 1).unwrap();
    let wide = GruConfig::new(2, 4).with_bidirectional(true).init(device, 1).unwrap();
    let mut slots = [&deep, &wide].map(|layer| Slots::new(device, layer.zero_state(1).unwrap()));
    let bytes = slots.each_mut().map(|slots| {
        let id = slots.open().unwrap();
        slots.save(id).unwrap()
    });
    let [deep, wide] = &mut slots;
    refused(deep, &bytes[1], "numbers cell=Gru, directions=2, these slots have cell=Gru, directions=1");
    refused(wide, &bytes[0], "numbers cell=Gru, directions=1, these slots have cell=Gru, directions=2");
}

/// Written by the first version: h = [0.5, -0.25, 1.5] of a GRU.
const FIRST: &[u8] = b"\x78\0\0\0\0\0\0\0{\"__metadata__\":{\"rnn.slot\":\"1\",\"rnn.crc32\":\"9d1f7642\"},\
    \"h\":{\"dtype\":\"F32\",\"shape\":[1,1,3],\"data_offsets\":[0,12]}}      \0\0\0?\0\0\x80\xbe\0\0\xc0?";

pub(super) fn states_of_the_first_version_are_read(device: &Device) {
    let zero = GruConfig::new(2, 3).init(device, 1).unwrap().zero_state(1).unwrap();
    let mut slots = Slots::new(device, zero.clone());
    let id = slots.load(FIRST).unwrap();
    assert_eq!(slots.gather(&[id]).unwrap().h.to_vec().unwrap(), [0.5, -0.25, 1.5]);
    let mut named = Slots::new(device, zero).with_model("a GRU");
    refused(
        &mut named,
        FIRST,
        "a state of version 1, of a model without a name; these slots are of the model",
    );
    let at = FIRST.windows(4).position(|part| part == b"\"1\",").unwrap();
    let mut later = FIRST.to_vec();
    later[at + 1] = b'7';
    refused(&mut slots, &later, "a stream of version \"7\"; this program reads versions 1 and 2");
}
