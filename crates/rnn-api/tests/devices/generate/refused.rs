//! Bad input.

use super::network::{Network, V};
use rnn_api::generate::{BeamSearch, Generation};
use rnn_api::prelude::*;

type Outcome = rnn_api::Result<()>;

fn refused(outcome: Outcome, what: &str) {
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains(what), "{error:?} does not say {what:?}");
}

/// Both ways to generate, which share their checks.
fn both(
    network: &Network,
    device: &Device,
    prompts: &[&[u32]],
    stop: &[u32],
    banned: &[u32],
) -> [Outcome; 2] {
    let start = || network.start(prompts.len().max(1));
    let generation = Generation::new(3).with_stop(stop.iter().copied()).with_banned(banned.iter().copied());
    let search = BeamSearch::new(2, 3).with_stop(stop.iter().copied()).with_banned(banned.iter().copied());
    [
        generation.generate(device, prompts, start(), network.step()).map(drop),
        search.search(device, prompts, &start(), network.step()).map(drop),
    ]
}

pub(crate) fn bad_settings_and_prompts(device: &Device) {
    let network = Network::new(device, 1);
    for outcome in both(&network, device, &[], &[], &[]) {
        refused(outcome, "prompts must be at least one, got none");
    }
    for outcome in both(&network, device, &[&[1], &[]], &[], &[]) {
        refused(outcome, "prompts must be of at least one symbol each, got none in row 1");
    }
    for outcome in both(&network, device, &[&[1]], &[0, 7], &[]) {
        refused(outcome, "stop must be below V = 7, got 7");
    }
    for outcome in both(&network, device, &[&[1]], &[], &[u32::MAX]) {
        refused(outcome, "banned must be below V = 7, got 4294967295");
    }
    let all: Vec<u32> = (0..V as u32).collect();
    for outcome in both(&network, device, &[&[1], &[2]], &[], &all) {
        refused(outcome, "none in row 0 beside the banned ones");
    }
    // A symbol that the network does not have is its own error.
    for outcome in both(&network, device, &[&[1, 7]], &[], &[]) {
        refused(outcome, "is 7, but only 0..7 exist");
    }
    let sampled = |sampling: Sampling| {
        let generation = Generation::new(3).with_sampling(sampling);
        let step = |_: &Tensor, _: &GruState| panic!("settings are checked before the network runs");
        generation.generate(device, &[[1]], network.start(1), step).map(drop)
    };
    refused(sampled(Sampling::new().with_temperature(f32::NAN)), "temperature must be finite");
    refused(sampled(Sampling::new().with_top_k(0)), "top_k must be at least 1");
    refused(sampled(Sampling::new().with_top_p(1.5)), "top_p must be in (0, 1]");
    refused(sampled(Sampling::new().with_min_p(2.0)), "min_p must be in [0, 1]");
    let searched =
        |search: BeamSearch| search.search(device, &[[1]], &network.start(1), network.step()).map(drop);
    refused(searched(BeamSearch::new(0, 3)), "width must be at least 1, got 0");
    refused(searched(BeamSearch::new(usize::MAX, 3)), "width must be of fewer than 2^32 rows");
    // These need 160 GB.
    match rnn_runtime::host_memory::available() {
        Some(bytes) if bytes < 100 << 30 => {
            let json = r#"{"width": 4000000000, "max_length": 3}"#;
            refused(searched(serde_json::from_str(json).unwrap()), "width = 4000000000 for 1 prompts");
            refused(searched(BeamSearch::new(u32::MAX as usize, 0)), "width = 4294967295 for 1 prompts");
        }
        bytes => eprintln!("NOT CHECKED: wide beams on a machine with {bytes:?} bytes"),
    }
    refused(searched(BeamSearch::new(2, 3).with_results(3)), "results must be in [1, 2], got 3");
    refused(searched(BeamSearch::new(2, 3).with_results(0)), "results must be in [1, 2], got 0");
    for penalty in [-0.5, f32::NAN, f32::INFINITY, 1e-40] {
        refused(
            searched(BeamSearch::new(2, 3).with_length_penalty(penalty)),
            "length_penalty must be finite, not negative and not subnormal",
        );
    }
    let none = BeamSearch::new(2, 0).search(device, &[[1]], &network.start(1), network.step()).unwrap();
    assert_eq!((none[0].len(), none[0][0].symbols.len(), none[0][0].stop), (1, 0, None));
}

pub(crate) fn bad_logits_and_states(device: &Device) {
    // The logits of two rows; `bad` in row 1 of the second call.
    let with = |bad: f32| {
        let mut calls = 0;
        move |symbols: &Tensor, _: &()| {
            calls += 1;
            let rows = symbols.dims()[1];
            let mut values = vec![0.5; symbols.dims()[0] * rows * 4];
            if calls == 2 {
                values[4..8].fill(bad);
            }
            Ok((Tensor::from_vec(symbols.device(), values, &[symbols.dims()[0], rows, 4])?, ()))
        }
    };
    let prompts = [[1], [2]];
    let search = BeamSearch::new(1, 5);
    for (bad, what) in
        [(f32::NAN, "NaN at 0 of row 1"), (f32::INFINITY, "inf at 0 of row 1"), (f32::NEG_INFINITY, "row 1")]
    {
        let generation = Generation::new(5);
        let mut symbols = generation.symbols(device, &prompts, (), with(bad)).unwrap();
        assert!(symbols.next().unwrap().is_ok() && symbols.next().unwrap().is_ok());
        refused(symbols.next().unwrap().map(drop), what);
        assert!(symbols.next().is_none(), "an error ends it");
        refused(search.search(device, &prompts, &(), with(bad)).map(drop), what);
    }
    let shaped = |dims: &'static [usize]| {
        move |symbols: &Tensor, _: &()| Ok((Tensor::zeros(symbols.device(), dims)?, ()))
    };
    for dims in [&[2, 4][..], &[1, 3, 4], &[2, 2, 4]] {
        refused(Generation::new(5).generate(device, &prompts, (), shaped(dims)).map(drop), "[1, 2, V]");
        refused(search.search(device, &prompts, &(), shaped(dims)).map(drop), "[1, 2, V]");
    }
    let failing = |_: &Tensor, _: &()| Err(rnn_api::Error::other("no network"));
    refused(Generation::new(5).generate(device, &prompts, (), failing).map(drop), "no network");
    let network = Network::new(device, 1);
    let outcome = search.search(device, &prompts, &network.start(3), network.step()).map(drop);
    refused(outcome, "state `h` must be [L, B, H] with B = 2, got [1, 3, 9]");
    let wide = BeamSearch::new(4, 5).search(device, &prompts, &network.start(4), network.step()).map(drop);
    refused(wide, "state `h` must be [L, B, H] with B = 2 or 8, got [1, 4, 9]");
    // Parts of a pair that have different rows.
    let pair = (network.start(2), network.start(8));
    let step = |symbols: &Tensor, state: &(GruState, GruState)| {
        let (logits, next) = network.step()(symbols, &state.0)?;
        Ok((logits, (next.clone(), next)))
    };
    let outcome = BeamSearch::new(4, 5).search(device, &prompts, &pair, step).map(drop);
    refused(outcome, "state `1.h` must be [L, B, H] with B = 2, got [1, 8, 9]");
}
