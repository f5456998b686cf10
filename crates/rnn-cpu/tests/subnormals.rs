//! The mode in which subnormal numbers count as zero: where it holds, and that it ends.

use rnn_cpu::FlushSubnormals;
use rnn_cpu::internals::team;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

const NORMAL: f32 = 1e-30;
const SUBNORMAL: f32 = 1e-40;

/// The bits of a product whose exact value is subnormal, and of a product with a subnormal factor.
fn products() -> [u32; 2] {
    [black_box(NORMAL) * black_box(1e-10), black_box(SUBNORMAL) * black_box(1e20)].map(f32::to_bits)
}

/// What IEEE 754 asks for; 1e-40 as an f32 is 9.99995e-41.
fn gradual() -> [u32; 2] {
    [1e-40f32.to_bits(), 9.99995e-21f32.to_bits()]
}

#[test]
fn subnormals_are_flushed_while_the_guard_lives() {
    let near = |got: [u32; 2]| got.iter().zip(gradual()).all(|(&a, b)| a.abs_diff(b) < 8);
    assert!(near(products()), "before: {:x?}", products());
    {
        let _outer = FlushSubnormals::on();
        let inner = FlushSubnormals::on();
        assert_eq!(products(), [0, 0]);
        drop(inner);
        assert_eq!(products(), [0, 0], "the inner guard found the mode set and leaves it");
    }
    assert!(near(products()), "after: {:x?}", products());
}

#[test]
fn the_mode_ends_when_a_kernel_panics() {
    let result = std::panic::catch_unwind(|| {
        let _flushed = FlushSubnormals::on();
        panic!("in a kernel");
    });
    assert!(result.is_err());
    assert_ne!(products()[0], 0);
}

#[test]
fn every_thread_of_a_job_flushes() {
    // Parts that wait for each other are on threads of their own.
    for parts in [2, 3, 5] {
        let (arrived, not_flushed) = (AtomicU32::new(0), AtomicU32::new(0));
        let _flushed = FlushSubnormals::on();
        let ran = team::together(parts, |_| {
            arrived.fetch_add(1, Ordering::AcqRel);
            while arrived.load(Ordering::Acquire) < parts as u32 {
                std::thread::yield_now();
            }
            if products() != [0, 0] {
                not_flushed.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(ran, "{parts} threads start");
        assert_eq!(not_flushed.into_inner(), 0, "{parts} parts");
    }
}
