//! A stack computes what its nodes computed one by one.

use crate::graph::{Builder, Layer, Op, Port, Recurrent, Slot};
use crate::value::{Host, Value};
use crate::{Model, Outputs};
use rnn_api::nn::Module;
use rnn_api::prelude::*;
use rnn_testing::data::uniform;
use std::sync::Arc;

const SIZES: (usize, usize, usize) = (5, 2, 3);

fn device() -> Device {
    Device::cpu()
}

fn tensor(seed: u64, dims: &[usize]) -> Tensor {
    Tensor::from_slice(&device(), &uniform(seed, dims.iter().product()), dims).unwrap()
}

/// How the steps of one node come to the next.
#[derive(Clone, Copy)]
enum Way {
    Squeeze,
    Turn,
    Split,
}

struct Net {
    direction: Direction,
    batch_first: bool,
    way: Way,
    /// Whether states are given and returned, and rows have lengths.
    states: bool,
    lengths: bool,
}

/// Two LSTM nodes and what is between them. `other` makes the second one different.
fn net(net: &Net, other: bool) -> Model {
    let device = device();
    let mut graph = Builder::new(&device);
    let mut inputs = vec![graph.port("x", None)];
    let mut x = inputs[0].slot;
    let lengths = net.lengths.then(|| {
        inputs.push(graph.port("lengths", None));
        inputs[1].slot
    });
    let mut outputs = Vec::new();
    let (_, _, size) = SIZES;
    let directions = if net.direction == Direction::Bidirectional { 2 } else { 1 };
    for n in 0..2 {
        let name = ["low", "high"][n];
        graph.begin(name, "LSTM");
        let input = if n == 0 { size } else { directions * size };
        let config = LstmConfig::new(input, size).with_direction(net.direction);
        let config = if other && n == 1 { config.with_clip(0.5) } else { config };
        let lstm = config.init(&device, n as u64 + 1).unwrap();
        let passes = vec![Layer::Lstm(lstm)];
        let layer = Recurrent { passes, batch_first: net.batch_first, above: Vec::new() };
        let mut state = |what: &str| {
            net.states.then(|| {
                inputs.push(graph.port(&format!("{what}{n}"), None));
                inputs.last().unwrap().slot
            })
        };
        let given = [state("h"), state("c")];
        let made = graph.nodes(Op::Recurrent(Arc::new(layer)), vec![Some(x), lengths, given[0], given[1]], 3);
        if net.states {
            let named = |(what, &slot): (&str, &Slot)| Port::new(&format!("{what}{n}_out"), slot);
            outputs.extend(["h", "c"].into_iter().zip(&made[1..]).map(named));
        }
        x = if n == 1 { made[0] } else { arranged(&mut graph, net, made[0]) };
    }
    outputs.push(Port::new("y", x));
    Model::new(graph.finish(inputs, outputs), &device).unwrap()
}

fn arranged(graph: &mut Builder<'_>, net: &Net, y: Slot) -> Slot {
    let axis = if net.batch_first { 2 } else { 1 };
    match net.way {
        Way::Squeeze => graph.node(Op::Squeeze { axes: Some(vec![axis]) }, &[y]),
        Way::Turn => {
            let perm = Some(vec![0, 2, 1, 3]);
            let turned = if net.batch_first { y } else { graph.node(Op::Transpose { perm }, &[y]) };
            let sizes = graph.integers(vec![0, 0, -1]);
            graph.node(Op::Reshape { allow_zero: false }, &[turned, sizes])
        }
        Way::Split => {
            let parts = [graph.at(y, axis, 0), graph.at(y, axis, 1)];
            graph.node(Op::Concat { axis: -1 }, &parts)
        }
    }
}

fn run(model: &Model, net: &Net) -> Outputs {
    let (steps, batch, size) = SIZES;
    let directions = if net.direction == Direction::Bidirectional { 2 } else { 1 };
    let dims = |a: usize, b: usize| if net.batch_first { [b, a, size] } else { [a, b, size] };
    let mut inputs: Vec<(&str, Value)> = vec![("x", tensor(9, &dims(steps, batch)).into())];
    if net.lengths {
        inputs.push(("lengths", Host::list(vec![0, 4]).into()));
    }
    if net.states {
        for (seed, name) in (20..).zip(["h0", "c0", "h1", "c1"]) {
            inputs.push((name, tensor(seed, &dims(directions, batch)).into()));
        }
    }
    model.run(&inputs).unwrap()
}

/// The same two layers one after the other by their own calls.
fn expected(net: &Net) -> (Tensor, Tensor) {
    let (steps, batch, size) = SIZES;
    let mut x = tensor(9, &if net.batch_first { [batch, steps, size] } else { [steps, batch, size] });
    if net.batch_first {
        x = x.transpose(0, 1).unwrap();
    }
    let directions = if net.direction == Direction::Bidirectional { 2 } else { 1 };
    let mut last = None;
    for n in 0..2 {
        let input = if n == 0 { size } else { directions * size };
        let config = LstmConfig::new(input, size).with_direction(net.direction);
        let lstm = config.init(&device(), n + 1).unwrap();
        let state = net.states.then(|| {
            let [h, c] = [20, 21].map(|seed| {
                let dims =
                    if net.batch_first { [batch, directions, size] } else { [directions, batch, size] };
                let own = tensor(seed + 2 * n, &dims);
                if net.batch_first { own.transpose(0, 1).unwrap() } else { own }
            });
            LstmState::new(h, c, directions)
        });
        let out = lstm.forward(&x, state.as_ref()).unwrap();
        x = out.y;
        last = Some(out.state.h);
    }
    (x, last.unwrap())
}

fn near(got: &Tensor, want: &Tensor) -> bool {
    let (got, want) = (got.to_vec().unwrap(), want.to_vec().unwrap());
    got.len() == want.len() && got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6)
}

#[test]
fn equal_nodes_are_one_stack_with_the_same_results() {
    let (forward, reverse, both) = (Direction::Forward, Direction::Reverse, Direction::Bidirectional);
    for (direction, batch_first, way, states) in [
        (forward, false, Way::Squeeze, true),
        (reverse, true, Way::Squeeze, true),
        (forward, true, Way::Turn, false),
        (both, false, Way::Turn, true),
        (both, true, Way::Turn, true),
        (both, true, Way::Split, false),
        (both, false, Way::Split, true),
    ] {
        let net_of = Net { direction, batch_first, way, states, lengths: false };
        let model = net(&net_of, false);
        assert_eq!(model.layers().len(), 1);
        let stack: Lstm = model.layer("low").unwrap();
        assert_eq!(stack.spec().num_layers, 2);
        let own = LstmConfig::new(3, 3).with_direction(direction).init(&device(), 1).unwrap();
        let bits = |params: &dyn Module, name: &str| params.state_dict()[name].to_vec().unwrap();
        assert_eq!(bits(&stack, "weight_hh_l0"), bits(&own, "weight_hh_l0"));
        let (y, h) = expected(&net_of);
        let out = run(&model, &net_of);
        let (steps, batch, size) = SIZES;
        // [T, D, B, H] or [B, T, D, H] to [T, B, D*H].
        let got = out.tensor("y").unwrap();
        let got = if batch_first { got.permute(&[1, 0, 2, 3]) } else { got.permute(&[0, 2, 1, 3]) };
        assert!(near(&got.unwrap().reshape(&[steps, batch, y.len() / steps / batch]).unwrap(), &y));
        if states {
            let got = out.tensor("h1_out").unwrap();
            let got = if batch_first { got.transpose(0, 1).unwrap() } else { got.clone() };
            assert!(near(&got, &h), "{size}");
        }
        let error = model.layer::<Lstm>("high").map(drop).unwrap_err().to_string();
        assert_eq!(error, "`high`: it is layer 1 of the stack `low`");
    }
}

/// Rows of no steps keep their initial states in both layers.
#[test]
fn rows_without_steps_keep_their_states() {
    let net_of = Net {
        direction: Direction::Forward,
        batch_first: false,
        way: Way::Squeeze,
        states: true,
        lengths: true,
    };
    let model = net(&net_of, false);
    assert_eq!(model.layers().len(), 1);
    let out = run(&model, &net_of);
    for (seed, name) in (20..).zip(["h0_out", "c0_out", "h1_out", "c1_out"]) {
        let (got, want) = (out.tensor(name).unwrap(), tensor(seed, &[1, 2, 3]));
        let row = |tensor: &Tensor, n: usize| tensor.to_vec().unwrap()[3 * n..][..3].to_vec();
        assert_eq!(row(got, 0), row(&want, 0), "{name}");
        assert_ne!(row(got, 1), row(&want, 1), "{name}");
    }
}

#[test]
fn different_nodes_stay_apart() {
    let net_of = Net {
        direction: Direction::Forward,
        batch_first: false,
        way: Way::Squeeze,
        states: false,
        lengths: false,
    };
    let model = net(&net_of, true);
    assert_eq!(model.layers().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["low", "high"]);
}
