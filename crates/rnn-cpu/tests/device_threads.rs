//! Devices with threads of their own: which threads work, and that they end with the device.

use rnn_cpu::internals::team::{each, together};
use rnn_cpu::{CpuDevice, CpuOptions};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{ThreadId, current};
use std::time::{Duration, Instant};

fn device(threads: usize) -> CpuDevice {
    CpuDevice::with(&CpuOptions::new().with_threads(threads)).unwrap()
}

/// The threads that `count` parts run on which wait for each other, and their names.
fn members(count: usize) -> (HashSet<ThreadId>, HashSet<String>) {
    let (arrived, seen) = (AtomicUsize::new(0), Mutex::new((HashSet::new(), HashSet::new())));
    let begun = together(count, |_| {
        arrived.fetch_add(1, Ordering::AcqRel);
        while arrived.load(Ordering::Acquire) < count {
            std::thread::yield_now();
        }
        let mut seen = seen.lock().unwrap();
        seen.0.insert(current().id());
        seen.1.insert(current().name().unwrap_or_default().to_string());
    });
    assert!(begun, "{count} threads start");
    seen.into_inner().unwrap()
}

#[test]
fn jobs_of_a_device_run_on_its_threads_again_and_again() {
    let device = device(3);
    assert_eq!(device.threads(), 3);
    let _running = device.enter();
    let (first, names) = members(3);
    assert_eq!(first.len(), 3, "three threads");
    assert!(first.contains(&current().id()), "the caller is one of them");
    assert!(names.contains("rnn-cpu-1") && names.contains("rnn-cpu-2"), "{names:?}");
    assert_eq!(members(3).0, first, "and they stay");
}

/// Two devices that shared threads could not both have their parts wait: the second would get threads of that job alone.
#[test]
fn devices_work_side_by_side() {
    let [a, b] = [device(2), device(2)];
    let of_a = {
        let _running = a.enter();
        members(2).0
    };
    let _running = a.enter();
    each(2, |part| {
        // This part runs inside a job of `a`.
        if part == 0 {
            let (of_b, names) = std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    let _running = b.enter();
                    members(2)
                });
                other.join().unwrap()
            });
            assert!(names.contains("rnn-cpu-1"), "{names:?}");
            assert!(of_a.is_disjoint(&of_b));
        }
    });
}

#[test]
fn a_device_of_one_thread_has_no_other() {
    let device = device(1);
    assert_eq!(device.threads(), 1);
    let _running = device.enter();
    each(100, |_| assert_eq!(current().name(), Some("a_device_of_one_thread_has_no_other")));
}

/// An op of another device does not take the thread's own choice away, and the guards end in order.
#[test]
fn installed_threads_are_used_by_ops_of_every_device() {
    let [one, three] = [device(1), device(3)];
    {
        let _installed = one.install();
        let _running = three.enter();
        assert_eq!(three.threads(), 1);
        each(100, |_| {
            assert_eq!(current().name(), Some("installed_threads_are_used_by_ops_of_every_device"))
        });
    }
    assert_eq!(three.threads(), 3);
    let _running = three.enter();
    {
        let _inner = one.enter();
        each(100, |_| {
            assert_eq!(current().name(), Some("installed_threads_are_used_by_ops_of_every_device"))
        });
    }
    assert_eq!(members(3).0.len(), 3, "the outer op goes on with its threads");
}

#[test]
fn impossible_numbers_are_refused() {
    for threads in [0, 1025, usize::MAX] {
        let error = CpuDevice::with(&CpuOptions::new().with_threads(threads)).unwrap_err().to_string();
        assert_eq!(error, format!("Device::cpu_with: threads must be 1 to 1024, got {threads}"));
    }
}

/// Threads of this process with the name of the seventh thread of a device.
#[cfg(target_os = "linux")]
fn sevenths() -> usize {
    let name =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    std::fs::read_dir("/proc/self/task").unwrap().flatten().map(name).filter(|n| n == "rnn-cpu-7\n").count()
}

/// Only this test has devices of eight threads.
#[test]
#[cfg(target_os = "linux")]
fn threads_end_with_the_last_handle_to_the_device_or_its_memory() {
    let wait_for = |count: usize| {
        let start = Instant::now();
        while sevenths() != count {
            assert!(start.elapsed() < Duration::from_secs(20), "{} threads, not {count}", sevenths());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    for round in 0..20 {
        let device = device(8);
        assert_eq!(sevenths(), 0, "they start with the first job");
        {
            let _running = device.enter();
            assert_eq!(members(8).0.len(), 8);
        }
        let memory = device.alloc(10).unwrap();
        // Some rounds end while the threads still spin, some when they are parked.
        std::thread::sleep(Duration::from_micros(200 * (round % 5)));
        drop(device);
        assert_eq!(sevenths(), 1, "the memory keeps the device");
        drop(memory);
        wait_for(0);
    }
}
