//! Bind groups of storage buffers, kept for the next dispatch with the same buffers. A training step with the sizes of the
//! one before gets its buffers from the pool in the same order, so it finds all its bind groups here. Making one costs the
//! host about as much as the rest of a dispatch, and some drivers a block of memory.

use super::counters::Counters;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bind groups that are kept. When there are more, all are dropped: passes of ever new sizes have no use for them.
const MOST: usize = 1024;

/// Most storage buffers of a kernel: WebGPU's default limit, which a test of the catalogue checks.
const MOST_BUFFERS: usize = 8;

/// A buffer with the number by which the buffers of a device differ.
#[derive(Clone)]
pub(super) struct NumberedBuffer {
    pub(super) raw: wgpu::Buffer,
    pub(super) number: NonZeroU64,
}

/// The address of a layout, which lives as long as the device, and the numbers of the buffers, then zeros.
type Key = (usize, [u64; MOST_BUFFERS]);

/// The bind groups of a device. They keep their buffers in memory.
#[derive(Default)]
pub(super) struct BindGroups(Mutex<HashMap<Key, wgpu::BindGroup>>);

impl BindGroups {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, wgpu::BindGroup>> {
        // A panic in another thread leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bind group of these buffers, made at first use.
    pub(super) fn get<'a>(
        &self,
        (device, counters): (&wgpu::Device, &Counters),
        layout: &Arc<wgpu::BindGroupLayout>,
        buffers: impl Iterator<Item = &'a NumberedBuffer> + Clone,
    ) -> wgpu::BindGroup {
        let mut numbers = [0; MOST_BUFFERS];
        for (number, buffer) in numbers.iter_mut().zip(buffers.clone()) {
            *number = buffer.number.get();
        }
        let key = (Arc::as_ptr(layout) as usize, numbers);
        if let Some(group) = self.lock().get(&key) {
            return group.clone();
        }
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.raw.as_entire_binding(),
            })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("rnn storage"),
            layout,
            entries: &entries,
        });
        Counters::count(&counters.bind_groups);
        let mut groups = self.lock();
        if groups.len() == MOST {
            groups.clear();
        }
        groups.insert(key, group.clone());
        group
    }

    /// Drops all bind groups; to be called where buffers are given back to the driver.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}
