//! After construction, networks in real time take no memory, give none back, and call nothing of the system. The allocator
//! of this program counts; on Linux a child process runs where the kernel ends it at any call but `exit`.

use rnn_api::live::Pipeline;
use rnn_api::nn::{AnyRnnConfig, AnyRnnStream};
use rnn_api::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNTED: Cell<Option<usize>> = const { Cell::new(None) };
}

fn count() {
    // A thread that ends has no counter any more.
    let _ = COUNTED.try_with(|counted| counted.set(counted.get().map(|n| n + 1)));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls of the allocator on this thread while `run` runs.
fn allocations(run: impl FnOnce()) -> usize {
    COUNTED.set(Some(0));
    run();
    COUNTED.take().expect("counted")
}

/// Every kind of call in real time.
struct Calls {
    pipelines: Vec<Pipeline>,
    streams: Vec<AnyRnnStream>,
}

const HIDDEN: usize = 40;

impl Calls {
    fn new() -> Self {
        let device = Device::cpu();
        let lstm = LstmConfig::new(1, HIDDEN).with_num_layers(2);
        let configs: [AnyRnnConfig; 5] = [
            lstm.clone().into(),
            lstm.with_peephole(true).with_clip(2.0).with_zoneout(0.1, 0.1).into(),
            GruConfig::new(1, HIDDEN).with_candidate_activation(Activation::Softsign).into(),
            MguConfig::new(1, HIDDEN).into(),
            RnnConfig::new(1, HIDDEN).with_independent(true).into(),
        ];
        let layers = configs.map(|config| config.init(&device, 1).unwrap());
        let head = Sequential::new()
            .with(LinearConfig::new(HIDDEN, 5000).init(&device, 2).unwrap())
            .with(UnaryOp::Tanh)
            .with(LinearConfig::new(5000, 1).init(&device, 3).unwrap());
        let pipeline = |layer| {
            let builder = Pipeline::builder(1).unwrap().recurrent(layer).unwrap().layer(&head).unwrap();
            builder.activation(Activation::Elu { alpha: 1.0 }).residual().unwrap().build().unwrap()
        };
        let wide = LinearConfig::new(1, 5000).init(&device, 4).unwrap();
        let softmax = Pipeline::builder(1).unwrap().linear(&wide).unwrap().softmax();
        let sum = LinearConfig::new(5000, 1).init(&device, 5).unwrap();
        let mut pipelines: Vec<Pipeline> = layers.iter().map(pipeline).collect();
        pipelines.push(softmax.linear(&sum).unwrap().build().unwrap());
        let streams = layers.iter().map(|layer| layer.stream(1).unwrap()).collect();
        Calls { pipelines, streams }
    }

    fn run(&mut self, kept: &mut [rnn_api::live::PipelineState]) {
        let mut y = [0.0; 3 * HIDDEN];
        for (pipeline, kept) in self.pipelines.iter_mut().zip(kept) {
            for _ in 0..3 {
                pipeline.process(&[0.5, -0.5, 1e-40], &mut y[..3]).unwrap();
            }
            pipeline.copy_state(kept).unwrap();
            assert!(pipeline.is_finite());
            pipeline.reset();
            pipeline.set_state(kept).unwrap();
            assert!(pipeline.process(&[0.5], &mut y[..2]).is_err());
        }
        for stream in &mut self.streams {
            stream.step_into(&[0.5], &mut y[..HIDDEN]).unwrap();
            stream.block_into(&[0.5, 0.25, 0.125], &mut y).unwrap();
            assert!(stream.step_into(&[0.5, 0.5], &mut y[..HIDDEN]).is_err());
            assert!(stream.is_finite().unwrap());
            stream.reset_in_place().unwrap();
        }
    }

    fn states(&self) -> Vec<rnn_api::live::PipelineState> {
        self.pipelines.iter().map(Pipeline::state).collect()
    }
}

#[test]
fn calls_in_real_time_take_no_memory() {
    assert!(allocations(|| drop(Vec::<u8>::with_capacity(9))) == 2, "the counter works");
    let mut calls = Calls::new();
    let mut kept = calls.states();
    // From the first call on, on a thread that has run none before.
    let counted = std::thread::spawn(move || allocations(|| calls.run(&mut kept)));
    assert_eq!(counted.join().unwrap(), 0);
}

/// A state that was given stays with its owner, and a snapshot that is gone costs nothing.
#[test]
fn given_states_and_past_snapshots_cost_no_memory() {
    let layer = LstmConfig::new(1, 8).init(&Device::cpu(), 1).unwrap();
    let mut stream = layer.stream(1).unwrap();
    let mut y = [0.0; 8];
    let state = layer.zero_state(1).unwrap();
    stream.set_state(&state).unwrap();
    assert_eq!(allocations(|| stream.step_into(&[0.5], &mut y).unwrap()), 0);
    drop(stream.state().clone());
    assert_eq!(allocations(|| stream.step_into(&[0.5], &mut y).unwrap()), 0);
    drop(state);
}

/// The exceptions that the documentation names: each costs one copy, and then no more.
#[test]
fn what_shares_memory_with_the_state_costs_one_copy() {
    let layer = LstmConfig::new(1, 8).init(&Device::cpu(), 1).unwrap();
    let x = Tensor::ones(&Device::cpu(), &[1, 1]).unwrap();
    let mut y = [0.0; 8];
    let mut costs = |stream: &mut LstmStream| {
        [0; 2].map(|_| allocations(|| stream.step_into(&[0.5], &mut y).unwrap()) > 0)
    };
    let mut stream = layer.stream(1).unwrap();
    let snapshot = stream.state().clone();
    assert_eq!(costs(&mut stream), [true, false], "a snapshot");
    let output = stream.step(&x).unwrap();
    assert_eq!(costs(&mut stream), [true, false], "an output of step");
    drop((snapshot, output));
    drop(stream.step(&x).unwrap());
    assert_eq!(costs(&mut stream), [false, false], "an output that is gone");
}

#[cfg(target_os = "linux")]
#[test]
fn calls_in_real_time_do_not_call_the_system() {
    fn child(run: impl FnOnce()) -> i32 {
        // SAFETY: the child computes on its own memory and ends below.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            // SAFETY: from here on the kernel ends this process at any call but read, write, exit and sigreturn.
            let strict = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
            if strict == 0 {
                run();
            }
            // SAFETY: ends the only thread of the child.
            unsafe { libc::syscall(libc::SYS_exit, if strict == 0 { 0 } else { 2 }) };
        }
        let mut status = 0;
        // SAFETY: the child exists, and `status` is a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        status
    }
    let mut calls = Calls::new();
    let mut kept = calls.states();
    let killed = child(|| drop(std::fs::metadata("/")));
    if libc::WIFEXITED(killed) && libc::WEXITSTATUS(killed) == 2 {
        eprintln!("this system has no strict mode of seccomp: not tested");
        return;
    }
    assert_eq!((libc::WIFSIGNALED(killed), libc::WTERMSIG(killed)), (true, libc::SIGKILL), "the mode works");
    let status = child(|| calls.run(&mut kept));
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
}

const FRESH: &str = "in_a_fresh_process";

/// A pipeline of activations alone: nothing before its first sample has asked which instructions the processor has.
#[test]
#[ignore = "runs in a process of its own"]
fn in_a_fresh_process() {
    let builder = Pipeline::builder(5).unwrap().activation(Activation::Tanh).softmax();
    let mut network = builder.activation(Activation::Sigmoid).build().unwrap();
    let mut y = [0.0; 10];
    assert_eq!(allocations(|| network.process(&[0.5; 10], &mut y).unwrap()), 0);
}

#[test]
fn the_first_sample_of_a_process_takes_no_memory() {
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    let output = test.args(["--exact", FRESH, "--ignored"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{:?}: {text}", output.status);
}
