//! Bind groups of storage buffers, kept for the next dispatch with the same buffers. A training step with the sizes of the
//! one before gets its buffers from the pool in the same order, so it finds all its bind groups here. Making one costs the
//! host about as much as the rest of a dispatch, and some drivers a block of memory.

use super::counters::Counters;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bind groups that are kept. When there are more, all are dropped: passes of ever new sizes have no use for them.
const MOST: usize = 1024;

/// Most storage buffers of a kernel, by WebGPU's default limits.
const MOST_BUFFERS: usize = 8;

/// A buffer with the number by which the buffers of a device differ; without one its bind groups are not kept.
#[derive(Clone, Copy)]
pub(super) struct Numbered<'a> {
    pub(super) raw: &'a wgpu::Buffer,
    pub(super) number: Option<NonZeroU64>,
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
        buffers: impl Iterator<Item = Numbered<'a>> + Clone,
    ) -> wgpu::BindGroup {
        let key = key(layout, buffers.clone());
        if let Some(group) = key.and_then(|key| self.lock().get(&key).cloned()) {
            return group;
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
        if let Some(key) = key {
            let mut groups = self.lock();
            if groups.len() == MOST {
                groups.clear();
            }
            groups.insert(key, group.clone());
        }
        group
    }

    /// Drops all bind groups; to be called where buffers are given back to the driver.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}

/// `None` if a buffer has no number, or if there are too many.
fn key<'a>(layout: &Arc<wgpu::BindGroupLayout>, buffers: impl Iterator<Item = Numbered<'a>>) -> Option<Key> {
    let mut numbers = [0; MOST_BUFFERS];
    for (at, buffer) in buffers.enumerate() {
        *numbers.get_mut(at)? = buffer.number?.get();
    }
    Some((Arc::as_ptr(layout) as usize, numbers))
}
