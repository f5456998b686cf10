//! An allocator with a limit: a size that a file names must not take the machine's memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes that are in use at once. Requests above it fail, as on a small machine.
pub(crate) const MOST: usize = 1 << 30;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: every block comes from the system's allocator and goes back to it with its own layout; null is an allocator's
// answer to a request that it does not serve.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        if before.saturating_add(layout.size()) <= MOST {
            // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
            let block = unsafe { System.alloc(layout) };
            if !block.is_null() {
                return block;
            }
        }
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        std::ptr::null_mut()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `block` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}
