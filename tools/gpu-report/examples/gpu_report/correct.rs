//! Whether every kernel computes the right values, by the oracle and the tests of the library.

use crate::common::DeviceTest;
use crate::setup::{Setup, Survivor};
use crate::{pass, pointwise, reduce};
use anyhow::{Result, ensure};
use report::runner::{Clock, Findings};
use rnn_api::{Algorithm, Array, CellSpec, Device, GpuOptions, RngKey, Storage};
use rnn_runtime::ops::gemm;
use rnn_runtime::ops::rnn::StackDraws;
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::{SplitMix64, to_f64, uniform};
use rnn_testing::oracle::matmul::{Matmul, matmul};
use rnn_testing::oracle::{StackCase, random_spec, stack_spec, with_options};
use rnn_testing::shapes::{GEMM_SHAPES, GemmShape, RnnShape};
use serde_json::json;

/// The bounds of the tests: plain, with layer normalisation, and with values in f16.
const BOUND: f64 = 1e-4;
const NORM_BOUND: f64 = 2e-3;
const HALF_BOUND: f64 = 4e-3;

/// Runs checks with one set of options each, on a device that is opened again when it was lost.
struct Checks<'a> {
    setup: &'a Setup,
    section: &'static str,
    label: String,
    /// None once the driver was given up.
    device: Option<Survivor<'a>>,
    count: usize,
    worst: f64,
}

impl<'a> Checks<'a> {
    /// A device that cannot be opened is a failure; its checks do not run.
    fn new(
        setup: &'a Setup,
        findings: &mut Findings,
        section: &'static str,
        (label, options): (&str, GpuOptions),
    ) -> Self {
        let opened = Survivor::new(setup, options);
        let device = opened.map_err(|error| findings.failures.push(format!("{label}: {error:#}"))).ok();
        Checks { setup, section, label: label.into(), device, count: 0, worst: 0.0 }
    }

    /// Runs a check, which gives its largest error and the bound. A failure is written down, and a lost device replaced.
    fn run(
        &mut self,
        findings: &mut Findings,
        name: &str,
        check: impl FnOnce(&Device) -> Result<[f64; 2]>,
    ) -> Result<()> {
        let Some(device) = &mut self.device else { return Ok(()) };
        self.count += 1;
        let before = findings.failures.len();
        let result = device.run(findings, &format!("{}, {name}", self.label), |device| {
            let [error, bound] = check(device)?;
            device.synchronize()?;
            // Also refuses NaN.
            ensure!(error <= bound, "error {error:.1e}, at most {bound:.0e} is right");
            Ok(error)
        });
        let error = match result {
            Ok(error) => error,
            Err(given_up) => {
                findings.failures.push(format!("{}: {given_up:#}", self.label));
                self.device = None;
                None
            }
        };
        self.worst = self.worst.max(error.unwrap_or(0.0));
        let problem = findings.failures.get(before);
        self.setup.folder.line(
            self.section,
            json!({ "options": self.label, "check": name, "error": error, "failure": problem }),
        )
    }

    fn say(self, findings: &mut Findings, of: usize) {
        let Checks { label, device, count, worst, .. } = self;
        let (done, end) = match count < of {
            true if device.is_none() => (format!("{count} of {of}"), "; then the driver was given up"),
            true => (format!("{count} of {of}"), "; then the time was over"),
            false => (count.to_string(), ""),
        };
        findings.not_run += of.saturating_sub(count);
        findings.text.push(format!("- {label}: {done} checks, worst relative error {worst:.1e}{end}"));
    }
}

/// The largest relative error of a case, and its bound.
fn error_of(
    device: &Device,
    mut case: StackCase,
    draws: Option<StackDraws>,
    storage: Storage,
) -> Result<[f64; 2]> {
    if let Some(draws) = draws {
        case.input.masks = pass::masks(&case.spec, case.input.t, case.input.b, draws);
    }
    let mut worst = 0f64;
    for (name, got, want) in pass::run(device, &case, draws, storage, storage == Storage::F32) {
        let error = max_rel_err(&got, &want);
        ensure!(!error.is_nan(), "{name} is not a number");
        worst = worst.max(error);
    }
    let bound = match storage {
        Storage::F32 if case.spec.cell.layer_norm => NORM_BOUND,
        Storage::F32 => BOUND,
        _ => HALF_BOUND,
    };
    Ok([worst, bound])
}

/// Every algorithm and every fallback, in f32 and f16: names and options. `few` has the algorithms alone.
fn ways(few: bool) -> Vec<(&'static str, GpuOptions)> {
    let plain = Setup::aside;
    let forced = |algorithm| GpuOptions { algorithm: Some(algorithm), ..plain() };
    let distrusting = |distrust| GpuOptions { distrust, ..plain() };
    let mut ways = vec![
        ("as planned", plain()),
        ("step", forced(Algorithm::Step)),
        ("sequence", forced(Algorithm::Sequence)),
        ("persistent", forced(Algorithm::Persistent)),
    ];
    if !few {
        ways.extend([
            (MATRIX_UNITS, GpuOptions { matrix_units: true, ..plain() }),
            (
                "weights not in registers",
                GpuOptions { distrust: &["rnn/registers"], ..forced(Algorithm::Sequence) },
            ),
            ("rows not held", GpuOptions { distrust: &["rnn/held"], ..forced(Algorithm::Sequence) }),
            ("no subgroups", GpuOptions { subgroups: false, ..plain() }),
            ("no immediates", GpuOptions { immediates: false, ..plain() }),
            ("limits of WebGPU", GpuOptions { adapter_limits: false, ..plain() }),
            ("products of any stride", distrusting(&["gemm/subgroup", "gemm/aligned"])),
            ("layers side by side", GpuOptions { wavefront: Some(2), ..plain() }),
        ]);
    }
    ways
}

/// Only layers of whole blocks of 16 use them. An adapter without them takes other kernels, which are checked again.
const MATRIX_UNITS: &str = "matrix units";

pub(crate) fn recurrences(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let shapes = [RnnShape { t: 5, b: 3, i: 6, h: 13 }, RnnShape { t: 4, b: 11, i: 5, h: 75 }];
    let all = [CellSpec::lstm(), CellSpec::gru(), CellSpec::mgu(), CellSpec::rnn_tanh()];
    let blocks = [RnnShape { t: 4, b: 16, i: 32, h: 48 }];
    let (shapes, cells) = if setup.quick { (&shapes[..1], &all[..2]) } else { (&shapes[..], &all[..]) };
    for (label, options) in ways(setup.quick) {
        let layers = if options.wavefront.is_some() { 2 } else { 1 };
        let shapes = if label == MATRIX_UNITS { &blocks } else { shapes };
        let mut checks = Checks::new(setup, &mut findings, "recurrences", (label, options));
        let mut of = 0;
        for &shape in shapes {
            for &cell in cells {
                for storage in [Storage::F32, Storage::Half] {
                    of += 1;
                    if clock.is_over() {
                        continue;
                    }
                    let case =
                        StackCase::random(stack_spec(cell, shape, layers, layers == 1), shape, true, 3);
                    let name = format!("{:?} H = {} {storage:?}", cell.kind, shape.h);
                    checks.run(&mut findings, &name, |device| error_of(device, case, None, storage))?;
                }
            }
        }
        checks.say(&mut findings, of);
    }
    Ok(findings)
}

/// 200 random combinations of options, each algorithm in turn.
pub(crate) fn options(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let shapes = [
        RnnShape { t: 5, b: 3, i: 4, h: 6 },
        RnnShape { t: 4, b: 9, i: 3, h: 12 },
        RnnShape { t: 7, b: 1, i: 5, h: 17 },
        RnnShape { t: 3, b: 20, i: 8, h: 5 },
    ];
    let count = if setup.quick { 6 } else { 200 };
    let mut checks = Vec::new();
    for (label, options) in ways(true) {
        checks.push(Checks::new(setup, &mut findings, "options", (label, options)));
    }
    let mut rng = SplitMix64::new(2026);
    for n in 0..count {
        let shape = shapes[n % shapes.len()];
        let spec = random_spec(&mut rng, shape);
        let case = with_options(StackCase::random(spec, shape, n % 3 > 0, n as u64), &mut rng);
        let draws = StackDraws { key: RngKey::new(n as u64), first_step: 3, sequence: 5 + n as u32 };
        let draws = n.is_multiple_of(2).then_some(draws);
        for checks in &mut checks {
            if clock.is_over() {
                break;
            }
            let (case, name) = (case.clone(), format!("combination {n}"));
            checks.run(&mut findings, &name, |device| error_of(device, case, draws, Storage::F32))?;
        }
    }
    checks.into_iter().for_each(|checks| checks.say(&mut findings, count));
    Ok(findings)
}

/// Products of awkward sizes, by every form of the kernels.
pub(crate) fn products(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let ways = ways(false).into_iter().filter(|(_, options)| {
        options.algorithm.is_none() && options.wavefront.is_none() && !options.matrix_units
    });
    // The oracle takes seconds for the large ones.
    let most = if setup.quick { 1 << 18 } else { usize::MAX };
    let shapes: Vec<GemmShape> =
        GEMM_SHAPES.iter().copied().filter(|shape| shape.m * shape.n * shape.k <= most).collect();
    for (label, options) in ways.take(if setup.quick { 2 } else { usize::MAX }) {
        let mut checks = Checks::new(setup, &mut findings, "products", (label, options));
        for &shape in &shapes {
            if clock.is_over() {
                break;
            }
            for [trans_a, trans_b] in [[false, false], [false, true], [true, false]] {
                let GemmShape { m, n, k } = shape;
                let name = format!("M = {m}, N = {n}, K = {k}, transposed: {trans_a}, {trans_b}");
                checks.run(&mut findings, &name, |device| {
                    let case = Matmul { batch: 1, m, n, k, trans_a, trans_b };
                    product_error(device, &case)
                })?;
            }
        }
        checks.say(&mut findings, 3 * shapes.len());
    }
    Ok(findings)
}

fn product_error(device: &Device, case: &Matmul) -> Result<[f64; 2]> {
    let Matmul { m, n, k, trans_a, trans_b, .. } = *case;
    let [a, b] = [uniform(1, m * k), uniform(2, k * n)];
    let dims = |transposed: bool, [rows, columns]: [usize; 2]| match transposed {
        true => [columns, rows],
        false => [rows, columns],
    };
    let on_device = [
        Array::from_f32(device, &a, &dims(trans_a, [m, k]))?,
        Array::from_f32(device, &b, &dims(trans_b, [k, n]))?,
    ];
    let got = gemm::matmul(&on_device[0], &on_device[1], trans_a, trans_b)?;
    Ok([max_rel_err(&got.to_vec()?, &matmul(case, &to_f64(&a), &to_f64(&b))), BOUND])
}

/// The library's own tests of every other op, one after the other.
pub(crate) fn ops(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let tests: Vec<DeviceTest> =
        if setup.quick { [pointwise::tests(), reduce::tests()].concat() } else { all_tests() };
    let mut checks = Checks::new(setup, &mut findings, "ops", ("every op", Setup::aside()));
    for test in &tests {
        if clock.is_over() {
            break;
        }
        let (name, body) = test.parts();
        checks.run(&mut findings, &name, |device| {
            // It panics where a value is wrong.
            body(device);
            Ok([0.0, 0.0])
        })?;
    }
    checks.say(&mut findings, tests.len());
    Ok(findings)
}

fn all_tests() -> Vec<DeviceTest> {
    use crate::{
        copy, ctc, dropout, embed, grad_norm, layer_norm, loss, non_finite, optim, sequence_loss, softmax,
    };
    [
        pointwise::tests(),
        copy::tests(),
        reduce::tests(),
        softmax::tests(),
        layer_norm::tests(),
        embed::tests(),
        dropout::tests(),
        loss::tests(),
        sequence_loss::tests(),
        ctc::tests(),
        grad_norm::tests(),
        optim::tests(),
        non_finite::tests(),
    ]
    .concat()
}
