//! Compute pipelines, compiled once per kernel and set of override constants.

use super::counters::Counters;
use super::device::Inner;
use super::failure::attempt;
use super::pipeline_cache::PipelineCache;
#[cfg(not(target_arch = "wasm32"))]
use super::specialise::specialise;
use rnn_base::error::{Error, Result};
use rnn_kernels::{Access, Kernel, StepSource};
#[cfg(not(target_arch = "wasm32"))]
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the uniform ring that one dispatch binds as its parameter struct; no kernel's parameters are
/// larger.
pub(super) const PARAMS_WINDOW: u64 = 256;

/// Bytes of the step number that per-step kernels get.
pub(super) const STEP_BYTES: u32 = 16;

/// A pipeline and the layout of its storage bind group.
pub(super) struct Pipeline {
    pub(super) raw: wgpu::ComputePipeline,
    pub(super) storage: Arc<wgpu::BindGroupLayout>,
}

type Key = (&'static str, Vec<(&'static str, u64)>);

/// A pipeline, once it is compiled. The lock is held meanwhile: another thread that needs the same one waits for it, and
/// one that needs another compiles that.
type Slot = Arc<Mutex<Option<Arc<Pipeline>>>>;

/// The pipelines compiled so far. Kernels with the same list of accesses share a layout.
pub(super) struct Pipelines {
    pub(super) uniform_layout: wgpu::BindGroupLayout,
    /// Kept from run to run where the adapter supports pipeline caches.
    pub(super) cache: Option<PipelineCache>,
    pipelines: Mutex<HashMap<Key, Slot>>,
    storage_layouts: Mutex<HashMap<Vec<Access>, Arc<wgpu::BindGroupLayout>>>,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, cache: Option<PipelineCache>, counters: &Counters) -> Self {
        let window = |binding| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Uniform,
                has_dynamic_offset: true,
                min_binding_size: None,
            },
            count: None,
        };
        Counters::count(&counters.layouts);
        Pipelines {
            uniform_layout: device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("rnn params and step"),
                entries: &[window(0), window(1)],
            }),
            cache,
            pipelines: Mutex::default(),
            storage_layouts: Mutex::default(),
        }
    }

    /// The pipeline of `kernel` with these constants, compiled at first use.
    pub(super) fn get(
        &self,
        inner: &Inner,
        kernel: &'static Kernel,
        constants: &[(&'static str, f64)],
    ) -> Result<Arc<Pipeline>> {
        let key: Key =
            (kernel.label, constants.iter().map(|&(name, value)| (name, value.to_bits())).collect());
        let slot =
            self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let mut pipeline = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = &*pipeline {
            return Ok(pipeline.clone());
        }
        Ok(pipeline.insert(Arc::new(self.compile(inner, kernel, constants)?)).clone())
    }

    fn compile(
        &self,
        inner: &Inner,
        kernel: &'static Kernel,
        constants: &[(&'static str, f64)],
    ) -> Result<Pipeline> {
        tracing::debug!(kernel = kernel.label, ?constants, "compiling pipeline");
        let storage = self.storage_layout(inner, kernel.bindings);
        let device = &inner.device;
        let (source, overrides) = module(kernel, constants)?;
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.label), source };
        let mut checks = wgpu::ShaderRuntimeChecks::checked();
        checks.force_loop_bounding = false;
        checks.bounds_checks = !kernel.trusted;
        let compile = || {
            // SAFETY: every loop of these kernels counts up by one step or more to a bound that is a constant or read once from
            // the parameters, so it ends without the 64-bit counter that wgpu would add to it. Bounds checks stay on, except for
            // kernels whose indices follow from sizes that the ops of `rnn-runtime` checked against the
            // buffers.
            let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
            let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(kernel.label),
                bind_group_layouts: &[Some(&self.uniform_layout), Some(&*storage)],
                immediate_size: if kernel.step == StepSource::Immediate { STEP_BYTES } else { 0 },
            });
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.label),
                layout: Some(&layout),
                module: &module,
                entry_point: Some(kernel.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &overrides,
                    // The kernels write workgroup memory before they read it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.cache.as_ref().map(|cache| &cache.raw),
            })
        };
        // The driver may refuse one kernel and accept the others: the device stays usable.
        let raw = attempt(device, compile).map_err(|error| match error {
            Error::Gpu { message, .. } => {
                Error::Gpu { kind: "shader", message: format!("{}: {message}", kernel.label) }
            }
            other => other,
        })?;
        inner.check()?;
        Counters::count(&inner.counters.pipelines);
        Ok(Pipeline { raw, storage })
    }

    fn storage_layout(&self, inner: &Inner, bindings: &[Access]) -> Arc<wgpu::BindGroupLayout> {
        let mut layouts = self.storage_layouts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layout) = layouts.get(bindings) {
            return layout.clone();
        }
        let entries: Vec<wgpu::BindGroupLayoutEntry> = bindings
            .iter()
            .zip(0..)
            .map(|(access, binding)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: *access == Access::Read },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = Arc::new(inner.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("rnn storage"),
            entries: &entries,
        }));
        Counters::count(&inner.counters.layouts);
        layouts.insert(bindings.to_vec(), layout.clone());
        layout
    }
}

/// What a device is given of a kernel, and the constants that are left to it.
#[cfg(not(target_arch = "wasm32"))]
fn module<'a>(
    kernel: &Kernel,
    constants: &[(&'a str, f64)],
) -> Result<(wgpu::ShaderSource<'static>, Vec<(&'a str, f64)>)> {
    let module = specialise(kernel, constants)
        .map_err(|message| Error::Gpu { kind: "shader", message: format!("{}: {message}", kernel.label) })?;
    Ok((wgpu::ShaderSource::Naga(Cow::Owned(module)), Vec::new()))
}

/// In a browser it is the text: a module would be written as text again.
#[cfg(target_arch = "wasm32")]
fn module<'a>(
    kernel: &Kernel,
    constants: &[(&'a str, f64)],
) -> Result<(wgpu::ShaderSource<'static>, Vec<(&'a str, f64)>)> {
    Ok((wgpu::ShaderSource::Wgsl(kernel.source(constants).into()), kernel.overrides(constants)))
}
