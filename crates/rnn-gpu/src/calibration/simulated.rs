//! Calibrations of adapters that exist only here: honest ones, disturbed ones, and liars.

use super::measure::measure;
use super::meter::{BUDGET, Probe, Run, Task, Timing};
use super::speed::Speed;
use rnn_base::error::Error;
use rnn_kernels::catalogue::calibration::{PRODUCT_ROWS, READ_BLOCK};

/// What an adapter says of a pass that took this many seconds of this many in all.
type Clock = fn(f64, f64) -> Option<f64>;

struct Simulated {
    speed: Speed,
    /// Seconds of a submit besides its dispatches.
    submit: f64,
    clock: Clock,
    /// Factor of the next run.
    disturb: fn(usize) -> f64,
    runs: usize,
    /// The time of all runs, which the budget limits: the clock of the test.
    spent: f64,
}

impl Simulated {
    fn new(speed: Speed, clock: Clock) -> Self {
        Simulated { speed, submit: 1e-4, clock, disturb: |_| 1.0, runs: 0, spent: 0.0 }
    }

    fn seconds(&self, run: Run) -> f64 {
        let Speed { cores, lanes, fma, memory, barrier: [small, usual], dispatch } = self.speed;
        let iterations = f64::from(run.iterations);
        let busy = (run.workgroup as f64 / lanes as f64).min(1.0);
        let products = (run.workgroup * PRODUCT_ROWS * 4) as f64 / (fma * busy);
        let group = match run.task {
            Task::Multiply => iterations * products,
            Task::Stream => 1.5 * iterations * products,
            Task::Barrier => 2.0 * iterations * if run.workgroup == 64 { small } else { usual },
            Task::Read => {
                let bytes = (16 * READ_BLOCK * run.groups) as f64;
                return f64::from(run.dispatches) * dispatch + iterations * bytes / memory;
            }
        };
        f64::from(run.dispatches) * (dispatch + run.groups.div_ceil(cores) as f64 * group)
    }
}

impl Probe for Simulated {
    fn time(&mut self, run: Run) -> Result<Timing, Error> {
        let device = self.seconds(run) * (self.disturb)(self.runs);
        self.runs += 1;
        let wall = device + self.submit;
        self.spent += wall;
        Ok(Timing { wall, device: (self.clock)(device, wall) })
    }
}

const HONEST: Clock = |device, _| Some(device);
const NO_CLOCK: Clock = |_, _| None;

fn large() -> Speed {
    let fma = 2f64.powi(37);
    let (memory, barrier, dispatch) = (2f64.powi(42), [2f64.powi(-25), 2f64.powi(-24)], 2f64.powi(-19));
    Speed { cores: 128, lanes: 256, fma, memory, barrier, dispatch }
}

fn small() -> Speed {
    let fma = 2f64.powi(33);
    let (memory, barrier, dispatch) = (2f64.powi(34), [2f64.powi(-23), 2f64.powi(-22)], 2f64.powi(-17));
    Speed { cores: 8, lanes: 64, fma, memory, barrier, dispatch }
}

fn software() -> Speed {
    let fma = 2f64.powi(34);
    let (memory, barrier, dispatch) = (2f64.powi(32), [2f64.powi(-22), 2f64.powi(-20)], 2f64.powi(-14));
    Speed { cores: 2, lanes: 8, fma, memory, barrier, dispatch }
}

#[test]
fn a_calibration_finds_the_speed_of_an_honest_adapter_with_and_without_a_clock() {
    for (name, speed) in [("large", large()), ("small", small()), ("software", software())] {
        for (clock, text) in [(HONEST, "its own clock"), (NO_CLOCK, "the host's clock")] {
            let mut adapter = Simulated::new(speed, clock);
            let found = measure(&mut adapter, 1024).unwrap();
            assert_eq!(found, Ok(speed), "{name} by {text}");
            assert!(adapter.spent <= 0.5 * BUDGET, "{name} by {text}: {}", adapter.spent);
        }
    }
    // A workgroup larger than the limit is not run. Then most of a core idles, and nobody can know.
    let wide = Speed { lanes: 1024, ..large() };
    let found = measure(&mut Simulated::new(wide, HONEST), 256).unwrap();
    assert_eq!(found, Ok(Speed { lanes: 256, fma: 0.25 * wide.fma, ..wide }));
}

#[test]
fn other_programs_that_disturb_some_runs_do_not_spoil_a_calibration() {
    for speed in [large(), small(), software()] {
        let mut adapter = Simulated::new(speed, HONEST);
        adapter.disturb = |run| if run % 3 == 1 { 1.0 + (run % 7) as f64 / 3.0 } else { 1.0 };
        let found = measure(&mut adapter, 1024).unwrap();
        assert_eq!(found, Ok(speed));
    }
}

/// However slow an adapter is, its runs end in the time there is.
#[test]
fn a_calibration_ends_in_the_time_there_is() {
    for factor in [1.0, 8.0, 64.0, 512.0, 1024.0] {
        for disturb in [|_| 1.0, |run| if run % 2 == 0 { 1.0 } else { 2.0 }] as [fn(usize) -> f64; 2] {
            let speed = software();
            let slow = Speed {
                fma: speed.fma / factor,
                memory: speed.memory / factor,
                barrier: speed.barrier.map(|seconds| seconds * factor),
                dispatch: speed.dispatch * factor,
                ..speed
            };
            let mut adapter = Simulated { disturb, ..Simulated::new(slow, NO_CLOCK) };
            let found = measure(&mut adapter, 1024).unwrap();
            assert!(adapter.spent <= BUDGET, "{factor}: {} seconds, {found:?}", adapter.spent);
            assert!(factor < 1024.0 || found.is_err(), "{factor}: {found:?}");
        }
    }
}

/// Every clock that cannot be right, on the host's side too.
#[test]
fn a_clock_that_lies_gives_no_speed() {
    let liars: [(&str, Clock); 8] = [
        ("always zero", |_, _| Some(0.0)),
        ("backwards", |device, _| Some(-device)),
        ("no number", |_, _| Some(f64::NAN)),
        ("endless", |_, _| Some(f64::INFINITY)),
        ("longer than the whole", |_, wall| Some(2.0 * wall + 1e-3)),
        ("the same whatever the work", |_, _| Some(5e-5)),
        ("less for more work", |device, _| Some(1e-5 / (1.0 + 1e3 * device))),
        ("ticks of ten seconds", |device, _| Some((device / 10.0).floor())),
    ];
    for (name, clock) in liars {
        let mut adapter = Simulated::new(large(), clock);
        let found = measure(&mut adapter, 1024).unwrap();
        assert!(found.is_err(), "{name}: {found:?}");
        assert!(adapter.spent <= BUDGET, "{name}");
    }
    // An adapter that does everything at once.
    let mut adapter = Simulated::new(Speed { fma: 1e30, ..small() }, HONEST);
    assert!(measure(&mut adapter, 1024).unwrap().is_err());
}

#[test]
fn a_second_attempt_follows_a_disturbed_one() {
    let mut adapter = Simulated::new(small(), HONEST);
    // The first twenty runs take longer and longer, then the other program ends.
    adapter.disturb = |run| if run < 20 { 1.0 + 5.0 * run as f64 } else { 1.0 };
    let found = measure(&mut adapter, 1024).unwrap();
    assert_eq!(found, Ok(small()));
}

#[test]
fn a_lost_device_ends_a_calibration() {
    struct Lost;
    impl Probe for Lost {
        fn time(&mut self, _: Run) -> Result<Timing, Error> {
            Err(Error::DeviceLost("gone".into()))
        }
    }
    assert!(matches!(measure(&mut Lost, 256), Err(Error::DeviceLost(_))));
}
