//! Processes that do not have the threads they ask for: a child of `fork`, and processes whose limits stop new threads.
//! They compute the same bits as any other, and nothing waits for a thread that does not exist.

#![cfg(target_os = "linux")]

use rnn_api::prelude::*;
use rnn_testing::data::uniform;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Address space that a thread of the standard library takes at least.
const STACK: u64 = 2 << 20;

/// Runs `check` in a child made by `fork`. The child must not hang, and `check` must hold there.
#[track_caller]
fn holds_in_a_child(check: impl FnOnce() -> bool) {
    // SAFETY: the child runs `check` and ends; it never returns to the test harness.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: ends a child that hangs.
        unsafe { libc::alarm(60) };
        let holds = catch_unwind(AssertUnwindSafe(check)).unwrap_or(false);
        // SAFETY: ends the child without the destructors that belong to its parent.
        unsafe { libc::_exit(i32::from(!holds)) };
    }
    let mut status = 0;
    // SAFETY: the child exists, and `status` is a place for its status.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    assert!(libc::WIFEXITED(status), "the child hung or crashed: signal {}", libc::WTERMSIG(status));
    assert_eq!(libc::WEXITSTATUS(status), 0, "the check fails in the child");
}

/// A layer with few rows, whose threads wait for each other after every step, and one with many.
struct Layers {
    lstm: Lstm,
    few: Tensor,
    many: Tensor,
}

impl Layers {
    fn new() -> Self {
        Self::on(Device::cpu())
    }

    fn on(device: Device) -> Self {
        let random = |seed, dims: &[usize]| {
            Tensor::from_vec(&device, uniform(seed, dims.iter().product()), dims).unwrap()
        };
        let lstm = LstmConfig::new(8, 64).init(&device, 1).unwrap();
        Layers { lstm, few: random(1, &[8, 1, 8]), many: random(2, &[4, 24, 8]) }
    }

    /// Outputs and gradients of both inputs, as bits.
    fn bits(&self) -> Vec<u32> {
        let mut values = Vec::new();
        for x in [&self.few, &self.many] {
            let y = self.lstm.forward(x, None).unwrap().y;
            let gradients = y.mul(&y).unwrap().mean_all().unwrap().backward().unwrap();
            values.extend(y.to_vec().unwrap());
            for param in self.lstm.parameters() {
                values.extend(gradients.get(&param).unwrap().to_vec().unwrap());
            }
        }
        values.into_iter().map(f32::to_bits).collect()
    }
}

fn threads() -> usize {
    match Device::cpu() {
        Device::Cpu(cpu) => cpu.threads(),
        #[allow(unreachable_patterns, reason = "builds with a GPU")]
        _ => unreachable!("the CPU"),
    }
}

#[test]
fn a_child_of_fork_does_not_wait_for_its_parent_s_threads() {
    let layers = Layers::new();
    let bits = layers.bits();
    holds_in_a_child(|| layers.bits() == bits);
    // The parent's threads are as before.
    assert_eq!(layers.bits(), bits);
}

/// The same for the threads of a device, which the child also gives back.
#[test]
fn a_child_of_fork_has_a_device_s_threads_of_its_own() {
    let own = || Layers::on(Device::cpu_with(&rnn_api::CpuOptions::new().with_threads(3)).unwrap());
    let (layers, bits) = (own(), Layers::new().bits());
    assert_eq!(layers.bits(), bits);
    holds_in_a_child(|| {
        let of_parent = layers.bits() == bits;
        of_parent && own().bits() == bits
    });
    let untouched = own();
    untouched.bits();
    // Dropping it where it has no threads must not wait for them.
    holds_in_a_child(move || {
        drop(untouched);
        true
    });
    assert_eq!(layers.bits(), bits);
}

#[test]
fn a_child_of_fork_works_while_its_parent_is_in_the_middle_of_a_pass() {
    let layers = Layers::new();
    let bits = layers.bits();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Layers of its own: the child may find their memory locked.
            let own = Layers::new();
            (0..300).for_each(|_| drop(own.bits()));
        });
        for _ in 0..10 {
            holds_in_a_child(|| layers.bits() == bits);
        }
    });
}

/// Address space that [`LIMITED`] leaves for new threads, in bytes, and the hash of the bits that it expects.
const ROOM: &str = "RNN_TEST_ROOM";
const EXPECTED: &str = "RNN_TEST_EXPECTED";
const LIMITED: &str = "in_a_limited_process";

fn hash(bits: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bits.hash(&mut hasher);
    hasher.finish()
}

/// Runs [`in_a_limited_process`] in a new process, which unlike a child of `fork` has no stacks to use again.
#[track_caller]
fn holds_with_room(bytes: u64) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", LIMITED, "--ignored", "--nocapture"])
        .env("RNN_THREADS", "4")
        .env(ROOM, bytes.to_string())
        .env(EXPECTED, hash(&Layers::new().bits()).to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{:?}: {text}", output.status);
}

#[test]
#[ignore = "the part of two tests that runs in a process of its own"]
fn in_a_limited_process() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let room = number(ROOM).expect("started by one of the two tests");
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: ends a process that hangs; a query; a valid limit.
    unsafe {
        libc::alarm(60);
        let page = libc::sysconf(libc::_SC_PAGESIZE) as u64;
        let limit = libc::rlimit { rlim_cur: pages * page + room, rlim_max: libc::RLIM_INFINITY };
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
    }
    assert_eq!(Some(hash(&Layers::new().bits())), number(EXPECTED), "other bits with fewer threads");
    let started = 1 + room / STACK;
    assert_eq!(threads() as u64, started, "threads with room for {room} bytes");
}

#[test]
fn a_process_that_can_start_no_thread_computes_the_same() {
    holds_with_room(3 * STACK / 4);
}

#[test]
fn a_process_that_can_start_some_threads_computes_the_same() {
    holds_with_room(STACK + 3 * STACK / 4);
}
