//! WGSL to SPIR-V, with the options that wgpu-hal 30 gives naga on Vulkan (`vulkan/adapter.rs`, `vulkan/device.rs`) for
//! the pipelines of `rnn-gpu/src/pipelines.rs` in a release build.

use crate::kernels::Listed;
use anyhow::{Context, Result, anyhow};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use rnn_gpu::specialise;
use rnn_kernels::{Kernel, StepSource};

/// The properties of a device that decide about the SPIR-V.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// As in `VkPhysicalDeviceProperties`: major and minor version.
    pub(crate) api: [u32; 2],
    pub(crate) robust_buffer_access2: bool,
    pub(crate) robust_image_access: bool,
    pub(crate) shader_f16: bool,
    pub(crate) shader_int8: bool,
    pub(crate) integer_dot_product: bool,
}

/// The module of a kernel.
///
/// # Errors
/// WGSL that naga refuses, with the kernel's name and naga's words.
pub(crate) fn words(target: &Target, listed: &Listed) -> Result<Vec<u32>> {
    let Listed { kernel, constants, .. } = listed;
    let refused = |message: String| anyhow!("{}: {message}", kernel.label);
    let module = specialise(kernel, constants).map_err(refused)?;
    let mut capabilities =
        Capabilities::IMMEDIATES | Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SHADER_FLOAT16, target.shader_f16);
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| refused(error.into_inner().to_string()))?;
    let pipeline =
        spv::PipelineOptions { entry_point: kernel.entry.into(), shader_stage: naga::ShaderStage::Compute };
    spv::write_vec(&module, &info, &options(target, kernel), Some(&pipeline))
        .with_context(|| format!("{}: SPIR-V", kernel.label))
}

fn options(target: &Target, kernel: &Kernel) -> spv::Options<'static> {
    spv::Options {
        lang_version: match target.api {
            [1, 0] => (1, 0),
            [1, 1] => (1, 3),
            [1, 2] => (1, 5),
            _ => (1, 6),
        },
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        fake_missing_bindings: false,
        binding_map: bindings(kernel),
        capabilities: Some(capabilities(target).into_iter().collect()),
        bounds_check_policies: bounds_checks(target, kernel.trusted),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..spv::Options::default()
    }
}

/// Descriptor sets are groups, and bindings are counted from 0 in each.
fn bindings(kernel: &Kernel) -> spv::BindingMap {
    let uniforms = 1 + u32::from(kernel.step == StepSource::Uniform);
    let storage = (0..kernel.bindings.len() as u32).map(|binding| (1, binding));
    (0..uniforms)
        .map(|binding| (0, binding))
        .chain(storage)
        .map(|(group, binding)| {
            let info = spv::BindingInfo { descriptor_set: group, binding, binding_array_size: None };
            (naga::ResourceBinding { group, binding }, info)
        })
        .collect()
}

fn bounds_checks(target: &Target, trusted: bool) -> BoundsCheckPolicies {
    use BoundsCheckPolicy::{Restrict, Unchecked};
    if trusted {
        return BoundsCheckPolicies {
            index: Unchecked,
            buffer: Unchecked,
            image_load: Unchecked,
            binding_array: Unchecked,
        };
    }
    let or_driver = |driver: bool| if driver { Unchecked } else { Restrict };
    BoundsCheckPolicies {
        index: Restrict,
        buffer: or_driver(target.robust_buffer_access2),
        image_load: or_driver(target.robust_image_access),
        binding_array: Unchecked,
    }
}

fn capabilities(target: &Target) -> Vec<spv::Capability> {
    use spv::Capability::{
        DotProduct, DotProductInput4x8Bit, DotProductInput4x8BitPacked, DotProductInputAll, Float16,
        GroupNonUniform, GroupNonUniformArithmetic, GroupNonUniformBallot, GroupNonUniformQuad,
        GroupNonUniformShuffle, GroupNonUniformShuffleRelative, GroupNonUniformVote, Int8, Matrix, Shader,
    };
    let mut all = vec![
        Shader,
        Matrix,
        GroupNonUniform,
        GroupNonUniformVote,
        GroupNonUniformArithmetic,
        GroupNonUniformBallot,
        GroupNonUniformShuffle,
        GroupNonUniformShuffleRelative,
        GroupNonUniformQuad,
    ];
    if target.shader_f16 {
        all.push(Float16);
    }
    if target.integer_dot_product {
        all.extend([DotProductInputAll, DotProductInput4x8Bit, DotProductInput4x8BitPacked, DotProduct]);
    }
    if target.shader_int8 {
        all.push(Int8);
    }
    all
}
