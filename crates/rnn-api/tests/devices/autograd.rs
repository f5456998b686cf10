//! The graph: every recorded gradient against central differences, fan-in, consumption, depth.

use crate::common::{DeviceTest, device_test};
use rnn_api::prelude::*;
use rnn_api::{BinaryOp, DropoutMask, Error, Result, backward, is_grad_enabled};
use rnn_testing::data::{in_range, uniform};

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(pointwise_gradients),
        device_test!(broadcast_gradients),
        device_test!(movement_gradients),
        device_test!(reduction_gradients),
        device_test!(product_gradients),
        device_test!(row_gradients),
        device_test!(loss_gradients),
        device_test!(table_and_type_gradients),
        device_test!(fan_in_sums),
        device_test!(several_outputs_at_once),
        device_test!(a_graph_is_consumed),
        device_test!(no_graph_without_leaves),
        device_test!(deep_graphs),
        device_test!(norms_and_clipping),
    ]
}

/// Values away from zero, where no tested function has a kink.
fn input(device: &Device, seed: u64, dims: &[usize]) -> Tensor {
    let magnitudes = in_range(seed, dims.iter().product(), 0.3, 1.5);
    let signs = uniform(seed + 1000, magnitudes.len());
    let values: Vec<f32> = magnitudes.iter().zip(signs).map(|(m, s)| m.copysign(s)).collect();
    Tensor::from_slice(device, &values, dims).unwrap()
}

fn positive(device: &Device, seed: u64, dims: &[usize]) -> Tensor {
    let values = in_range(seed, dims.iter().product(), 0.3, 1.5);
    Tensor::from_slice(device, &values, dims).unwrap()
}

/// Half the distance of a central difference.
const STEP: f32 = 4e-3;

/// The difference quotient is off by `STEP^2 f''' / 6`, a few 1e-5 here, and by the rounding of the
/// function values, some 1e-6, over `STEP`. Wrong factors and swapped indices are off by far more.
const BOUND: f64 = 2e-3;

/// Compares the gradients of `sum(w * f(inputs))`, for some fixed w, with central differences.
fn check(name: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let leaves: Vec<Tensor> = inputs.iter().map(|x| x.clone().requires_grad()).collect();
    let y = f(&leaves).unwrap_or_else(|error| panic!("{name}: {error}"));
    let weights = uniform(77, y.len());
    let cotangent = Tensor::from_slice(y.device(), &weights, y.dims()).unwrap();
    let gradients = y.backward_with(&cotangent).unwrap();
    let objective = |inputs: &[Tensor]| -> f64 {
        let y = f(inputs).unwrap().to_vec().unwrap();
        y.iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    for (n, (leaf, x)) in leaves.iter().zip(inputs).enumerate() {
        let got = gradients.get(leaf).unwrap_or_else(|| panic!("{name}: input {n} has no gradient"));
        assert_eq!(got.dims(), x.dims(), "{name}: input {n}");
        let (got, values) = (got.to_vec().unwrap(), x.to_vec().unwrap());
        for k in 0..values.len() {
            let at = |value: f32| {
                let mut moved = values.clone();
                moved[k] = value;
                let mut inputs = inputs.to_vec();
                inputs[n] = Tensor::from_slice(x.device(), &moved, x.dims()).unwrap();
                objective(&inputs)
            };
            // The distance as f32 really has it.
            let (above, below) = (values[k] + STEP, values[k] - STEP);
            let want = (at(above) - at(below)) / (f64::from(above) - f64::from(below));
            let difference = (f64::from(got[k]) - want).abs();
            assert!(
                difference <= BOUND * want.abs().max(1.0),
                "{name}: gradient of input {n} at {k} is {}, want {want}",
                got[k]
            );
        }
    }
}

fn pointwise_gradients(device: &Device) {
    let x = input(device, 1, &[3, 5]);
    let odd = [
        UnaryOp::Neg,
        UnaryOp::Exp,
        UnaryOp::Tanh,
        UnaryOp::Sigmoid,
        UnaryOp::Softsign,
        UnaryOp::Relu,
        UnaryOp::Softplus,
    ];
    for op in odd {
        check(&format!("{op:?}"), std::slice::from_ref(&x), |x| x[0].unary(op));
    }
    let x = positive(device, 2, &[3, 5]);
    check("log", std::slice::from_ref(&x), |x| x[0].log());
    check("sqrt", std::slice::from_ref(&x), |x| x[0].sqrt());
    check("scale", std::slice::from_ref(&x), |x| x[0].scale(-2.5));
    check("shift", std::slice::from_ref(&x), |x| x[0].shift(3.0));
    let mask =
        DropoutMask { probability: 0.4, key: RngKey::new(3), first_step: 7, row: 5, first: 0, shared: false };
    check("dropout", std::slice::from_ref(&x), |x| x[0].dropout(&mask));
}

fn broadcast_gradients(device: &Device) {
    type Binary = fn(&Tensor, &Tensor) -> Result<Tensor>;
    let ops: [(BinaryOp, Binary); 4] = [
        (BinaryOp::Add, Tensor::add),
        (BinaryOp::Sub, Tensor::sub),
        (BinaryOp::Mul, Tensor::mul),
        (BinaryOp::Div, Tensor::div),
    ];
    let shapes: [(&[usize], &[usize]); 5] =
        [(&[2, 3], &[2, 3]), (&[2, 3], &[3]), (&[2, 1], &[4, 1, 3]), (&[3], &[]), (&[1, 3], &[2, 1])];
    for (op, apply) in ops {
        for (a, b) in shapes {
            let inputs = [input(device, 4, a), input(device, 5, b)];
            check(&format!("{op:?} {a:?} {b:?}"), &inputs, |x| apply(&x[0], &x[1]));
        }
    }
    let x = input(device, 6, &[2, 1, 3]);
    check("broadcast_to", &[x], |x| x[0].broadcast_to(&[4, 2, 5, 3]));
}

fn movement_gradients(device: &Device) {
    let x = input(device, 7, &[2, 3, 4]);
    let one = std::slice::from_ref(&x);
    check("reshape", one, |x| x[0].reshape(&[4, 6])?.tanh());
    check("permute", one, |x| x[0].permute(&[2, 0, 1])?.tanh());
    check("transpose", one, |x| x[0].transpose(0, 2));
    check("slice", one, |x| x[0].slice(1, 1..3));
    check("whole slice", one, |x| x[0].slice(1, 0..3));
    check("select", one, |x| x[0].select(2, 3));
    let parts = [input(device, 8, &[2, 1, 3]), input(device, 9, &[2, 4, 3]), input(device, 10, &[2, 2, 3])];
    check("concat", &parts, |x| Tensor::concat(&[&x[0], &x[1], &x[2]], 1));
    let equal = [input(device, 11, &[2, 3]), input(device, 12, &[2, 3])];
    for axis in 0..=2 {
        check("stack", &equal, |x| Tensor::stack(&[&x[0], &x[1]], axis));
    }
    let stacked = Tensor::stack(&[&equal[0], &equal[1]], 1).unwrap();
    assert_eq!(stacked.dims(), [2, 2, 3]);
    assert!(Tensor::stack(&[&equal[0], &equal[1]], 3).is_err());
    assert!(Tensor::stack(&[], 0).is_err());
    assert!(x.select(2, 4).is_err() && x.select(3, 0).is_err() && x.select(0, usize::MAX).is_err());
}

fn reduction_gradients(device: &Device) {
    let x = input(device, 13, &[3, 4, 2]);
    let one = std::slice::from_ref(&x);
    for axis in 0..3 {
        check("sum_axis", one, |x| x[0].sum_axis(axis)?.tanh());
        check("mean_axis", one, |x| x[0].mean_axis(axis)?.tanh());
        check("max_axis", one, |x| x[0].max_axis(axis));
    }
    check("sum_all", one, |x| x[0].sum_all());
    check("mean_all", one, |x| x[0].mean_all()?.exp());
    assert!(x.sum_axis(3).is_err());
    let values = [3.0, 1.0, f32::NAN, 2.0, 5.0, 5.0];
    let x = Tensor::from_slice(device, &values, &[2, 3]).unwrap();
    assert_eq!(x.argmax(1).unwrap(), [2, 1]);
    assert_eq!(x.argmax(0).unwrap(), [0, 1, 0]);
}

fn product_gradients(device: &Device) {
    let shapes: [(&[usize], &[usize]); 3] =
        [(&[3, 4], &[4, 5]), (&[2, 3, 4], &[2, 4, 5]), (&[2, 3, 4], &[4, 5])];
    for (a, b) in shapes {
        let inputs = [input(device, 14, a), input(device, 15, b)];
        check(&format!("matmul {a:?} {b:?}"), &inputs, |x| x[0].matmul(&x[1]));
    }
    for x in [&[2, 3, 4][..], &[5, 4], &[4]] {
        let inputs = [input(device, 16, x), input(device, 17, &[3, 4]), input(device, 18, &[3])];
        check("linear", &inputs, |x| x[0].linear(&x[1], Some(&x[2])));
        check("linear without bias", &inputs[..2], |x| x[0].linear(&x[1], None));
    }
}

fn row_gradients(device: &Device) {
    let x = input(device, 19, &[2, 2, 5]);
    let one = std::slice::from_ref(&x);
    check("softmax", one, |x| x[0].softmax());
    check("log_softmax", one, |x| x[0].log_softmax());
    let inputs = [x, input(device, 20, &[5]), input(device, 21, &[5])];
    check("layer_norm", &inputs, |x| x[0].layer_norm(&x[1], &x[2], 1e-5));
}

fn loss_gradients(device: &Device) {
    let logits = input(device, 22, &[2, 3, 4]);
    let labels = Tensor::from_indices(device, &[0, 3, 1, 2, 2, 0], &[2, 3]).unwrap();
    let one = std::slice::from_ref(&logits);
    check("cross_entropy", one, |x| x[0].cross_entropy(&labels));
    let options = CrossEntropyOptions { ignore_index: Some(2), label_smoothing: 0.2 };
    check("cross_entropy_with", one, |x| x[0].cross_entropy_with(&labels, &options));
    let flat = labels.reshape(&[6]).unwrap();
    let error = logits.cross_entropy(&flat).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[6]"), "{error}");

    let pair = [input(device, 23, &[3, 4]), input(device, 24, &[3, 4])];
    check("mse", &pair, |x| x[0].mse(&x[1]));
    let targets = positive(device, 25, &[3, 4]);
    check("bce", &pair[..1], |x| x[0].bce_with_logits(&targets));
    let tracked = targets.requires_grad();
    assert!(matches!(pair[0].bce_with_logits(&tracked), Err(Error::Unsupported { .. })));
    sequence_loss_gradients(device);
}

/// The gradient of every input that has one, with lengths and without.
fn sequence_loss_gradients(device: &Device) {
    let over = LossOptions::new().with_lengths(&[1, 3]).with_reduction(Reduction::SequenceMean);
    let pair = [input(device, 31, &[3, 2, 2]), input(device, 32, &[3, 2, 2])];
    for over in [LossOptions::new(), over] {
        check("mse_over", &pair, |x| x[0].mse_over(&x[1], &over));
        check("huber", &pair, |x| x[0].huber_over(&x[1], 0.8, &over));
        let far = Tensor::full(device, &[3, 2, 2], 4.0).unwrap();
        // Further apart than a kink of the costs.
        check("mae", &pair[..1], |x| x[0].mae_over(&far, &over));
        check("quantile", &pair[..1], |x| x[0].quantile_over(&far, 0.3, &over));
        let spread = [pair[0].clone(), positive(device, 33, &[3, 2, 2])];
        check("gaussian_nll", &spread, |x| x[0].gaussian_nll(&pair[1], &x[1], &over));
        check("gaussian_nll_log", &spread, |x| x[0].gaussian_nll_log(&pair[1], &x[1], &over));
        let logits = [input(device, 34, &[3, 2, 4])];
        let options = CtcOptions { blank: 2, ..CtcOptions::default() };
        check("ctc", &logits, |x| x[0].ctc(&[vec![3], vec![1, 0]], &options, &over));
    }
}

fn table_and_type_gradients(device: &Device) {
    let table = input(device, 26, &[4, 3]);
    let indices = Tensor::from_indices(device, &[1, 3, 1, 1, 0, 3], &[2, 3]).unwrap();
    check("gather", std::slice::from_ref(&table), |x| x[0].gather(&indices)?.tanh());

    // Halves of small powers of two are exact, so the cast changes nothing here.
    let x = Tensor::from_slice(device, &[0.5, -1.5, 2.0], &[3]).unwrap().requires_grad();
    let y = x.to_dtype(DType::F16).unwrap();
    assert_eq!(y.dtype(), DType::F16);
    let dx = y.scale(3.0).unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap();
    assert_eq!((dx.dtype(), dx.to_vec().unwrap()), (DType::F32, vec![3.0; 3]));

    // There and back again; on the CPU both are the same device.
    let there = x.to_device(&Device::cpu()).unwrap().scale(2.0).unwrap();
    let dx = there.sum_all().unwrap().backward().unwrap().get(&x).unwrap();
    assert!(dx.device().same(device));
    assert_eq!(dx.to_vec().unwrap(), [2.0; 3]);
}

fn fan_in_sums(device: &Device) {
    let x = input(device, 27, &[2, 3]);
    let one = std::slice::from_ref(&x);
    check("x x", one, |x| x[0].mul(&x[0]));
    check("x + x", one, |x| x[0].add(&x[0]));
    // A diamond: the shared node must be visited after both of its users.
    check("diamond", one, |x| {
        let shared = x[0].tanh()?;
        let (left, right) = (shared.exp()?, shared.sigmoid()?);
        left.mul(&right)?.add(&shared)
    });
    // Addition hands the same array to both sides; summing into one must not change the other.
    let (a, b) = (x.clone().requires_grad(), x.clone().requires_grad());
    let sum = a.add(&b).unwrap();
    let total = sum.add(&a).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(total.get(&a).unwrap().to_vec().unwrap(), [2.0; 6]);
    assert_eq!(total.get(&b).unwrap().to_vec().unwrap(), [1.0; 6]);
}

fn several_outputs_at_once(device: &Device) {
    let x = input(device, 28, &[3]).requires_grad();
    let shared = x.scale(2.0).unwrap();
    let (y, z) = (shared.scale(3.0).unwrap(), shared.scale(5.0).unwrap());
    let one = Tensor::ones(device, &[3]).unwrap().into_array();
    let gradients = backward(&[(y.clone(), one.clone()), (z.clone(), one.clone())]).unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec().unwrap(), [16.0; 3]);

    // The same output twice adds up; a leaf can be an output.
    let y = x.scale(3.0).unwrap();
    let outputs = [(y.clone(), one.clone()), (y, one.clone()), (x.clone(), one)];
    let gradients = backward(&outputs).unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec().unwrap(), [7.0; 3]);
}

fn a_graph_is_consumed(device: &Device) {
    let x = input(device, 29, &[3]).requires_grad();
    let y = x.tanh().unwrap();
    let loss = y.sum_all().unwrap();
    loss.backward().unwrap();
    match loss.backward() {
        Err(Error::Consumed { op }) => assert_eq!(op, "sum_all"),
        other => panic!("expected Consumed, got {other:?}"),
    }
    // A new op on an old graph does not bring it back.
    match y.sum_all().unwrap().backward() {
        Err(Error::Consumed { op }) => assert_eq!(op, "unary"),
        other => panic!("expected Consumed, got {other:?}"),
    }
    assert!(matches!(y.backward(), Err(Error::NotScalar { .. })));
    let short = Tensor::ones(device, &[2]).unwrap();
    let error = x.tanh().unwrap().backward_with(&short).unwrap_err().to_string();
    assert!(error.contains("[3]") && error.contains("[2]"), "{error}");
}

fn no_graph_without_leaves(device: &Device) {
    let x = input(device, 30, &[3]);
    assert!(matches!(x.sum_all().unwrap().backward(), Err(Error::NoGraph { .. })));
    let leaf = x.clone().requires_grad();
    let y = no_grad(|| {
        assert!(!is_grad_enabled());
        no_grad(|| leaf.tanh().unwrap());
        assert!(!is_grad_enabled(), "the inner guard ends only itself");
        leaf.tanh().unwrap()
    });
    assert!(is_grad_enabled() && !y.is_tracked());
    assert!(std::panic::catch_unwind(|| no_grad(|| panic!("on purpose"))).is_err());
    assert!(is_grad_enabled(), "a panic ends the guard");
    assert!(leaf.tanh().unwrap().is_tracked() && !leaf.detach().is_tracked());
    // Only what was asked for: no gradient for the other leaf.
    let gradients = leaf.mul(&x).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(gradients.len(), 1);
    assert!(gradients.get(&x).is_none() && gradients.get(&leaf).is_some());
}

/// Recursion over this many nodes would overflow the stack of a test thread.
fn deep_graphs(device: &Device) {
    let depth = if device.is_cpu() { 200_000 } else { 20_000 };
    let x = Tensor::ones(device, &[1]).unwrap().requires_grad();
    let chain = |depth: usize| (0..depth).fold(x.clone(), |y, _| y.reshape(&[1]).unwrap());
    drop(chain(depth));
    let gradients = chain(depth).backward().unwrap();
    assert_eq!(gradients.get(&x).unwrap().item().unwrap(), 1.0);
}

fn norms_and_clipping(device: &Device) {
    let (a, b) = (input(device, 31, &[2]).requires_grad(), input(device, 32, &[1]).requires_grad());
    let gradients = || {
        // Gradients 3, 3 and 4 (twice 2): norm sqrt(34).
        let loss = a.scale(3.0).unwrap().sum_all().unwrap();
        let loss = loss.add(&b.scale(4.0).unwrap().sum_all().unwrap()).unwrap();
        loss.backward().unwrap()
    };
    let norm = 34.0f32.sqrt();
    let close = |x: f32, y: f32| assert!((x - y).abs() <= 1e-5 * y.abs(), "{x} {y}");
    close(gradients().global_norm().unwrap(), norm);
    let mut clipped = gradients();
    close(clipped.clip_norm(1.0).unwrap(), norm);
    close(clipped.get(&b).unwrap().item().unwrap(), 4.0 / norm);
    close(clipped.global_norm().unwrap(), 1.0);
    let mut whole = gradients();
    whole.clip_norm(100.0).unwrap();
    assert_eq!(whole.get(&b).unwrap().item().unwrap(), 4.0, "a small norm is left alone");
    whole.clip_value(3.5).unwrap();
    assert_eq!(whole.get(&b).unwrap().item().unwrap(), 3.5);
    assert_eq!(whole.get(&a).unwrap().to_vec().unwrap(), [3.0; 2]);
    whole.merge(gradients()).unwrap();
    whole.scale(0.5).unwrap();
    assert_eq!(whole.get(&b).unwrap().item().unwrap(), 3.75);
    assert_eq!(whole.get(&a).unwrap().to_vec().unwrap(), [3.0; 2]);
    assert!(whole.clip_norm(0.0).is_err() && whole.clip_value(f32::NAN).is_err());
    assert_eq!(Gradients::default().global_norm().unwrap(), 0.0);
}
