//! Whether persistent recurrences of a device have failed. The device knows it when the recurrence ends, the host when
//! the submit has run.

use crate::bind_groups::NumberedBuffer;
use crate::counters::Counters;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

const WORD: u64 = 4;

/// Whether persistent recurrences of a device have failed, on the device and as the host has last read it.
#[derive(Default)]
pub(crate) struct Persistence {
    /// Made at the first recurrence.
    memory: OnceLock<Memory>,
    /// Held while one is recorded: the next one starts by reading what this one writes, so that they run one after the
    /// other. Two at a time could have more workgroups than there are cores.
    recording: Mutex<()>,
    /// Whether a recurrence has been recorded since the last copy to the host.
    has_news: AtomicBool,
    host: Arc<Host>,
}

struct Memory {
    /// One f32, on the device: 0, or 1 after a failure.
    word: NumberedBuffer,
    /// Its copy, which the host reads.
    copy: wgpu::Buffer,
}

#[derive(Default)]
struct Host {
    gave_up: AtomicBool,
    /// Whether the copy is in use.
    is_reading: AtomicBool,
}

impl Persistence {
    /// Whether the host has read of a failure.
    pub(super) fn has_given_up(&self) -> bool {
        self.host.gave_up.load(Ordering::Relaxed)
    }

    /// The device's sign of a failure, while no other recurrence may be recorded.
    pub(super) fn begin(
        &self,
        device: &wgpu::Device,
        counters: &Counters,
        number: impl FnOnce(wgpu::Buffer) -> NumberedBuffer,
    ) -> (&NumberedBuffer, MutexGuard<'_, ()>) {
        let memory = self.memory.get_or_init(|| Memory::new(device, counters, number));
        // It guards no data.
        let guard = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        (&memory.word, guard)
    }

    /// Says that a recurrence has been recorded.
    pub(super) fn recorded(&self) {
        self.has_news.store(true, Ordering::Release);
    }

    /// Ends a command list with a copy of the sign, if there may be news. Returns whether there is one.
    pub(crate) fn copy_out(&self, encoder: &mut wgpu::CommandEncoder) -> bool {
        let Some(memory) = self.memory.get() else { return false };
        let wanted = !self.has_given_up() && self.has_news.load(Ordering::Acquire);
        if !wanted || self.host.is_reading.swap(true, Ordering::Acquire) {
            return false;
        }
        self.has_news.store(false, Ordering::Release);
        encoder.copy_buffer_to_buffer(&memory.word.raw, 0, &memory.copy, 0, WORD);
        true
    }

    /// Reads the copy when it arrives; call after the submit.
    pub(crate) fn collect(&self, adapter: &str) {
        let Some(Memory { copy, .. }) = self.memory.get() else { return };
        let (host, buffer, adapter) = (self.host.clone(), copy.clone(), adapter.to_string());
        copy.map_async(wgpu::MapMode::Read, ..WORD, move |result| {
            // Mapping fails only if the device fails, and then the flag is of no use.
            if result.is_ok() {
                let failed =
                    buffer.get_mapped_range(..WORD).is_ok_and(|view| view.iter().any(|&byte| byte != 0));
                buffer.unmap();
                host.learn(failed, &adapter);
            }
            host.is_reading.store(false, Ordering::Release);
        });
    }
}

impl Memory {
    /// wgpu fills buffers with zeros.
    fn new(
        device: &wgpu::Device,
        counters: &Counters,
        number: impl FnOnce(wgpu::Buffer) -> NumberedBuffer,
    ) -> Self {
        let buffer = |label, usage| {
            counters.count_buffer(WORD);
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: WORD,
                usage,
                mapped_at_creation: false,
            })
        };
        let (storage, read) = (wgpu::BufferUsages::STORAGE, wgpu::BufferUsages::MAP_READ);
        Memory {
            word: number(buffer("rnn persistence", storage | wgpu::BufferUsages::COPY_SRC)),
            copy: buffer("rnn persistence readback", read | wgpu::BufferUsages::COPY_DST),
        }
    }
}

impl Host {
    fn learn(&self, failed: bool, adapter: &str) {
        if failed && !self.gave_up.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                adapter,
                "workgroups of a persistent recurrence waited for each other in vain; it was repeated, and from now on \
                 this device runs one dispatch per step"
            );
        }
    }
}
