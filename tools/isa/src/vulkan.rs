//! A Vulkan device for compiling, opened without wgpu.

use crate::spirv::Target;
use anyhow::{Context, Result, bail};
use ash::{Entry, ext, khr, vk};
use rnn_gpu::DeviceKind;
use rnn_gpu::rnn::AdapterFacts;
use std::ffi::{CStr, c_char};

/// An opened device.
pub struct Gpu {
    pub(crate) device: ash::Device,
    pub(crate) executables: khr::pipeline_executable_properties::Device,
    pub(crate) target: Target,
    /// As the driver names it.
    pub name: String,
    /// Name and version of the driver.
    pub driver: String,
    /// What the planner depends on.
    pub adapter: AdapterFacts,
    /// Whether kernels may use f16 values.
    pub half: bool,
    instance: ash::Instance,
    // Unloads the loader when it is dropped, so it comes last.
    _entry: Entry,
}

impl Gpu {
    /// Opens the first device whose name contains `wanted`, ignoring case; without it the first device, real GPUs
    /// before software.
    ///
    /// # Errors
    /// No loader, no driver, no such device, or a device that says nothing about its pipelines: each with what to do.
    pub fn open(wanted: Option<&str>) -> Result<Gpu> {
        // SAFETY: loads the system's Vulkan loader, whose initialisers are sound to run.
        let entry = unsafe { Entry::load() }
            .context("no Vulkan loader (libvulkan.so.1); Debian's package is libvulkan1")?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: `info` is valid, and the instance is destroyed before the loader, see `Drop` and the order of fields.
        let instance = unsafe { entry.create_instance(&info, None) }.context(
            "no Vulkan instance: there is no driver (Debian: mesa-vulkan-drivers) or it is too old",
        )?;
        match Self::open_in(&entry, &instance, wanted) {
            Ok(Found { device, executables, target, name, driver, adapter }) => Ok(Gpu {
                device,
                executables,
                target,
                name,
                driver,
                adapter,
                half: target.shader_f16,
                instance,
                _entry: entry,
            }),
            Err(error) => {
                // SAFETY: nothing of the instance is in use.
                unsafe { instance.destroy_instance(None) };
                Err(error)
            }
        }
    }

    fn open_in(entry: &Entry, instance: &ash::Instance, wanted: Option<&str>) -> Result<Found> {
        // SAFETY: the instance is alive.
        let all = unsafe { instance.enumerate_physical_devices() }.context("listing devices")?;
        let named: Vec<_> = all
            .into_iter()
            .map(|device| {
                // SAFETY: the device comes from this instance.
                let properties = unsafe { instance.get_physical_device_properties(device) };
                (device, text(&properties.device_name), properties)
            })
            .collect();
        let chosen = match wanted.map(str::to_lowercase) {
            Some(wanted) => named.iter().find(|(_, name, _)| name.to_lowercase().contains(&wanted)),
            None => named.iter().min_by_key(|(_, _, p)| p.device_type == vk::PhysicalDeviceType::CPU),
        };
        let Some((physical, name, properties)) = chosen else {
            let names: Vec<&str> = named.iter().map(|(_, name, _)| name.as_str()).collect();
            let seen = if names.is_empty() { "none".into() } else { names.join(", ") };
            bail!(
                "no Vulkan device{}; seen: {seen}",
                wanted.map_or(String::new(), |w| format!(" named {w:?}"))
            );
        };
        if properties.api_version < vk::API_VERSION_1_3 {
            bail!("{name}: Vulkan 1.3 is needed, got {}", version(properties.api_version));
        }
        // SAFETY: the device comes from this instance.
        let extensions = unsafe { instance.enumerate_device_extension_properties(*physical) }?;
        let has =
            |wanted: &CStr| extensions.iter().any(|e| text(&e.extension_name) == wanted.to_string_lossy());
        if !has(khr::pipeline_executable_properties::NAME) {
            bail!(
                "{name}: the driver says nothing about its pipelines (no VK_KHR_pipeline_executable_properties). \
                 For Mesa's radeon compiler without a GPU: --family navi31"
            );
        }
        let features = Features::of(instance, *physical, has(ext::robustness2::NAME));
        let device =
            features.create_device(instance, *physical).with_context(|| format!("opening {name}"))?;
        let mut subgroups = vk::PhysicalDeviceSubgroupSizeControlProperties::default();
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut more =
            vk::PhysicalDeviceProperties2::default().push_next(&mut subgroups).push_next(&mut driver);
        // SAFETY: the chain holds structures of Vulkan 1.3, which the device has.
        unsafe { instance.get_physical_device_properties2(*physical, &mut more) };
        let limits = more.properties.limits;
        let fixed = subgroups.min_subgroup_size == subgroups.max_subgroup_size;
        let _ = entry;
        Ok(Found {
            executables: khr::pipeline_executable_properties::Device::new(instance, &device),
            device,
            target: features.target(properties.api_version),
            name: name.clone(),
            driver: format!("{} {}", text(&driver.driver_name), text(&driver.driver_info)).trim().to_string(),
            adapter: AdapterFacts {
                kind: kind(properties.device_type),
                workgroup_bytes: limits.max_compute_shared_memory_size as usize,
                largest_workgroup: limits
                    .max_compute_work_group_invocations
                    .min(limits.max_compute_work_group_size[0]) as usize,
                subgroup_size: fixed.then_some(subgroups.min_subgroup_size),
                speed: None,
                immediates: true,
            },
        })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: every pipeline is destroyed where it is created, and nothing was ever submitted.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// A [`Gpu`] without its instance.
struct Found {
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    target: Target,
    name: String,
    driver: String,
    adapter: AdapterFacts,
}

/// The features that wgpu enables where the device has them and that compute kernels can depend on.
struct Features {
    core: vk::PhysicalDeviceFeatures,
    /// Storage of 16 bits.
    v11: vk::PhysicalDeviceVulkan11Features<'static>,
    v12: vk::PhysicalDeviceVulkan12Features<'static>,
    v13: vk::PhysicalDeviceVulkan13Features<'static>,
    robustness2: Option<vk::PhysicalDeviceRobustness2FeaturesEXT<'static>>,
}

impl Features {
    fn of(instance: &ash::Instance, device: vk::PhysicalDevice, has_robustness2: bool) -> Self {
        let (mut v11, mut v12, mut v13) = (
            vk::PhysicalDeviceVulkan11Features::default(),
            vk::PhysicalDeviceVulkan12Features::default(),
            vk::PhysicalDeviceVulkan13Features::default(),
        );
        let mut robustness2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut all = vk::PhysicalDeviceFeatures2::default()
            .push_next(&mut v11)
            .push_next(&mut v12)
            .push_next(&mut v13);
        if has_robustness2 {
            all = all.push_next(&mut robustness2);
        }
        // SAFETY: the device has Vulkan 1.3 and every extension in the chain.
        unsafe { instance.get_physical_device_features2(device, &mut all) };
        let has = all.features;
        Features {
            core: vk::PhysicalDeviceFeatures {
                robust_buffer_access: has.robust_buffer_access,
                shader_int16: has.shader_int16,
                ..Default::default()
            },
            v11: vk::PhysicalDeviceVulkan11Features::default()
                .storage_buffer16_bit_access(v11.storage_buffer16_bit_access != 0),
            v12: vk::PhysicalDeviceVulkan12Features::default()
                .shader_float16(v12.shader_float16 != 0)
                .shader_int8(v12.shader_int8 != 0)
                .vulkan_memory_model(v12.vulkan_memory_model != 0),
            v13: vk::PhysicalDeviceVulkan13Features::default()
                .robust_image_access(v13.robust_image_access != 0)
                .subgroup_size_control(v13.subgroup_size_control != 0)
                .shader_integer_dot_product(v13.shader_integer_dot_product != 0)
                .shader_zero_initialize_workgroup_memory(v13.shader_zero_initialize_workgroup_memory != 0)
                .maintenance4(v13.maintenance4 != 0),
            robustness2: has_robustness2.then(|| {
                vk::PhysicalDeviceRobustness2FeaturesEXT::default()
                    .robust_buffer_access2(robustness2.robust_buffer_access2 != 0)
                    .robust_image_access2(robustness2.robust_image_access2 != 0)
            }),
        }
    }

    fn create_device(&self, instance: &ash::Instance, physical: vk::PhysicalDevice) -> Result<ash::Device> {
        // SAFETY: the device comes from this instance.
        let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
        let family = families.iter().position(|family| family.queue_flags.contains(vk::QueueFlags::COMPUTE));
        let family = family.context("no queue for compute")? as u32;
        let queues =
            [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
        let mut extensions = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
        let (mut v11, mut v12, mut v13) = (self.v11, self.v12, self.v13);
        let mut statistics = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        let mut features = vk::PhysicalDeviceFeatures2::default()
            .features(self.core)
            .push_next(&mut v11)
            .push_next(&mut v12)
            .push_next(&mut v13)
            .push_next(&mut statistics);
        let mut robustness2 = self.robustness2;
        if let Some(robustness2) = &mut robustness2 {
            extensions.push(ext::robustness2::NAME.as_ptr());
            features = features.push_next(robustness2);
        }
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .push_next(&mut features);
        // SAFETY: every extension and feature was reported by this device.
        Ok(unsafe { instance.create_device(physical, &info, None) }?)
    }

    fn target(&self, api: u32) -> Target {
        let robustness2 = self.robustness2.unwrap_or_default();
        Target {
            api: [vk::api_version_major(api), vk::api_version_minor(api)],
            robust_buffer_access2: robustness2.robust_buffer_access2 != 0,
            robust_image_access: robustness2.robust_image_access2 != 0 || self.v13.robust_image_access != 0,
            shader_f16: self.v12.shader_float16 != 0 && self.v11.storage_buffer16_bit_access != 0,
            shader_int8: self.v12.shader_int8 != 0,
            integer_dot_product: self.v13.shader_integer_dot_product != 0,
        }
    }
}

/// As `rnn-gpu/src/adapter.rs` takes it from wgpu.
fn kind(of: vk::PhysicalDeviceType) -> DeviceKind {
    match of {
        vk::PhysicalDeviceType::DISCRETE_GPU => DeviceKind::Discrete,
        vk::PhysicalDeviceType::INTEGRATED_GPU => DeviceKind::Integrated,
        vk::PhysicalDeviceType::VIRTUAL_GPU => DeviceKind::Virtual,
        vk::PhysicalDeviceType::CPU => DeviceKind::Software,
        _ => DeviceKind::Other,
    }
}

fn version(api: u32) -> String {
    format!("{}.{}", vk::api_version_major(api), vk::api_version_minor(api))
}

/// The text in a fixed array of a Vulkan structure; whatever is not UTF-8 is replaced.
pub(crate) fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
