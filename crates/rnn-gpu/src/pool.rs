//! GPU memory: storage buffers from a pool by size class, uploads, and readback.
//!
//! One queue executes everything in order. A buffer may therefore be handed out again as soon as its last
//! handle is dropped, even while earlier commands that use it have not run. Uploads are the exception: they
//! overtake commands that are recorded but not submitted, hence `last_use`.

use super::bind_groups::NumberedBuffer;
use super::device::{GpuDevice, Inner};
use super::failure::{OUT_OF_MEMORY, attempt_to_allocate};
use super::waiting::expect_blocking;
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use rnn_base::error::{Error, Result};
use rnn_base::free_blocks::{self, ByNumber, FreeBlocks};
use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);
/// Of words that are also the sizes of dispatches. wgpu keeps a bind group of its own with each such buffer.
const SIZES: wgpu::BufferUsages = STORAGE.union(wgpu::BufferUsages::INDIRECT);
const STAGING: wgpu::BufferUsages = wgpu::BufferUsages::MAP_READ.union(wgpu::BufferUsages::COPY_DST);

#[derive(Default)]
pub(super) struct Pool {
    /// Freed buffers by (usage, size).
    free: Mutex<FreeBuffers>,
    /// Number of the buffer made last.
    last: AtomicU64,
}

type FreeBuffers = FreeBlocks<(wgpu::BufferUsages, u64), FreeBuffer, ByNumber<FreeBuffer>>;

struct FreeBuffer {
    memory: NumberedBuffer,
    last_use: u64,
}

impl free_blocks::Numbered for FreeBuffer {
    fn number(&self) -> u64 {
        self.memory.number.get()
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, FreeBuffers> {
        // The lists hold only handles, so a panic in another thread leaves them consistent.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer with a number that no other one of the device has.
    pub(super) fn number(&self, raw: wgpu::Buffer) -> NumberedBuffer {
        let number = NonZeroU64::MIN.saturating_add(self.last.fetch_add(1, Ordering::Relaxed));
        NumberedBuffer { raw, number }
    }

    /// Bytes of all buffers, in use or free.
    pub(super) fn held(&self) -> u64 {
        self.lock().held()
    }
}

/// Size classes are at most 12.5 % above the request, and few enough that requests of similar size share
/// buffers.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    bytes.next_multiple_of((bytes.next_power_of_two() / 16).max(256))
}

impl Inner {
    fn take(&self, usage: wgpu::BufferUsages, bytes: u64) -> Result<(FreeBuffer, u64)> {
        self.check()?;
        let limit = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        // Near the limit the exact size may fit where the size class does not.
        let class = if size_class(bytes) <= limit { size_class(bytes) } else { bytes.next_multiple_of(4) };
        if class > limit {
            return Err(Error::TooLarge {
                op: "allocate",
                what: format!("one array on {}", self.info.name),
                needed: u128::from(bytes),
                limit,
            });
        }
        // The lock ends with the statement.
        let free = self.pool.lock().take((usage, class));
        let free = match free {
            Some(free) => free,
            None => FreeBuffer { memory: self.pool.number(self.create(usage, class)?), last_use: 0 },
        };
        Ok((free, class))
    }

    /// A new buffer. Free ones are given back where the driver has no other memory. A refusal does not count as a failure of
    /// the device: what it has is still there.
    fn create(&self, usage: wgpu::BufferUsages, bytes: u64) -> Result<wgpu::Buffer> {
        let raw = match self.request(usage, bytes) {
            Err(Error::Gpu { kind: OUT_OF_MEMORY, .. }) if self.give_back()? => self.request(usage, bytes),
            other => other,
        }?;
        self.counters.count_buffer(bytes);
        let too_many = self.pool.lock().add(bytes);
        self.release(too_many);
        self.check()?;
        Ok(raw)
    }

    /// Asks the driver for a buffer.
    fn request(&self, usage: wgpu::BufferUsages, bytes: u64) -> Result<wgpu::Buffer> {
        let refused = |message: &str| Error::Gpu {
            kind: OUT_OF_MEMORY,
            message: format!(
                "{} has no {bytes} bytes besides the {} of this device: {message}",
                self.info.name,
                self.pool.held()
            ),
        };
        if self.fault.is_some_and(|fault| fault.has_no_memory(self.pool.held() + bytes)) {
            return Err(refused("a fault of a test"));
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some(if usage == STAGING { "rnn readback" } else { "rnn array" }),
            size: bytes,
            usage,
            mapped_at_creation: false,
        };
        attempt_to_allocate(&self.device, || self.device.create_buffer(&descriptor)).map_err(|error| {
            match error {
                Error::Gpu { kind: OUT_OF_MEMORY, message } => refused(&message),
                other => other,
            }
        })
    }

    /// Gives all free buffers back to the driver, once the commands that use them have run. Returns whether there were any.
    fn give_back(&self) -> Result<bool> {
        let free = self.pool.lock().take_all();
        if free.is_empty() {
            return Ok(false);
        }
        self.flush()?;
        self.release(free);
        self.wait()?;
        Ok(true)
    }

    /// Gives buffers back to the driver. Bind groups would keep them.
    fn release(&self, buffers: Vec<FreeBuffer>) {
        if !buffers.is_empty() {
            self.bind_groups.clear();
        }
    }

    fn put(&self, usage: wgpu::BufferUsages, class: u64, buffer: FreeBuffer) {
        self.pool.lock().put((usage, class), class, buffer);
    }
}

/// A handle to a storage buffer; dropping the last one returns it to the pool.
#[derive(Clone)]
pub struct GpuBuffer(Arc<Block>);

struct Block {
    memory: NumberedBuffer,
    class: u64,
    /// `None` for memory that is not the pool's.
    usage: Option<wgpu::BufferUsages>,
    /// Number of the submit that last used the buffer; see [`super::encoder::Recorder`].
    last_use: AtomicU64,
    device: GpuDevice,
}

impl Drop for Block {
    fn drop(&mut self) {
        let Some(usage) = self.usage else { return };
        let last_use = self.last_use.load(Ordering::Relaxed);
        let free = FreeBuffer { memory: self.memory.clone(), last_use };
        self.device.0.put(usage, self.class, free);
    }
}

impl GpuDevice {
    /// Memory for `len` 4-byte words with unspecified contents.
    pub fn alloc(&self, len: usize) -> Result<GpuBuffer> {
        self.alloc_for(STORAGE, len)
    }

    /// Memory for the workgroups along x, y and z of `count` dispatches, with unspecified contents.
    pub(crate) fn alloc_sizes(&self, count: usize) -> Result<GpuBuffer> {
        self.alloc_for(SIZES, 3 * count)
    }

    fn alloc_for(&self, usage: wgpu::BufferUsages, len: usize) -> Result<GpuBuffer> {
        let (free, class) = self.0.take(usage, 4 * len as u64)?;
        let last_use = AtomicU64::new(free.last_use);
        Ok(GpuBuffer(Arc::new(Block {
            memory: free.memory,
            class,
            usage: Some(usage),
            last_use,
            device: self.clone(),
        })))
    }

    /// A handle to memory that stays its owner's. Nothing may be uploaded to it, because its last use is not known.
    pub(crate) fn lend(&self, memory: &NumberedBuffer) -> GpuBuffer {
        let (memory, class, last_use) = (memory.clone(), memory.raw.size(), AtomicU64::new(0));
        GpuBuffer(Arc::new(Block { memory, class, usage: None, last_use, device: self.clone() }))
    }

    /// Memory for `len` words, all zero.
    pub fn alloc_zeroed(&self, len: usize) -> Result<GpuBuffer> {
        let buffer = self.alloc(len)?;
        self.0.recorder().clear(&self.0, &buffer, 4 * len as u64);
        Ok(buffer)
    }

    /// Uploads bytes; a tail shorter than a word is zero-padded.
    pub fn upload(&self, bytes: &[u8]) -> Result<GpuBuffer> {
        let buffer = self.alloc(bytes.len().div_ceil(4))?;
        let mut recorder = self.0.recorder();
        if buffer.last_use() == recorder.epoch() {
            recorder.flush(&self.0);
        }
        drop(recorder);
        let whole = bytes.len() & !3;
        self.0.queue.write_buffer(buffer.raw(), 0, &bytes[..whole]);
        if whole < bytes.len() {
            let mut tail = [0u8; 4];
            tail[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.0.queue.write_buffer(buffer.raw(), whole as u64, &tail);
        }
        self.0.check()?;
        Ok(buffer)
    }
}

impl GpuBuffer {
    /// The device that the memory is on.
    pub fn device(&self) -> &GpuDevice {
        &self.0.device
    }

    /// Whether both are handles to the same memory.
    pub fn shares_memory(&self, other: &GpuBuffer) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.0.memory.raw
    }

    /// The buffer as bind groups know it.
    pub(super) fn numbered(&self) -> &NumberedBuffer {
        &self.0.memory
    }

    /// Words of the memory, which may be more than the array has.
    pub(super) fn words(&self) -> usize {
        (self.0.class / 4) as usize
    }

    pub(super) fn last_use(&self) -> u64 {
        self.0.last_use.load(Ordering::Relaxed)
    }

    pub(super) fn mark_used(&self, epoch: u64) {
        self.0.last_use.store(epoch, Ordering::Relaxed);
    }

    /// Copies the memory first when another handle shares it; call before an in-place dispatch. `len` counts
    /// 4-byte words.
    pub fn make_unique(&mut self, len: usize) -> Result<()> {
        if Arc::get_mut(&mut self.0).is_none() {
            let device = self.0.device.clone();
            let copy = device.alloc(len)?;
            device.0.recorder().copy(&device.0, self, &copy, 4 * len as u64);
            *self = copy;
        }
        Ok(())
    }

    /// Copies the first `out.len()` bytes to the host, waiting for the device.
    pub fn read(&self, out: &mut [u8]) -> Result<()> {
        expect_blocking("readback", "to_vec_async")?;
        self.start_read(out.len())?.wait(out)
    }

    /// Enqueues a copy of the first `bytes` bytes to the host and submits.
    pub fn start_read(&self, bytes: usize) -> Result<PendingRead> {
        let staging = Staging::new(self.device(), bytes, 0)?;
        Ok(staging.start(&[(self, bytes)]))
    }
}

/// Host memory for a read that may start later.
pub struct Staging {
    memory: NumberedBuffer,
    class: u64,
    bytes: usize,
    /// Whether it may be used again.
    is_clean: bool,
    device: GpuDevice,
}

impl Staging {
    /// Memory for `bytes` bytes, and at least for `least`.
    fn new(device: &GpuDevice, bytes: usize, least: u64) -> Result<Self> {
        let padded = (bytes as u64).next_multiple_of(4);
        let (FreeBuffer { memory, .. }, class) = device.0.take(STAGING, padded.max(least))?;
        Ok(Staging { memory, class, bytes, is_clean: true, device: device.clone() })
    }

    /// For a read of `bytes` bytes of several buffers. Such reads stay under way for long, and have memory of their own
    /// size: a steady step then finds that of short reads unused.
    pub fn of_several(device: &GpuDevice, bytes: usize) -> Result<Self> {
        Self::new(device, bytes, 512)
    }

    /// Enqueues copies of the first bytes of several buffers of the device to the host, one after the other, and submits.
    /// All but the last are whole words; together they are the bytes asked for.
    pub fn start(mut self, sources: &[(&GpuBuffer, usize)]) -> PendingRead {
        let inner = &*self.device.0;
        let mut recorder = inner.recorder();
        let mut at = 0;
        for (source, bytes) in sources {
            let bytes = (*bytes as u64).next_multiple_of(4);
            recorder.copy_raw(inner, source, (&self.memory.raw, at), bytes);
            at += bytes;
        }
        let submit = recorder.flush(inner);
        drop(recorder);
        let (sender, receiver) = oneshot_channel();
        self.memory.raw.map_async(wgpu::MapMode::Read, ..at, move |result| {
            // The receiver is gone only when the read was cancelled.
            let _ = sender.send(result);
        });
        self.is_clean = false;
        PendingRead { staging: self, receiver, submit }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let inner = &self.device.0;
        match self.is_clean {
            true => inner.put(STAGING, self.class, FreeBuffer { memory: self.memory.clone(), last_use: 0 }),
            false => inner.pool.lock().forget(self.class),
        }
    }
}

/// A readback under way.
pub struct PendingRead {
    staging: Staging,
    receiver: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
    /// The submit that ends with the copy; `None` on a failed device.
    submit: Option<wgpu::SubmissionIndex>,
}

impl PendingRead {
    /// Blocks until the bytes arrive. `out` must have the length given to `start_read`.
    pub fn wait(self, out: &mut [u8]) -> Result<()> {
        self.inner().wait_for(self.submit.clone())?;
        pollster::block_on(self.finish(out))
    }

    fn inner(&self) -> &Inner {
        &self.staging.device.0
    }

    /// As [`PendingRead::wait`] for `patient`, else without blocking; returns whether the bytes have arrived. Afterwards
    /// the read is used up.
    pub fn look(&mut self, out: &mut [u8], patient: bool) -> Result<bool> {
        match patient {
            true => self.inner().wait_for(self.submit.clone())?,
            // Lets wgpu deliver what has arrived. A browser does so by itself.
            false => self.inner().poll(wgpu::PollType::Poll)?,
        }
        let mut received = Box::pin(self.receiver.receive());
        let Poll::Ready(mapped) = received.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            return Ok(false);
        };
        drop(received);
        self.take(mapped, out)?;
        Ok(true)
    }

    /// Completes when the bytes arrive, without blocking the thread.
    pub async fn finish(mut self, out: &mut [u8]) -> Result<()> {
        let mut received = Box::pin(self.receiver.receive());
        let device = self.staging.device.clone();
        let mapped = std::future::poll_fn(|context| {
            if let Poll::Ready(mapped) = received.as_mut().poll(context) {
                return Poll::Ready(mapped);
            }
            // A browser polls its queue and resumes this future through the channel, but only after control
            // returns to the event loop.
            if cfg!(target_arch = "wasm32") {
                return Poll::Pending;
            }
            // No other thread polls the queue, so this loop does. A lost device may never answer the mapping.
            if device.0.poll(wgpu::PollType::Poll).is_err() {
                return Poll::Ready(None);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        drop(received);
        self.take(mapped, out)
    }

    /// Copies what was mapped, and returns the staging buffer.
    fn take(&mut self, mapped: Option<Result<(), wgpu::BufferAsyncError>>, out: &mut [u8]) -> Result<()> {
        let lost = |message: String| Error::Gpu { kind: "readback", message };
        if !matches!(mapped, Some(Ok(()))) {
            // A refused mapping usually means that the device is lost; the callback that reports it may still
            // be waiting for a poll.
            self.inner().poll(wgpu::PollType::Poll)?;
        }
        self.inner().check()?;
        match mapped {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(lost(error.to_string())),
            None => return Err(lost("the mapping was abandoned".into())),
        }
        if self.staging.is_clean {
            return Err(Error::Consumed { op: "readback", what: "the read" });
        }
        let (raw, bytes) = (&self.staging.memory.raw, self.staging.bytes);
        let padded = (bytes as u64).next_multiple_of(4);
        let view = raw.get_mapped_range(..padded).map_err(|error| lost(error.to_string()))?;
        out.copy_from_slice(&view[..bytes]);
        drop(view);
        raw.unmap();
        self.staging.is_clean = true;
        Ok(())
    }
}

impl fmt::Debug for PendingRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingRead({} bytes)", self.staging.bytes)
    }
}

impl fmt::Debug for GpuBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GpuBuffer({} bytes)", self.0.class)
    }
}
