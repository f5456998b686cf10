//! More workgroups than a device allows along one dimension: grids are folded or split, and the results are those of a
//! device with room. The device here allows three, so that small arrays suffice.

use crate::common::{DeviceTest, device_test, device_tests};
use crate::helpers::*;
use rnn_runtime::ops::copy::{broadcast_to, concat, slice, slice_backward, transpose};
use rnn_runtime::ops::dropout::{DropoutMask, dropout};
use rnn_runtime::ops::embed::{gather, scatter, scatter_add};
use rnn_runtime::ops::gemm::{linear, matmul};
use rnn_runtime::ops::layer_norm::{layer_norm, layer_norm_backward};
use rnn_runtime::ops::loss::*;
use rnn_runtime::ops::optim::{self, ClipOptions, StepOptions, UpdateRule};
use rnn_runtime::ops::pointwise::*;
use rnn_runtime::ops::reduce::{max_axis, max_axis_backward, sum_axis};
use rnn_runtime::ops::softmax::{log_softmax, log_softmax_backward, softmax, softmax_backward};
use rnn_runtime::{CacheDir, DType, Device, Fault, GpuOptions, RngKey};
use rnn_testing::data::{scaled, to_f64, uniform};
use rnn_testing::oracle::matmul::{Matmul, matmul as oracle};

pub(crate) fn tests() -> Vec<DeviceTest> {
    let tests = device_tests![
        ops_fold_and_split_their_grids,
        a_folded_norm_counts_every_chunk,
        what_takes_long_is_split,
        products_split_their_rows_columns_and_batches,
        a_linear_layer_over_millions_of_rows,
    ];
    let mut tests: Vec<DeviceTest> = tests.into_iter().map(DeviceTest::gpu_only).collect();
    let columns = device_test!(a_product_with_hundreds_of_thousands_of_columns);
    tests.push(columns.gpu_only().with_webgpu_limits());
    tests
}

/// More workgroups of 256 than 3 x 3.
const N: usize = 5000;
const DIMS: [usize; 2] = [500, 10];

fn open(max_groups: Option<u32>, options: GpuOptions) -> Device {
    Device::gpu_with((), GpuOptions { max_groups, cache_dir: CacheDir::Off, ..options }).unwrap()
}

type Results = Vec<(&'static str, Vec<u32>)>;

/// Both devices compute the same bits.
fn compare(options: &GpuOptions, results: fn(&Device) -> Results) {
    let [few, many] = [Some(3), None].map(|groups| results(&open(groups, options.clone())));
    for ((name, few), (_, many)) in few.iter().zip(&many) {
        let differs = few.iter().zip(many).position(|(few, many)| few != many);
        assert!(few.len() == many.len() && differs.is_none(), "{name}: differs at {differs:?}");
    }
}

fn ops_fold_and_split_their_grids(_: &Device) {
    compare(&GpuOptions::default(), |device| {
        let mut results = pointwise_ops(device);
        results.extend(ops_on_rows(device));
        results.extend(losses(device));
        results.extend(optimizers(device));
        results
    });
}

/// 256 chunks in 10 x 9 x 3 workgroups: 14 workgroups have no chunk.
fn a_folded_norm_counts_every_chunk(_: &Device) {
    let mut last = vec![0.0; 1 << 16];
    last[(1 << 16) - 1] = f32::NAN;
    let first = scaled(1, 1 << 16, 1.0);
    let [few, many] = [Some(10), None].map(|groups| {
        let device = open(groups, GpuOptions::default());
        let grads = [array(&device, &first, &[1 << 16]), array(&device, &last, &[1 << 16])];
        let norm = optim::grad_norm(&grads.each_ref(), &ClipOptions::default()).unwrap();
        assert_eq!(values(&norm.control)[2], 0.0, "{groups:?}: a NaN in the last chunk");
        (bits(&norm.control), bits(&norm.norms))
    });
    assert_eq!(few, many);
}

/// Dispatches of at most a few thousand multiply-adds: products in blocks of columns, rows and batches, and the rows of a
/// table in parts.
fn what_takes_long_is_split(_: &Device) {
    static FAULT: Fault = Fault::none();
    FAULT.set_most_work(5000);
    let device = open(None, GpuOptions { fault: Some(&FAULT), ..GpuOptions::default() });
    let dispatches = |work: &dyn Fn()| {
        let before = device.stats().dispatches;
        work();
        device.stats().dispatches - before
    };
    for (a, b) in [
        ([1, 130, 3], [1, 3, 257]),
        ([5, 8, 12], [5, 12, 8]),
        ([3, 40, 300], [3, 300, 72]),
        ([40, 1, 1], [40, 1, 1]),
    ] {
        let integers = |dims: [usize; 3], seed: usize| {
            (0..dims.iter().product())
                .map(|i: usize| ((i + seed) * 7 % 11) as f32 - 5.0)
                .collect::<Vec<f32>>()
        };
        let (x, y) = (integers(a, 0), integers(b, 3));
        let count = dispatches(&|| {
            let got = matmul(&array(&device, &x, &a), &array(&device, &y, &b), false, false).unwrap();
            let case = Matmul { batch: a[0], m: a[1], n: b[2], k: a[2], trans_a: false, trans_b: false };
            let want: Vec<f32> = oracle(&case, &to_f64(&x), &to_f64(&y)).iter().map(|&v| v as f32).collect();
            assert_eq!(values(&got), want, "{a:?} x {b:?}");
        });
        assert!(count > 1 || a[1] == 1, "{a:?} x {b:?}: {count} dispatches");
    }
    let table: Vec<u32> = (0..60).map(|k| k * 7 % 50).collect();
    let dy: Vec<f32> = (0..60 * 300).map(|k| (k % 13) as f32 - 6.0).collect();
    let mut want = vec![0.0; 50 * 300];
    for (k, &row) in table.iter().enumerate() {
        (0..300).for_each(|column| want[300 * row as usize + column] += dy[300 * k + column]);
    }
    let count = dispatches(&|| {
        let got =
            scatter_add(&array(&device, &dy, &[60, 300]), &indices(&device, &table, &[60]), 50).unwrap();
        assert_eq!(values(&got), want);
    });
    assert_eq!(count, 10, "ten of 100 tiles of rows each");
}

fn pointwise_ops(device: &Device) -> Results {
    let x = array(device, &scaled(1, N, 1.0), &DIMS);
    let dy = array(device, &scaled(2, N, 1.0), &DIMS);
    let row = array(device, &scaled(3, 10, 1.0), &[10]);
    let y = unary(UnaryOp::Tanh, &x).unwrap();
    let mut sum = x.clone();
    accumulate(&mut sum, &dy).unwrap();
    let half = cast(&x, DType::F16).unwrap();
    let key = RngKey::new(5);
    let mask = DropoutMask { probability: 0.5, key, first_step: 0, row: 10, first: 0, shared: false };
    vec![
        ("unary_backward", bits(&unary_backward(UnaryOp::Tanh, &x, &y, &dy).unwrap())),
        ("unary", bits(&y)),
        ("affine", bits(&affine(&x, 2.0, 1.0).unwrap())),
        ("binary", bits(&binary(BinaryOp::Mul, &x, &row).unwrap())),
        ("accumulate", bits(&sum)),
        ("full", bits(&full(device, &DIMS, 3.0).unwrap())),
        ("cast", bits(&cast(&half, DType::F32).unwrap())),
        ("dropout", bits(&dropout(&x, &mask).unwrap())),
        ("transpose", bits(&transpose(&x, &[1, 0]).unwrap())),
        ("slice", bits(&slice(&x, 0, 3, 490).unwrap())),
        ("slice_backward", bits(&slice_backward(&slice(&x, 0, 3, 490).unwrap(), &DIMS, 0, 3).unwrap())),
        (
            "concat",
            bits(&concat(&[&slice(&x, 0, 0, 250).unwrap(), &slice(&dy, 0, 0, 250).unwrap()], 0).unwrap()),
        ),
        ("broadcast_to", bits(&broadcast_to(&row, &DIMS).unwrap())),
    ]
}

fn ops_on_rows(device: &Device) -> Results {
    let x = array(device, &scaled(1, N, 1.0), &DIMS);
    let dy = array(device, &scaled(2, N, 1.0), &DIMS);
    let [gamma, beta] = [3, 4].map(|seed| array(device, &scaled(seed, 10, 1.0), &[10]));
    let norm = layer_norm(&x, &gamma, &beta, 1e-5).unwrap();
    let norm_grads = layer_norm_backward(&x, &gamma, &norm.mean, &norm.rstd, &dy).unwrap();
    let (soft, log_soft) = (softmax(&x).unwrap(), log_softmax(&x).unwrap());
    let (max, at) = max_axis(&x, 1).unwrap();
    let table: Vec<u32> = (0..500).map(|i| i * 7 % 20).collect();
    let table = indices(device, &table, &[500]);
    // A permutation, because no row may come twice.
    let once: Vec<u32> = (0..500).map(|i| i * 7 % 500).collect();
    let mut moved = dy.clone();
    scatter(&mut moved, &indices(device, &once, &[500]), &x).unwrap();
    vec![
        ("layer_norm", bits(&norm.y)),
        ("layer_norm_backward", bits(&norm_grads.dx)),
        ("layer_norm_backward of gamma", bits(&norm_grads.dgamma)),
        ("softmax", bits(&soft)),
        ("softmax_backward", bits(&softmax_backward(&soft, &dy).unwrap())),
        ("log_softmax", bits(&log_soft)),
        ("log_softmax_backward", bits(&log_softmax_backward(&log_soft, &dy).unwrap())),
        ("sum_axis of rows", bits(&sum_axis(&x, 1).unwrap())),
        ("sum_axis of columns", bits(&sum_axis(&x.reshape(&[10, 500]).unwrap(), 0).unwrap())),
        ("max_axis", bits(&max)),
        ("max_axis_backward", bits(&max_axis_backward(&max, &at, &DIMS, 1).unwrap())),
        ("gather", bits(&gather(&x, &table).unwrap())),
        ("scatter", bits(&moved)),
        ("scatter_add", bits(&scatter_add(&dy, &table, 20).unwrap())),
    ]
}

fn losses(device: &Device) -> Results {
    let x = array(device, &scaled(1, N, 1.0), &DIMS);
    let t = array(device, &uniform(2, N), &DIMS);
    let one = array(device, &[1.0], &[1]);
    let over = LossOptions::new();
    let labels: Vec<u32> = (0..500).map(|i| i * 7 % 10).collect();
    let labels = indices(device, &labels, &[500]);
    let options = CrossEntropyOptions::default();
    let entropy = cross_entropy(&x, &labels, &options, &over).unwrap();
    let (mse, weighting) = elementwise(Elementwise::Mse, &x, &t, &over).unwrap();
    let (nll, nll_weighting) = gaussian_nll(Spread::LogVariance, &x, &t, &t, &over).unwrap();
    let nll_grads = gaussian_nll_backward(Spread::LogVariance, &x, &t, &t, &nll_weighting, &one).unwrap();
    // Five sequences of five steps: 25 workgroups in the last kernel.
    let logits = array(device, &scaled(3, 5 * 5 * 4, 1.0), &[5, 5, 4]);
    let targets = [[1, 2], [3, 1], [2, 2], [1, 3], [2, 1]];
    let ctc = ctc(&logits, &targets, &CtcOptions::default(), &over).unwrap();
    vec![
        ("cross_entropy", bits(&entropy.loss)),
        (
            "cross_entropy_backward",
            bits(&cross_entropy_backward(&x, &labels, &options, &entropy, &one).unwrap()),
        ),
        ("mse", bits(&mse)),
        ("mse_backward", bits(&elementwise_backward(Elementwise::Mse, &x, &t, &weighting, &one).unwrap())),
        ("gaussian_nll", bits(&nll)),
        ("gaussian_nll_backward", bits(&nll_grads[0])),
        ("ctc", bits(&ctc.loss)),
        ("ctc_backward", bits(&ctc_backward(&ctc, &one).unwrap())),
    ]
}

fn optimizers(device: &Device) -> Results {
    let grad = array(device, &scaled(1, N, 1.0), &[N]);
    let clip = ClipOptions { max_norm: Some(1.0), ..ClipOptions::default() };
    let norm = optim::grad_norm(&[&grad], &clip).unwrap();
    let mut scaled_grad = grad.clone();
    optim::scale_by_control(&mut scaled_grad, &norm.control).unwrap();
    let mut clipped = grad.clone();
    optim::clip_value(&mut clipped, 0.25).unwrap();
    let mut mean = grad.clone();
    optim::ema(&mut mean, &clipped, 0.5).unwrap();
    let rules = [
        ("sgd", UpdateRule::Sgd { momentum: 0.5, nesterov: true, first: false }),
        ("rmsprop", UpdateRule::RmsProp { alpha: 0.5, eps: 1e-3, momentum: 0.5 }),
        ("adagrad", UpdateRule::AdaGrad { eps: 1e-3 }),
        ("adadelta", UpdateRule::AdaDelta { rho: 0.5, eps: 1e-3 }),
        ("adam", UpdateRule::Adam { beta1: 0.5, beta2: 0.75, eps: 1e-3, step: 3 }),
        ("lion", UpdateRule::Lion { beta1: 0.5, beta2: 0.75 }),
    ];
    let mut results = vec![
        ("grad_norm", bits(&norm.control)),
        ("scale_by_control", bits(&scaled_grad)),
        ("clip_value", bits(&clipped)),
        ("ema", bits(&mean)),
    ];
    for (name, rule) in rules {
        let mut param = array(device, &scaled(2, N, 1.0), &[N]);
        let mut states = vec![array(device, &uniform(3, N), &[N]); rule.states().len()];
        let options = StepOptions { lr: 0.1, ..StepOptions::default() };
        optim::step(&mut param, &grad, &mut states, &norm.control, &options, &rule).unwrap();
        results.push((name, bits(&param)));
        results.extend(states.iter().map(|state| (name, bits(state))));
    }
    results
}

/// A tile is at most 128 wide, so these are more than three of any form.
fn products(device: &Device) -> Results {
    let of = |seed, dims: &[usize]| array(device, &scaled(seed, dims.iter().product(), 1.0), dims);
    let integers = |dims: &[usize]| {
        let values: Vec<f32> = (0..dims.iter().product()).map(|i: usize| (i * 7 % 11) as f32 - 5.0).collect();
        array(device, &values, dims)
    };
    let product = |a: &[usize], b: &[usize]| bits(&matmul(&of(1, a), &of(2, b), false, true).unwrap());
    let layer = |rows: usize, inputs: usize, outputs: usize| -> Vec<u32> {
        let (x, w, b) = (of(1, &[rows, inputs]), of(2, &[outputs, inputs]), of(3, &[outputs]));
        bits(&linear(&x, &w, Some(&b)).unwrap())
    };
    vec![
        ("aligned", layer(520, 8, 524)),
        ("narrow tiles", layer(500, 8, 40)),
        ("a few rows", layer(3, 8, 200)),
        ("one row", layer(1, 8, 200)),
        ("any strides", layer(333, 7, 401)),
        ("batches", product(&[5, 8, 8], &[5, 8, 8])),
        ("batches of any strides", product(&[5, 3, 7], &[5, 6, 7])),
        // The number of parts depends on the limit, so the sums must be exact.
        (
            "sums over k in parts",
            bits(&linear(&integers(&[4, 65_536]), &integers(&[4, 65_536]), None).unwrap()),
        ),
    ]
}

fn products_split_their_rows_columns_and_batches(_: &Device) {
    for subgroups in [true, false] {
        compare(&GpuOptions { subgroups, ..GpuOptions::default() }, products);
    }
}

/// Rows of small integers, so that the sums are exact.
fn linear_is_exact(device: &Device, leading: &[usize], outputs: usize) {
    let rows: usize = leading.iter().product();
    let integers =
        |n: usize, seed: usize| (0..n).map(|i| ((i + seed) * 7 % 11) as f32 - 5.0).collect::<Vec<f32>>();
    let (x, w, b) = (integers(4 * rows, 0), integers(4 * outputs, 3), integers(outputs, 5));
    let dims: Vec<usize> = leading.iter().copied().chain([4]).collect();
    let given = [array(device, &w, &[outputs, 4]), array(device, &b, &[outputs])];
    let y = linear(&array(device, &x, &dims), &given[0], Some(&given[1])).unwrap();
    for (i, got) in values(&y).into_iter().enumerate() {
        let (row, column) = (i / outputs, i % outputs);
        let want = b[column] + (0..4).map(|k| x[4 * row + k] * w[4 * column + k]).sum::<f32>();
        assert!(got == want, "[{row}, {column}]: {got}, want {want}");
    }
}

/// 68,750 tiles of 32 rows, 34,375 of 64.
fn a_linear_layer_over_millions_of_rows(device: &Device) {
    linear_is_exact(device, &[2200, 1000], 4);
}

/// One row, of which a workgroup computes four columns where there are no subgroups.
fn a_product_with_hundreds_of_thousands_of_columns(device: &Device) {
    linear_is_exact(device, &[1], 4 * 65_535 + 8);
}
