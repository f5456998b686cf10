//! Subnormal numbers count as zero in the kernels of this crate.
//!
//! A processor handles a subnormal operand or result in microcode, up to 200 times slower than any other. Moments of an
//! optimizer, states and gradients fade through that range in ordinary training. GPUs treat subnormals as zero, too.
//! What it means for results: a value below 1.18e-38 in magnitude is read and written as zero, on every thread alike.
//! Copies keep all bits.

/// Until it is dropped, its thread treats subnormal inputs and results as zero. Then the thread has its former mode again.
#[must_use = "the mode ends when the guard is dropped"]
#[derive(Debug)]
pub struct FlushSubnormals {
    before: Mode,
    /// The mode belongs to one thread.
    _thread: std::marker::PhantomData<*const ()>,
}

impl FlushSubnormals {
    /// Sets the mode on this thread, for some 10 ns. Where the architecture has no such mode (WebAssembly), or has it
    /// always, this does nothing.
    #[inline]
    pub fn on() -> Self {
        let before = arch::mode();
        if before & arch::FLUSH != arch::FLUSH {
            arch::set_mode(before | arch::FLUSH);
        }
        FlushSubnormals { before, _thread: std::marker::PhantomData }
    }
}

impl Drop for FlushSubnormals {
    #[inline]
    fn drop(&mut self) {
        if self.before & arch::FLUSH != arch::FLUSH {
            arch::set_mode(self.before);
        }
    }
}

use arch::Mode;

// Rust and LLVM assume the default floating-point environment. The consequences of this mode are bounded: the compiler
// may fold a constant operation on subnormals, or move an operation across the switch, and such an operation then keeps
// a subnormal result that the mode would have flushed. Rounding, traps and flags stay as they are. Nothing in this crate
// derives an index, a length or an address from a floating-point value that may be subnormal. The blocks are not marked
// `nomem`, so loads and stores stay on their side of the switch.

#[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse2")))]
mod arch {
    use std::arch::asm;

    pub(super) type Mode = u32;
    /// Flush to zero (results), bit 15 of MXCSR, and denormals are zero (inputs), bit 6.
    pub(super) const FLUSH: Mode = 1 << 15 | 1 << 6;

    #[inline]
    pub(super) fn mode() -> Mode {
        let mut mode: Mode = 0;
        // SAFETY: stores the 4 bytes of MXCSR to a local of 4 bytes. Every processor with SSE2 has the register.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
        mode
    }

    #[inline]
    pub(super) fn set_mode(mode: Mode) {
        // SAFETY: `mode` is what the register held, with or without the two bits above, which every processor with SSE2
        // has. See the comment above for what the compiler assumes.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    pub(super) type Mode = u64;
    /// FZ, bit 24 of FPCR: inputs and results of single and double precision.
    pub(super) const FLUSH: Mode = 1 << 24;

    #[inline]
    pub(super) fn mode() -> Mode {
        let mode: Mode;
        // SAFETY: reads a register that programs may read.
        unsafe { asm!("mrs {}, fpcr", out(reg) mode, options(nostack, preserves_flags)) };
        mode
    }

    #[inline]
    pub(super) fn set_mode(mode: Mode) {
        // SAFETY: `mode` is what the register held, with or without FZ. See the comment above for what the compiler
        // assumes.
        unsafe { asm!("msr fpcr, {}", in(reg) mode, options(nostack, preserves_flags)) };
    }
}

/// 32-bit Arm flushes in vector code always; WebAssembly has no such mode.
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "x86", target_feature = "sse2"),
    target_arch = "aarch64"
)))]
mod arch {
    pub(super) type Mode = u32;
    pub(super) const FLUSH: Mode = 0;

    pub(super) fn mode() -> Mode {
        0
    }

    pub(super) fn set_mode(_mode: Mode) {}
}
