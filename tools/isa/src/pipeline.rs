//! Pipelines with the layout that `rnn-gpu/src/pipelines.rs` gives them, and what the driver says of them.

use crate::kernels::Listed;
use crate::vulkan::{Gpu, text};
use crate::{Figures, spirv};
use anyhow::{Context, Result, bail};
use ash::vk;
use rnn_kernels::{Kernel, StepSource};
use std::ffi::CString;

/// Bytes of a step number that travels as an immediate, as in `rnn-gpu/src/pipelines.rs`.
const STEP_BYTES: u32 = 16;

impl Gpu {
    /// Compiles a kernel and reads the driver's statistics.
    ///
    /// # Errors
    /// A kernel that naga or the driver refuses, or a driver without statistics.
    pub fn measure(&self, listed: &Listed) -> Result<Figures> {
        let kernel = listed.kernel;
        let words = spirv::words(&self.target, listed)?;
        let objects = Objects::new(self, kernel, &words).with_context(|| kernel.label.to_string())?;
        let entry = CString::new(kernel.entry).context("an entry point without NUL")?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(objects.module)
            .name(&entry)
            // wgpu sets it on devices with subgroup operations.
            .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
        let info = vk::ComputePipelineCreateInfo::default()
            .layout(objects.layout)
            .stage(stage)
            .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR);
        // SAFETY: module and layout belong to this device and outlive the call.
        let created =
            unsafe { self.device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) };
        let pipeline = match created {
            Ok(pipelines) => pipelines[0],
            Err((_, error)) => bail!("{}: the driver refuses the kernel: {error}", kernel.label),
        };
        let figures = self.statistics(pipeline).with_context(|| kernel.label.to_string());
        // SAFETY: the pipeline was created above and never submitted.
        unsafe { self.device.destroy_pipeline(pipeline, None) };
        figures
    }

    fn statistics(&self, pipeline: vk::Pipeline) -> Result<Figures> {
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline belongs to this device, which has the extension.
        let all = unsafe { self.executables.get_pipeline_executable_properties(&info) }?;
        let Some(executable) = all.first() else { bail!("the driver reports no executable") };
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: the pipeline was created with CAPTURE_STATISTICS and has this executable.
        let all = unsafe { self.executables.get_pipeline_executable_statistics(&info) }?;
        let named = all.iter().map(|statistic| (text(&statistic.name), value(statistic)));
        Ok(Figures::new(named.collect(), executable.subgroup_size))
    }
}

/// The value of a statistic as a number.
fn value(statistic: &vk::PipelineExecutableStatisticKHR<'_>) -> f64 {
    use vk::PipelineExecutableStatisticFormatKHR as Format;
    // SAFETY: the format says which member of the union the driver wrote.
    unsafe {
        match statistic.format {
            Format::BOOL32 => f64::from(u8::from(statistic.value.b32 != 0)),
            Format::INT64 => statistic.value.i64 as f64,
            Format::UINT64 => statistic.value.u64 as f64,
            _ => statistic.value.f64,
        }
    }
}

/// What a pipeline is made of; destroyed with it.
struct Objects<'a> {
    gpu: &'a Gpu,
    module: vk::ShaderModule,
    sets: Vec<vk::DescriptorSetLayout>,
    layout: vk::PipelineLayout,
}

impl<'a> Objects<'a> {
    fn new(gpu: &'a Gpu, kernel: &Kernel, words: &[u32]) -> Result<Self> {
        let mut objects = Objects {
            gpu,
            module: vk::ShaderModule::null(),
            sets: Vec::new(),
            layout: vk::PipelineLayout::null(),
        };
        // Group 0 is the ring of uniforms, group 1 has the storage buffers.
        for (kind, count) in [
            (vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC, 2),
            (vk::DescriptorType::STORAGE_BUFFER, kernel.bindings.len() as u32),
        ] {
            let bindings: Vec<_> = (0..count)
                .map(|binding| {
                    vk::DescriptorSetLayoutBinding::default()
                        .binding(binding)
                        .descriptor_type(kind)
                        .descriptor_count(1)
                        .stage_flags(vk::ShaderStageFlags::COMPUTE)
                })
                .collect();
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            // SAFETY: `info` is valid; `Drop` destroys the layout.
            objects.sets.push(unsafe { gpu.device.create_descriptor_set_layout(&info, None) }?);
        }
        let immediates =
            [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::ALL).size(STEP_BYTES)];
        let mut info = vk::PipelineLayoutCreateInfo::default().set_layouts(&objects.sets);
        if kernel.step == StepSource::Immediate {
            info = info.push_constant_ranges(&immediates);
        }
        // SAFETY: the set layouts belong to this device; `Drop` destroys the layout.
        objects.layout = unsafe { gpu.device.create_pipeline_layout(&info, None) }?;
        let info = vk::ShaderModuleCreateInfo::default().code(words);
        // SAFETY: naga wrote the words from a validated module; `Drop` destroys the module.
        objects.module = unsafe { gpu.device.create_shader_module(&info, None) }?;
        Ok(objects)
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        // SAFETY: each was created on this device or is null, and pipelines need none of them once they exist.
        unsafe {
            self.gpu.device.destroy_shader_module(self.module, None);
            self.gpu.device.destroy_pipeline_layout(self.layout, None);
            for &set in &self.sets {
                self.gpu.device.destroy_descriptor_set_layout(set, None);
            }
        }
    }
}
