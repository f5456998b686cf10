//! GPUs of AMD that Mesa's radeon driver compiles for without having them.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The families that `budget/` may have a table of.
pub const FAMILIES: [&str; 3] = ["navi31", "navi21", "vega10"];

const FOLDERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/// Sets the environment so that the loader sees Mesa's radeon driver alone and the driver a null device of `family`.
/// Call it before anything opens Vulkan, and before other threads start.
///
/// # Errors
/// An unknown family, or a machine without this driver.
pub fn choose(family: &str) -> Result<()> {
    if !FAMILIES.contains(&family) {
        bail!("unknown family {family:?}; one of {}", FAMILIES.join(", "));
    }
    let driver = FOLDERS.iter().find_map(|folder| manifest(Path::new(folder))).context(
        "no radeon_icd*.json: Mesa's radeon driver is not installed (Debian: mesa-vulkan-drivers)",
    )?;
    // SAFETY: the caller has started no other thread, which could read the environment meanwhile.
    unsafe {
        std::env::set_var("VK_DRIVER_FILES", &driver);
        // The older name of the variable, and a layer that could choose another device.
        std::env::set_var("VK_ICD_FILENAMES", &driver);
        std::env::set_var("NODEVICE_SELECT", "1");
        std::env::set_var("RADV_FORCE_FAMILY", family);
        // A debug option could change what is compiled.
        std::env::remove_var("RADV_DEBUG");
        std::env::remove_var("RADV_PERFTEST");
    }
    Ok(())
}

/// The manifest of the radeon driver for this processor in a folder of manifests.
fn manifest(folder: &Path) -> Option<PathBuf> {
    let names = ["radeon_icd.json".to_string(), format!("radeon_icd.{}.json", std::env::consts::ARCH)];
    names.iter().map(|name| folder.join(name)).find(|path| path.exists())
}
