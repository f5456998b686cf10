//! Splitting a layer among threads, or a sequence in time, changes no bit.

use rnn_base::args::recurrence::{LayerDims, Noise, PackedSequence, RecurrenceDraws};
use rnn_base::rng::RngKey;
use rnn_cpu::CpuDevice;
use rnn_cpu::internals::rnn::{
    BackwardArgs, ForwardArgs, Layer, Projection, WeightGrads, input_grads, projection, run_backward,
    run_forward, tasks, unit_blocks, weight_grads,
};
use rnn_cpu::rnn::{CellWeights, LayerWeights, Sizes};
use rnn_kernels::cell::{CellKind, CellSpec, Direction, Parameter, Regularization};

/// Uniform values in ±`scale`.
fn values(len: usize, stream: u32, scale: f32) -> Vec<f32> {
    let key = RngKey::new(3).derive(stream, 0);
    (0..len as u32).map(|i| scale * (2.0 * key.uniform(0, i) - 1.0)).collect()
}

/// A pass over both directions of whole rows.
fn plain(dims: LayerDims) -> Layer<'static> {
    Layer { dims, order: Direction::Bidirectional, ragged: None, direction: 0, noise: Noise::default() }
}

fn dims([steps, batch, inputs, hidden, directions]: [usize; 5]) -> LayerDims {
    LayerDims { steps, batch, inputs, hidden, state: hidden, directions }
}

/// A layer with drawn weights.
struct Drawn {
    device: CpuDevice,
    spec: CellSpec,
    weights: LayerWeights,
}

impl Drawn {
    fn new(spec: CellSpec, dims: LayerDims) -> Self {
        let device = CpuDevice::new();
        let LayerDims { inputs, hidden, state, directions, .. } = dims;
        let rows = spec.gates() * hidden;
        let scale = 1.0 / (hidden as f32).sqrt();
        let array = |len: usize, stream| {
            let mut array = device.array("test", &[len]).unwrap();
            array.buffer.make_mut().unwrap().copy_from_slice(&values(len, stream, scale));
            array
        };
        let given = (0..directions as u32)
            .map(|d| {
                let of = |stream: u32| 100 + 10 * d + stream;
                let recurrent = if spec.independent { hidden } else { rows * state };
                let mut given = CellWeights::new(array(rows * inputs, 4 * d), array(recurrent, 4 * d + 1));
                let mut add = |is: bool, parameter, len, stream| {
                    if is {
                        given.set(parameter, array(len, stream));
                    }
                };
                add(true, Parameter::BiasIh, rows, 4 * d + 2);
                add(true, Parameter::BiasHh, rows, 4 * d + 3);
                add(spec.peephole, Parameter::Peephole, spec.peepholes() * hidden, of(0));
                add(state < hidden, Parameter::WeightHr, state * hidden, of(1));
                add(spec.layer_norm, Parameter::NormIh, rows, of(2));
                add(spec.layer_norm, Parameter::NormHh, rows, of(3));
                let of_c = spec.layer_norm && spec.kind == CellKind::Lstm;
                add(of_c, Parameter::NormC, hidden, of(4));
                add(of_c, Parameter::NormCBias, hidden, of(5));
                given
            })
            .collect();
        let weights = LayerWeights::new(&device, &spec, Sizes { inputs, hidden, state }, given).unwrap();
        Drawn { device, spec, weights }
    }

    /// y and what training keeps, gates and aux.
    fn forward(&self, layer: Layer<'_>, x: &[f32], h0: &[f32], c0: &[f32], threads: usize) -> Vec<Vec<f32>> {
        let LayerDims { hidden, state, directions, .. } = layer.dims;
        let rows = layer.len() * directions;
        let mut gates = vec![0.0; rows * hidden * self.spec.gates()];
        let (mut aux, mut y) = (vec![0.0; rows * hidden], vec![0.0; rows * state]);
        let args = ForwardArgs {
            layer,
            spec: &self.spec,
            weights: &self.weights,
            bf16: None,
            x,
            gates: &mut gates,
            aux: &mut aux,
            y: &mut y,
            h0,
            c0,
            training: true,
        };
        run_forward(threads, args);
        vec![y, gates, aux]
    }
}

/// Everything that forward and backward write.
fn run(drawn: &Drawn, layer: Layer<'_>, threads: usize) -> Vec<Vec<f32>> {
    let LayerDims { batch, inputs, hidden, state, directions, .. } = layer.dims;
    let (states, total, rows) = (batch * directions, layer.len(), drawn.spec.gates() * hidden);
    let x = values(total * inputs, 20, 1.0);
    let (h0, c0) = (values(states * state, 21, 1.0), values(states * hidden, 22, 1.0));
    let mut all = drawn.forward(layer, &x, &h0, &c0, threads);
    let [y, gates, aux] = &mut all[..] else { unreachable!() };
    let (mut gates, mut aux, y) = (gates.clone(), aux.clone(), y.clone());
    let dy = values(total * directions * state, 24, 1.0);
    let (mut dh, mut carry) = (values(states * state, 25, 1.0), values(states * hidden, 26, 1.0));
    let weights = drawn.weights.backward(&drawn.device).unwrap();
    let mut sums = vec![0.0; states * hidden * unit_blocks(&drawn.spec)];
    let mut projected = vec![0.0; if state < hidden { total * directions * state } else { 0 }];
    let mut products = vec![0.0; if drawn.spec.layer_norm { total * directions * rows } else { 0 }];
    let args = BackwardArgs {
        layer,
        spec: &drawn.spec,
        weights: &weights,
        forward: &drawn.weights,
        gates: &mut gates,
        aux: &mut aux,
        y: &y,
        dy: &dy,
        h0: &h0,
        c0: &c0,
        dh: &mut dh,
        carry: &mut carry,
        sums: &mut sums,
        projected: &mut projected,
        products: &mut products,
    };
    run_backward(threads, args);
    let mut dx = vec![0.0; total * inputs];
    input_grads(threads, layer, &gates, &weights, &mut dx);
    for direction in 0..directions {
        let (mut dw_ih, mut dw_hh) = (vec![0.0; rows * inputs], vec![0.0; rows * state]);
        let (mut db_ih, mut db_hh) = (vec![0.0; rows], vec![0.0; rows]);
        let args = WeightGrads {
            layer,
            spec: &drawn.spec,
            d: direction,
            x: &x,
            y: &y,
            h0: &h0,
            gates: &gates,
            aux: &aux,
            products: &products,
            dw_ih: &mut dw_ih,
            dw_hh: &mut dw_hh,
            dbiases: Some([&mut db_ih, &mut db_hh]),
        };
        weight_grads(threads, args);
        all.extend([dw_ih, dw_hh, db_ih, db_hh]);
    }
    all.extend([gates, aux, dh, carry, dx, sums, projected, products]);
    all
}

const PLAIN: [CellSpec; 4] = [CellSpec::lstm(), CellSpec::gru(), CellSpec::mgu(), CellSpec::rnn_tanh()];

/// Rows split, units shared, one thread: the same bits.
#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let by_rows = [dims([7, 33, 5, 40, 2]), dims([9, 14, 300, 200, 1])];
    let by_units = [dims([5, 1, 30, 470, 1]), dims([3, 7, 300, 259, 2])];
    for spec in PLAIN {
        assert!(tasks(&plain(by_rows[0]), spec.gates(), 4).iter().all(|task| task.share.1 == 1));
        assert!(tasks(&plain(by_units[0]), spec.gates(), 4).iter().all(|task| task.share.1 == 4));
        for dims in by_rows.into_iter().chain(by_units) {
            let drawn = Drawn::new(spec, dims);
            let alone = run(&drawn, plain(dims), 1);
            for threads in [2, 3, 4] {
                assert!(run(&drawn, plain(dims), threads) == alone, "{:?}, {threads} threads", spec.kind);
            }
        }
    }
}

/// The same with every option, noise, and rows that end and are interrupted.
#[test]
fn bits_of_options_do_not_depend_on_the_number_of_threads() {
    let lstm = CellSpec { peephole: true, cell_clip: Some(0.8), clip: Some(2.0), ..CellSpec::lstm() };
    let specs = [
        (lstm, 0),
        (CellSpec { coupled: true, ..lstm }, 0),
        (CellSpec { independent: true, ..CellSpec::rnn_tanh() }, 0),
        (CellSpec { reset_after: false, ..CellSpec::gru() }, 0),
        (CellSpec { clip: Some(0.8), ..CellSpec::mgu() }, 0),
        (lstm, 30),
        (CellSpec { layer_norm: true, ..lstm }, 0),
        (CellSpec { layer_norm: true, coupled: true, ..lstm }, 30),
        (CellSpec { layer_norm: true, ..CellSpec::gru() }, 0),
        (CellSpec { layer_norm: true, ..CellSpec::mgu() }, 0),
        (CellSpec { layer_norm: true, ..CellSpec::rnn_tanh() }, 0),
    ];
    for (spec, proj) in specs {
        let is_lstm = spec.kind == CellKind::Lstm;
        let rates = Regularization {
            recurrent_dropout: 0.3,
            zoneout_h: 0.2,
            zoneout_c: if is_lstm { 0.1 } else { 0.0 },
            candidate_dropout: if spec.kind == CellKind::Rnn { 0.0 } else { 0.25 },
            ..Regularization::default()
        };
        let keys = [RngKey::new(1), RngKey::new(2)];
        let noise = Noise { rates, draws: Some(RecurrenceDraws { keys, first_step: 5, sequence: 2 }) };
        for shape in [[5, 17, 5, 40, 2], [6, 17, 5, 40, 1], [4, 1, 30, 300, 1], [4, 5, 40, 259, 1]] {
            let mut dims = dims(shape);
            if proj > 0 {
                dims.state = proj;
            }
            let lengths: Vec<usize> = (0..dims.batch).map(|b| 1 + (b * 7 + 3) % dims.steps).collect();
            let resets: Vec<bool> = (0..dims.steps * dims.batch).map(|n| n % 5 == 1).collect();
            let ragged = PackedSequence::new(dims.steps, &lengths, Some(&resets), false);
            let ragged = (dims.directions == 1).then_some(&ragged);
            let layer = Layer { dims, order: Direction::Bidirectional, ragged, direction: 0, noise };
            let drawn = Drawn::new(spec, dims);
            let alone = run(&drawn, layer, 1);
            assert!(alone.iter().flatten().all(|x| x.is_finite()));
            for threads in [2, 3] {
                assert!(run(&drawn, layer, threads) == alone, "{spec:?} {shape:?}, {threads} threads");
            }
        }
    }
}

/// A sequence fed step by step, where the input's products are made in the step, gives the bits of the
/// whole sequence, where they are made ahead.
#[test]
fn bits_do_not_depend_on_where_the_input_is_multiplied() {
    for spec in PLAIN {
        let hidden = if spec.kind == CellKind::Rnn { 400 } else { 200 };
        let dims = dims([5, 7, 300, hidden, 1]);
        let one = LayerDims { steps: 1, ..dims };
        let task = tasks(&plain(dims), spec.gates(), 1)[0];
        assert!(matches!(projection(&dims, spec.gates(), &task), Projection::Ahead { .. }));
        assert_eq!(projection(&one, spec.gates(), &task), Projection::InStep);
        let drawn = Drawn::new(spec, dims);
        let (x, cells) = (values(5 * 7 * 300, 20, 1.0), 7 * hidden);
        let (h0, c0) = (values(cells, 21, 1.0), values(cells, 22, 1.0));
        let whole = drawn.forward(plain(dims), &x, &h0, &c0, 1);
        let (mut h, mut c) = (h0, c0);
        for (s, x) in x.chunks(7 * 300).enumerate() {
            let step = drawn.forward(plain(one), x, &h, &c, 1);
            for (got, want) in step.iter().zip(&whole) {
                assert!(*got == want[s * got.len()..][..got.len()], "{:?}, step {s}", spec.kind);
            }
            (h, c) = (step[0].clone(), step[2].clone());
        }
    }
}

/// Where the system starts no thread, one thread does the work of those that would wait for each other.
#[test]
#[cfg(target_os = "linux")]
fn bits_stay_the_same_where_threads_cannot_start() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_without_room_for_threads", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{:?}: {text}", output.status);
}

#[test]
#[ignore = "the part of another test that runs in a process of its own"]
#[cfg(target_os = "linux")]
fn in_a_process_without_room_for_threads() {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: ends a process that hangs; a query; a valid limit. A thread would take 2 MiB.
    unsafe {
        libc::alarm(60);
        let room = pages * libc::sysconf(libc::_SC_PAGESIZE) as u64 + (3 << 19);
        let limit = libc::rlimit { rlim_cur: room, rlim_max: libc::RLIM_INFINITY };
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
    }
    assert_eq!(CpuDevice::new().threads(), 1);
    for spec in [CellSpec::lstm(), CellSpec { reset_after: false, ..CellSpec::gru() }] {
        let layer = plain(dims([8, 1, 8, 72, 1]));
        assert!(tasks(&layer, spec.gates(), 4).iter().all(|task| task.share.1 == 4));
        let drawn = Drawn::new(spec, layer.dims);
        assert!(run(&drawn, layer, 4) == run(&drawn, layer, 1), "{:?}", spec.kind);
    }
}
