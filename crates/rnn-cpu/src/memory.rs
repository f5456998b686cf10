//! CPU memory: 64-byte aligned blocks from a pool, so that after the first steps training neither allocates nor causes page
//! faults.

use super::threads::{CpuOptions, Current, Running};
use rnn_base::dims::Shape;
use rnn_base::error::Result;
use rnn_base::free_blocks::FreeBlocks;
use rnn_base::{ArrayOf, DType, host_memory};
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One cache line, and one AVX-512 register: the unit of allocation and alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

// SAFETY: plain floats, no padding (16 * 4 = 64 = alignment), any bit pattern valid.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: floats without padding, of which any bit pattern is valid.
unsafe impl bytemuck::Pod for Line {}

/// The CPU as a device: its threads and the pool of freed blocks. Cloning shares it.
#[derive(Clone)]
pub struct CpuDevice(Arc<Pool>);

struct Pool {
    threads: Current,
    /// Blocks by their lines.
    free: Mutex<FreeBlocks<usize, Vec<Line>>>,
    created: AtomicUsize,
    created_bytes: AtomicUsize,
}

impl fmt::Debug for CpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CpuDevice")
    }
}

impl Default for CpuDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl CpuDevice {
    /// The backend with an empty pool and the threads of the process.
    pub fn new() -> Self {
        Self::on(Current::Process)
    }

    /// The backend with an empty pool.
    ///
    /// # Errors
    /// A number of threads that is not 1 to 1024.
    pub fn with(options: &CpuOptions) -> Result<Self> {
        Ok(Self::on(Current::of_device(options)?))
    }

    fn on(threads: Current) -> Self {
        CpuDevice(Arc::new(Pool {
            threads,
            free: Mutex::default(),
            created: AtomicUsize::new(0),
            created_bytes: AtomicUsize::new(0),
        }))
    }

    /// For an op of this device: until the guard is dropped, jobs of the calling thread use the device's threads, unless
    /// others are installed; subnormals count as zero.
    pub fn enter(&self) -> Running {
        Running::op(&self.0.threads)
    }

    /// Until the guard is dropped, all ops of the calling thread use the threads of this device, also those of other CPU
    /// devices.
    pub fn install(&self) -> Running {
        Running::install(&self.0.threads)
    }

    /// Blocks that had to be requested from the system so far.
    pub fn buffers_created(&self) -> usize {
        self.0.created.load(Ordering::Relaxed)
    }

    /// Bytes of those blocks.
    pub fn bytes_created(&self) -> usize {
        self.0.created_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the blocks that exist, in use or free.
    pub fn bytes_held(&self) -> usize {
        self.0.lock().held() as usize
    }

    /// Number of threads that an op of the calling thread on this device uses, of those that have started.
    pub fn threads(&self) -> usize {
        Current::installed().unwrap_or_else(|| self.0.threads.clone()).count()
    }

    /// Memory for `len` f32 with unspecified (but initialised) contents.
    ///
    /// # Errors
    /// The system does not have the memory, see [`host_memory`].
    pub fn alloc(&self, len: usize) -> Result<CpuBuffer> {
        let lines = size_class(len.div_ceil(16).max(1));
        let recycled = self.0.lock().take(lines);
        let block = match recycled {
            Some(block) => block,
            None => self.0.create(len, lines)?,
        };
        Ok(CpuBuffer { block: Arc::new(Block { lines: block, pool: self.0.clone() }), len })
    }

    /// Memory for `len` f32, all zero.
    pub fn alloc_zeroed(&self, len: usize) -> Result<CpuBuffer> {
        let mut buffer = self.alloc(len)?;
        buffer.make_mut()?.fill(0.0);
        Ok(buffer)
    }
}

/// An array in this memory.
pub type CpuArray = ArrayOf<CpuBuffer>;

impl CpuDevice {
    /// An f32 array with unspecified contents.
    ///
    /// # Errors
    /// An invalid shape, or no memory.
    pub fn array(&self, op: &'static str, dims: &[usize]) -> Result<CpuArray> {
        let shape = Shape::new(op, dims)?;
        let buffer = self.alloc(shape.len())?;
        Ok(ArrayOf { shape, dtype: DType::F32, buffer })
    }

    /// An f32 array of zeros.
    ///
    /// # Errors
    /// As [`CpuDevice::array`].
    pub fn zeroed_array(&self, op: &'static str, dims: &[usize]) -> Result<CpuArray> {
        let mut array = self.array(op, dims)?;
        array.buffer.make_mut()?.fill(0.0);
        Ok(array)
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, FreeBlocks<usize, Vec<Line>>> {
        // The lists hold plain memory: a panic elsewhere cannot have left them inconsistent.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new block for an array of `len` words. What is kept is given back where the system has no other memory.
    fn create(&self, len: usize, lines: usize) -> Result<Vec<Line>> {
        let request = || {
            let what = || format!("an array of {len} words");
            host_memory::filled("allocate", what, lines, Line([0.0; 16]))
        };
        let block = request().or_else(|error| match self.give_back() {
            true => request(),
            false => Err(error),
        })?;
        let bytes = lines * size_of::<Line>();
        self.created.fetch_add(1, Ordering::Relaxed);
        self.created_bytes.fetch_add(bytes, Ordering::Relaxed);
        let too_many = self.lock().add(bytes as u64);
        drop(too_many);
        Ok(block)
    }

    /// Gives all free blocks back to the system; returns whether there were any.
    fn give_back(&self) -> bool {
        let free = self.lock().take_all();
        !free.is_empty()
    }
}

/// Rounds up to a multiple of an eighth of the next lower power of two: at most 12.5 % waste, few
/// enough classes that blocks are reused across neighbouring sizes.
fn size_class(lines: usize) -> usize {
    let step = (lines.next_power_of_two() / 16).max(1);
    lines.next_multiple_of(step)
}

struct Block {
    lines: Vec<Line>,
    pool: Arc<Pool>,
}

impl Drop for Block {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        self.pool.lock().put(lines.len(), size_of_val(&lines[..]) as u64, lines);
    }
}

/// A handle to f32-aligned memory; `len` counts 4-byte words. Reads go through `Deref`.
#[derive(Clone)]
pub struct CpuBuffer {
    block: Arc<Block>,
    len: usize,
}

impl CpuBuffer {
    /// Whether both are handles to the same memory.
    pub fn shares_memory(&self, other: &CpuBuffer) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }

    /// Uploads raw bytes; a tail shorter than a word is zero-padded.
    pub fn from_bytes(device: &CpuDevice, bytes: &[u8]) -> Result<Self> {
        let mut buffer = device.alloc(bytes.len().div_ceil(4))?;
        let words: &mut [f32] = buffer.make_mut()?;
        let out: &mut [u8] = bytemuck::cast_slice_mut(words);
        out[..bytes.len()].copy_from_slice(bytes);
        out[bytes.len()..].fill(0);
        Ok(buffer)
    }

    /// The memory as bytes.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self[..])
    }

    /// The memory as indices.
    pub fn as_u32(&self) -> &[u32] {
        bytemuck::cast_slice(&self[..])
    }

    /// The memory as half-precision values, two per word; the last may be padding.
    pub fn as_f16(&self) -> &[half::f16] {
        bytemuck::cast_slice(&self[..])
    }

    /// Mutable access; copies first when the memory is shared.
    pub fn make_mut(&mut self) -> Result<&mut [f32]> {
        if Arc::get_mut(&mut self.block).is_none() {
            let mut copy = CpuDevice(self.block.pool.clone()).alloc(self.len)?;
            copy.make_mut()?.copy_from_slice(self);
            *self = copy;
        }
        match Arc::get_mut(&mut self.block) {
            Some(block) => Ok(&mut bytemuck::cast_slice_mut(&mut block.lines)[..self.len]),
            None => unreachable!("the block was just made unique"),
        }
    }
}

impl Deref for CpuBuffer {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.block.lines)[..self.len]
    }
}

impl fmt::Debug for CpuBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuBuffer({} words)", self.len)
    }
}

/// Cache-line aligned memory with one owner, outside the pool: for objects that must not take a lock to use it.
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn zeros(len: usize) -> Result<Self> {
        let what = || format!("{len} words");
        let lines = host_memory::filled("allocate", what, len.div_ceil(16), Line([0.0; 16]))?;
        Ok(Aligned { lines, len })
    }
}

impl Deref for Aligned {
    type Target = [f32];

    #[inline(always)]
    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Aligned {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Cache-line aligned working memory of a thread, kept between uses. It is a guard and not a function that takes a closure,
/// because closures are compiled without the instruction set of the kernel around them.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

impl Scratch {
    /// `len` floats with unspecified contents. A second guard on the same thread gets memory of its
    /// own.
    pub(crate) fn take(len: usize) -> Self {
        let mut lines = SCRATCH.take();
        let needed = len.div_ceil(16);
        if lines.len() < needed {
            lines.resize(needed, Line([0.0; 16]));
        }
        Scratch { lines, len }
    }

    /// The memory.
    #[inline(always)]
    pub(crate) fn get(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.set(std::mem::take(&mut self.lines));
    }
}
