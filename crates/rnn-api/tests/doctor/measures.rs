//! Measures against closed forms and naive sums.

use crate::task::Data;
use rnn_api::doctor::{GateStatistics, GradientFlow, MemoryHorizon};
use rnn_api::nn::ForwardArgs;
use rnn_api::prelude::*;
use rnn_api::{Device, Result};

fn close(got: f64, want: f64) -> bool {
    (got - want).abs() <= 1e-5 * want.abs().max(1e-6)
}

/// h' = u h + w x, one unit.
fn linear(device: &Device, u: f32) -> Result<Rnn> {
    RnnConfig::new(1, 1)
        .with_activation(Activation::Identity)
        .with_recurrent_init(Init::Constant(u))
        .with_input_init(Init::Constant(0.5))
        .init(device, 1)
}

#[test]
fn flow_and_memory_of_a_linear_unit_are_powers() -> Result<()> {
    let device = Device::cpu();
    let (steps, lengths) = (9, [9usize, 4, 6]);
    let rnn = linear(&device, 0.7)?;
    let x = Tensor::ones(&device, &[steps, 3, 1])?;
    let rows = Lengths::new(lengths)?;
    let last = |x: &Tensor| {
        rnn.forward_with(x, ForwardArgs { lengths: Some(&rows), ..ForwardArgs::default() })?.last()
    };
    let (flow, gradients) = GradientFlow::of(&rnn, || last(&x)?.sum_all())?;
    assert_eq!((flow.layers.len(), flow.skipped.len(), gradients.is_empty()), (1, 0, false));
    let layer = &flow.layers[0];
    assert_eq!((layer.layer.as_str(), layer.call, layer.reverse, &layer.c), ("model", 0, false, &None));
    for back in 0..steps {
        let rows = lengths.iter().filter(|&&length| back < length).count() as f64;
        let want = 0.7f64.powi(back as i32) * rows.sqrt();
        assert!(close(layer.h_back[back], want), "{back}: {} and {want}", layer.h_back[back]);
        let at_step: f64 = lengths
            .iter()
            .filter(|&&length| back < length)
            .map(|&length| 0.49f64.powi((length - 1 - back) as i32))
            .sum();
        assert!(close(layer.h[back], at_step.sqrt()), "{:?}", layer.h);
    }
    // 0.7^k / sqrt(3) of the rows that are left falls below a tenth.
    assert_eq!(layer.horizon(0.1), Some(6), "{:?}", layer.h_back);
    assert_eq!(layer.horizon(1e-6), None);

    let memory = MemoryHorizon::of(&x, Some(&lengths), |x| last(x))?;
    assert_eq!((memory.lags.len(), memory.steps), (9, 9));
    for (&lag, &effect) in memory.lags.iter().zip(&memory.effect) {
        let want = 0.5 * 0.7f64.powi(lag as i32);
        // The output is rounded, and its change is a hundredth.
        assert!((effect / want - 1.0).abs() < 1e-3, "{lag}: {effect} and {want}");
    }
    assert_eq!(memory.horizon(0.1), Some(7));
    assert_eq!(memory.horizon(1e-9), None);
    Ok(())
}

#[test]
fn every_call_and_direction_has_its_flow() -> Result<()> {
    let device = Device::cpu();
    let lstm = LstmConfig::new(1, 3).with_num_layers(2).with_bidirectional(true).with_zoneout(0.2, 0.3);
    let lstm = lstm.with_recurrent_dropout(0.2).init(&device, 1)?;
    let gru = GruConfig::new(6, 4).init(&device, 2)?;
    let normal = GruConfig::new(4, 4).with_layer_norm(true).init(&device, 3)?;
    let (x, _) = Data::new(2, 5, 3, |x| x[0]).all()?;
    let model = (&lstm, &gru, &normal);
    let (flow, _) = GradientFlow::of(&model, || {
        let y = lstm.forward(&x, None)?.y;
        let first = gru.forward(&y, None)?;
        let second = gru.forward(&y, Some(&first.state))?;
        normal.forward(&second.y, None)?.y.mean_all()
    })?;
    let of = |n: usize| {
        let layer = &flow.layers[n];
        (layer.layer.as_str(), layer.call, layer.stack_layer, layer.reverse, layer.c.is_some())
    };
    assert_eq!(flow.layers.len(), 6);
    assert_eq!([of(0), of(1)], [("0", 0, 0, false, true), ("0", 0, 0, true, true)]);
    assert_eq!(
        [of(3), of(4), of(5)],
        [("0", 0, 1, true, true), ("1", 0, 0, false, false), ("1", 1, 0, false, false)]
    );
    assert_eq!((flow.skipped.len(), flow.skipped[0].layer.as_str()), (1, "2"));
    assert!(flow.skipped[0].why.contains("layer normalisation"));
    assert!(flow.layers.iter().all(|layer| layer.h.iter().all(|norm| *norm > 0.0)));
    // A round trip through JSON.
    let text = serde_json::to_string(&flow).expect("plain data");
    assert_eq!(serde_json::from_str::<GradientFlow>(&text).expect("the same"), flow);
    Ok(())
}

/// The gradients, and everything else, are those of a pass that nobody looks at.
#[test]
fn looking_changes_nothing() -> Result<()> {
    let device = Device::cpu();
    let lstm = LstmConfig::new(1, 5).with_num_layers(2).with_dropout(0.3).init(&device, 1)?;
    let (x, y) = Data::new(3, 7, 3, |x| x[0]).all()?;
    let positions = lstm.draw_positions();
    let loss = || lstm.forward(&x, None)?.last()?.mean_axis(1)?.reshape(&[3, 1])?.mse(&y);
    let plain = loss()?.backward()?;
    lstm.set_draw_positions(&positions)?;
    let (flow, looked) = GradientFlow::of(&lstm, loss)?;
    assert_eq!(flow.layers.len(), 2);
    for param in lstm.parameters() {
        let (a, b) = (plain.get(&param).expect("used"), looked.get(&param).expect("used"));
        assert_eq!(a.to_vec()?, b.to_vec()?);
    }
    Ok(())
}

#[test]
fn statistics_are_those_of_the_trace() -> Result<()> {
    let device = Device::cpu();
    let lstm = LstmConfig::new(1, 3).with_bidirectional(true).with_forget_bias(3.0).init(&device, 1)?;
    let (x, _) = Data::new(2, 6, 3, |x| x[0]).all()?;
    let x = x.scale(4.0)?;
    let lengths = Lengths::new([6, 2])?;
    let args = || ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
    let statistics = GateStatistics::of(&lstm, || lstm.forward_with(&x, args()))?;
    let (_, traces) = lstm.forward_traced(&x, args(), &[0])?;
    let direct = GateStatistics::of_traces("model", lstm.spec(), (&[0], &traces), Some(&lengths))?;
    assert_eq!(statistics, direct);
    let gates = traces[0].gates.to_vec()?; // [T, B, D, G, H]
    for (d, layer) in statistics.layers.iter().enumerate() {
        assert_eq!((layer.reverse, layer.stack_layer), (d == 1, 0));
        let names: Vec<&str> = layer.gates.iter().map(|gate| gate.name.as_str()).collect();
        assert_eq!(names, ["i", "f", "g", "o", "c", "h"]);
        for (g, gate) in layer.gates.iter().take(4).enumerate() {
            let mut values = Vec::new();
            for (t, b) in (0..6).flat_map(|t| [(t, 0), (t, 1)]).filter(|&(t, b)| b == 0 || t < 2) {
                let at = (((t * 2 + b) * 2 + d) * 4 + g) * 3;
                values.extend(gates[at..at + 3].iter().map(|&value| f64::from(value)));
            }
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            let [low, high] = if gate.name == "g" { [-1.0, 1.0] } else { [0.0, 1.0] };
            let end = (high - low) / 20.0;
            let share = |is: &dyn Fn(f64) -> bool| values.iter().filter(|v| is(**v)).count() as f64 / n;
            assert_eq!((gate.count, gate.range, gate.bounded), (24, [low, high], true));
            assert!((gate.mean - mean).abs() < 1e-9 && (gate.std - std).abs() < 1e-9, "{gate:?}");
            assert_eq!(gate.low, share(&|v| v < low + end), "{gate:?}");
            assert_eq!(gate.high, share(&|v| v >= high - end), "{gate:?}");
            assert_eq!(gate.histogram.iter().sum::<u64>(), 24);
        }
        let forget = layer.gate("f").expect("an LSTM has one");
        for (unit, steps) in forget.units.iter().zip(&layer.time_constants) {
            assert!(close(*steps, 1.0 / (1.0 - unit.mean)));
        }
    }
    let wrong = GateStatistics::of_traces("model", lstm.spec(), (&[0, 1], &traces), None);
    assert!(wrong.unwrap_err().to_string().contains("traces"));
    Ok(())
}

#[test]
fn wrong_arguments_are_named() -> Result<()> {
    let device = Device::cpu();
    let x = Tensor::ones(&device, &[4, 2, 1])?;
    let identity = |x: &Tensor| Ok(x.clone());
    let error = MemoryHorizon::of(&x.reshape(&[8, 1])?, None, identity).unwrap_err().to_string();
    assert!(error.contains("[T, B, I]"), "{error}");
    for lengths in [&[4usize][..], &[4, 5], &[0, 4]] {
        let error = MemoryHorizon::of(&x, Some(lengths), identity).unwrap_err().to_string();
        assert!(error.contains("B = 2 numbers from 1 to T = 4"), "{error}");
    }
    let error = GradientFlow::of(&linear(&device, 0.5)?, || x.mean_all()).unwrap_err().to_string();
    assert!(error.contains("graph") || error.contains("depends"), "{error}");
    Ok(())
}
