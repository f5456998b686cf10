//! Random calls of the API on both devices from the same values: they refuse with the same message, or they give the same
//! values and gradients. Each call starts from what the CPU computed, so that rounding does not add up.

use crate::mutate::mutated;
use crate::target::{first_seed, folder, seconds};
use rnn_api::prelude::*;
use rnn_api::{CrossEntropyOptions, Result, UnaryOp};
use rnn_testing::data::SplitMix64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Bytes of a program, which are its choices; zeros after the end.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0))
    }

    fn below(&mut self, n: usize) -> usize {
        self.byte() % n
    }

    /// Mostly moderate; sometimes what arithmetic stumbles over.
    fn value(&mut self) -> f32 {
        match self.byte() {
            0 => 0.0,
            1 => -0.0,
            2 => f32::INFINITY,
            3 => f32::NEG_INFINITY,
            4 => f32::NAN,
            byte => (byte as f32 - 128.0) / 32.0,
        }
    }

    /// Up to three axes of up to five elements, seldom none.
    fn dims(&mut self) -> Vec<usize> {
        let rank = self.below(4);
        (0..rank).map(|_| if self.byte() == 7 { 0 } else { 1 + self.below(5) }).collect()
    }
}

/// Values on the host.
#[derive(Clone, Debug)]
struct Host {
    dims: Vec<usize>,
    values: Vec<f32>,
}

impl Host {
    fn on(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_slice(device, &self.values, &self.dims)?.requires_grad())
    }
}

/// A call with its operands' numbers in the pool and its other arguments.
#[derive(Clone, Debug)]
struct Call {
    op: usize,
    operands: [usize; 3],
    numbers: [usize; 4],
    dims: Vec<usize>,
    value: f32,
}

const OPS: usize = 27;

impl Call {
    fn draw(choices: &mut Choices<'_>, pool: usize) -> Self {
        Call {
            op: choices.below(OPS),
            operands: [(); 3].map(|()| choices.below(pool)),
            numbers: [(); 4].map(|()| choices.below(6)),
            dims: choices.dims(),
            value: choices.value(),
        }
    }

    fn run(&self, device: &Device, pool: &[Tensor]) -> Result<Tensor> {
        let [a, b, c] = self.operands.map(|n| &pool[n]);
        let [m, n, ..] = self.numbers;
        match self.op {
            0 => a.add(b),
            1 => a.sub(b),
            2 => a.mul(b),
            3 => a.matmul(b),
            4 => a.linear(b, None),
            5 => a.linear(b, Some(c)),
            6 => a.softmax(),
            7 => a.log_softmax(),
            8 => a.sum_axis(m),
            9 => a.mean_axis(m),
            10 => a.max_axis(m),
            11 => a.reshape(&self.dims),
            12 => a.permute(&self.numbers[..a.rank().min(4)]),
            13 => a.transpose(m, n),
            14 => a.slice(m, n..self.numbers[2]),
            15 => a.select(m, n),
            16 => Tensor::concat(&[a, b], m),
            17 => Tensor::stack(&[a, b], m),
            18 => a.broadcast_to(&self.dims),
            19 => a.layer_norm(b, c, self.value),
            20 => a.scale(self.value),
            21 => a.mse(b),
            22 => a.huber(b, self.value),
            23 => a.bce_with_logits(b),
            24 => {
                let options = CrossEntropyOptions {
                    ignore_index: (m == 0).then_some(1),
                    label_smoothing: 0.25 * n as f32,
                };
                let labels: Vec<u32> = self.numbers.iter().map(|&n| n as u32).collect();
                let labels = Tensor::from_indices(
                    device,
                    &labels[..self.dims.iter().product::<usize>().min(4)],
                    &self.dims,
                )?;
                a.cross_entropy_with(&labels, &options)
            }
            25 => {
                let rows: Vec<u32> = self.numbers.iter().map(|&n| n as u32).collect();
                a.gather(&Tensor::from_indices(device, &rows, &[2, 2])?)
            }
            _ => a.unary(UNARY[(m * 6 + n) % UNARY.len()]),
        }
    }
}

/// Without those whose slope at a point differs by rounding alone.
const UNARY: [UnaryOp; 7] = [
    UnaryOp::Relu,
    UnaryOp::Sigmoid,
    UnaryOp::Tanh,
    UnaryOp::Exp,
    UnaryOp::Softplus,
    UnaryOp::Softsign,
    UnaryOp::Neg,
];

/// The result of a call, and the gradient of every operand where its cotangent is one everywhere.
fn outcome(call: &Call, device: &Device, pool: &[Host]) -> Result<Vec<Host>> {
    let host = |tensor: &Tensor| -> Result<Host> {
        Ok(Host { dims: tensor.dims().to_vec(), values: tensor.to_vec()? })
    };
    let tensors = pool.iter().map(|host| host.on(device)).collect::<Result<Vec<_>>>()?;
    let y = call.run(device, &tensors)?;
    let mut all = vec![host(&y)?];
    if y.is_tracked() {
        let gradients = y.backward_with(&Tensor::ones(device, y.dims())?)?;
        for n in call.operands {
            if let Some(gradient) = gradients.get(&tensors[n]) {
                all.push(host(&gradient)?);
            }
        }
    }
    Ok(all)
}

/// Messages name devices.
fn message(error: &impl std::fmt::Display, gpu: &Device) -> String {
    error.to_string().replace(&gpu.name(), "cpu")
}

fn close(a: f32, b: f32, largest: f32) -> bool {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => true,
        (false, false) if a.is_finite() && b.is_finite() => (a - b).abs() <= 1e-4 * largest + 1e-30,
        (false, false) => a == b,
        _ => false,
    }
}

fn compare(call: &Call, cpu: &Result<Vec<Host>>, gpu: &Result<Vec<Host>>, device: &Device) {
    match (cpu, gpu) {
        (Err(cpu), Err(gpu)) => assert_eq!(message(cpu, device), message(gpu, device), "{call:?}"),
        (Ok(cpu), Ok(gpu)) => {
            assert_eq!(cpu.len(), gpu.len(), "{call:?}");
            for (a, b) in cpu.iter().zip(gpu) {
                assert_eq!(a.dims, b.dims, "{call:?}");
                let finite = a.values.iter().filter(|x| x.is_finite());
                let largest = finite.fold(1f32, |largest, x| largest.max(x.abs()));
                for (&x, &y) in a.values.iter().zip(&b.values) {
                    assert!(close(x, y, largest), "{call:?}: {x} on the CPU, {y} on the GPU: {a:?} {b:?}");
                }
            }
        }
        _ => panic!("{call:?}: {cpu:?} on the CPU, {gpu:?} on the GPU"),
    }
}

/// Runs a program of up to twelve calls; how many were accepted.
fn run(program: &[u8], gpu: &Device) -> u64 {
    let cpu = Device::cpu();
    let mut choices = Choices(program.iter());
    let mut pool: Vec<Host> = Vec::new();
    for _ in 0..4 {
        let dims = choices.dims();
        let len = dims.iter().product();
        pool.push(Host { values: (0..len).map(|_| choices.value()).collect(), dims });
    }
    // A tensor has no empty axis.
    pool.retain(|host| !host.values.is_empty());
    pool.push(Host { dims: vec![2, 3], values: vec![0.5, -1.0, 2.0, 0.25, 1.5, -0.75] });
    let mut accepted = 0;
    for _ in 0..12 {
        let call = Call::draw(&mut choices, pool.len());
        let got = [&cpu, gpu].map(|device| outcome(&call, device, &pool));
        compare(&call, &got[0], &got[1], gpu);
        let [Ok(results), _] = got else { continue };
        accepted += 1;
        pool.extend(results.into_iter().take(1));
        if pool.len() > 8 {
            pool.remove(0);
        }
    }
    accepted
}

pub(crate) fn random_calls_agree(gpu: &Device) {
    let mut rng = SplitMix64::new(first_seed());
    let failed = folder().join("calls.failed");
    let (start, mut programs, mut accepted) = (Instant::now(), 0u64, 0u64);
    let mut program: Vec<u8> = Vec::new();
    while start.elapsed().as_secs_f64() < seconds() {
        let fresh: Vec<u8> = (0..240).map(|_| rng.next_below(256) as u8).collect();
        program = match rng.next_below(2) {
            0 => fresh,
            _ => mutated(&program, &fresh, &mut rng),
        };
        programs += 1;
        match catch_unwind(AssertUnwindSafe(|| run(&program, gpu))) {
            Ok(calls) => accepted += calls,
            Err(panic) => {
                std::fs::write(&failed, &program).unwrap();
                eprintln!("the program is in {}", failed.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("calls: {programs} programs of 12 calls, {accepted} calls accepted");
    assert!(programs < 100 || accepted > programs, "{accepted} calls accepted in {programs} programs");
}
