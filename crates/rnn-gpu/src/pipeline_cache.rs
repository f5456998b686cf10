//! Compiled pipelines in a file, so that the next run need not compile them again. Vulkan only: the other
//! graphics APIs keep such a cache themselves.

use super::failure::attempt;
use rnn_base::cache::{CacheDir, CacheFile, checksum};
use std::sync::{Mutex, PoisonError};

/// The driver's cache and the file it came from.
pub(super) struct PipelineCache {
    pub(super) raw: wgpu::PipelineCache,
    /// Bytes of the file's payload when the device was opened.
    pub(super) loaded_bytes: usize,
    file: CacheFile,
    state: Mutex<State>,
}

/// State of the file.
struct State {
    /// Number of pipelines compiled when it was last checked.
    pipelines: usize,
    checksum: Option<u64>,
}

impl PipelineCache {
    /// The feature that `device` must be opened with for [`PipelineCache::open`]: none where the adapter
    /// lacks it or cache files are switched off.
    pub(super) fn feature(adapter: &wgpu::Adapter, dir: &CacheDir) -> wgpu::Features {
        match Self::file(adapter, dir) {
            Some(_) => adapter.features() & wgpu::Features::PIPELINE_CACHE,
            None => wgpu::Features::empty(),
        }
    }

    fn file(adapter: &wgpu::Adapter, dir: &CacheDir) -> Option<CacheFile> {
        let key = wgpu::util::pipeline_cache_key(&adapter.get_info())?;
        CacheFile::new(dir, &format!("{key}.bin"), &key)
    }

    /// A cache that starts with the file's payload.
    pub(super) fn open(device: &wgpu::Device, adapter: &wgpu::Adapter, dir: &CacheDir) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = Self::file(adapter, dir)?;
        let data = file.read();
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("rnn pipelines"),
            data: data.as_deref(),
            fallback: true,
        };
        // SAFETY: the data must come from `get_data` of a cache of the same adapter. The file's key names the
        // adapter, and its checksum shows that `save` wrote these bytes, which came from `get_data`. The
        // directory belongs to the user: whoever can forge a file there can replace the program as well. wgpu
        // compares adapter and driver build with the header it wrote itself, and the driver checks its own
        // header. `fallback` drops data of another build.
        let create = || unsafe { device.create_pipeline_cache(&descriptor) };
        let raw = match attempt(device, create) {
            Ok(raw) => raw,
            Err(error) => {
                tracing::warn!(%error, "no pipeline cache");
                return None;
            }
        };
        let loaded_bytes = data.as_ref().map_or(0, Vec::len);
        let state = State { pipelines: 0, checksum: data.map(|data| checksum(&[&data])) };
        Some(PipelineCache { raw, loaded_bytes, file, state: Mutex::new(state) })
    }

    /// Writes the file if pipelines were compiled since the last call and the driver's data has changed.
    /// `pipelines` counts those compiled since the device was opened.
    pub(super) fn save(&self, pipelines: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pipelines == pipelines {
            return;
        }
        state.pipelines = pipelines;
        let Some(data) = self.raw.get_data() else { return };
        let sum = Some(checksum(&[&data]));
        if state.checksum != sum {
            state.checksum = sum;
            self.file.write(&data);
        }
    }
}
