//! What the planner knows of an adapter's speed: measurements of at most 0.3 s at the first plan, kept in a file of the
//! cache directory, or constants.
//!
//! `meter` runs and judges a measurement, `measure` has their order, `probe` runs them on a device, `run` says when,
//! `speed` is the result, and `file` its text. A calibration that contradicts itself twice counts for nothing, and neither does that
//! of a clock that lies: the planner then has constants, which is said once.
//!
//! Plans determine the order in which some sums are added, hence the last bits of results. Without a cache directory
//! nothing is measured, unless [`crate::GpuOptions::calibrate`] asks for it: results of two processes are then equal.

mod file;
mod measure;
mod meter;
mod probe;
mod run;
#[cfg(test)]
mod simulated;
mod speed;

pub use speed::{Speed, SpeedReport, SpeedSource};

use crate::GpuOptions;
use crate::adapter::{AdapterInfo, DeviceKind};
use crate::waiting::CAN_WAIT;
use rnn_base::cache::{CacheDir, CacheFile, checksum};
use rnn_base::error::{Error, Result};
use std::sync::Mutex;

/// The calibration of one device.
pub(crate) struct Calibration {
    /// Why nothing is measured; `None` if it is.
    off: Option<&'static str>,
    file: Option<CacheFile>,
    report: Mutex<Option<SpeedReport>>,
}

/// Why nothing is measured, by the option, the value of `RNN_CALIBRATE`, and whether there is a file.
fn off(option: Option<bool>, variable: Option<&str>, has_file: bool) -> Result<Option<&'static str>> {
    if !CAN_WAIT {
        return Ok(Some("a browser's thread cannot wait for measurements"));
    }
    let by_variable = match variable {
        None | Some("") => None,
        Some("on") => Some(true),
        Some("off") => Some(false),
        Some(other) => {
            return Err(Error::Value {
                op: "Device::gpu",
                arg: "RNN_CALIBRATE",
                expected: "on or off".into(),
                got: other.into(),
            });
        }
    };
    Ok(match (option, by_variable) {
        (Some(true), _) | (None, Some(true)) => None,
        (Some(false), _) => Some("GpuOptions::calibrate is off"),
        (None, Some(false)) => Some("RNN_CALIBRATE is off"),
        (None, None) if has_file => None,
        (None, None) => Some("there is no cache directory to keep measurements"),
    })
}

impl Calibration {
    /// Nothing is measured yet.
    ///
    /// # Errors
    /// [`Error::Value`] for a value of `RNN_CALIBRATE` other than `on` and `off`.
    pub(crate) fn new(info: &AdapterInfo, options: &GpuOptions) -> Result<Self> {
        // Other limits allow other workgroups, hence other measurements.
        let what = if options.adapter_limits { "calibration" } else { "calibration-default-limits" };
        let mut file = info.cache_file(&options.cache_dir, what);
        let variable = std::env::var("RNN_CALIBRATE").ok();
        let off = off(options.calibrate, variable.as_deref(), file.is_some())?;
        if off.is_some() {
            file = None;
        }
        Ok(Calibration { off, file, report: Mutex::default() })
    }

    /// Whether the device may be measured, for which its own clock is best.
    pub(crate) fn wants_clock(&self) -> bool {
        self.off.is_none()
    }

    /// What an earlier run left.
    fn kept(&self) -> Option<SpeedReport> {
        let bytes = self.file.as_ref()?.read()?;
        let parsed = file::parse(&String::from_utf8_lossy(&bytes));
        if parsed.is_none() {
            tracing::warn!("the kept calibration cannot be parsed; the adapter is measured again");
        }
        parsed.map(|(speed, day)| SpeedReport { speed, source: SpeedSource::Kept(day) })
    }

    /// Keeps a measurement. Another process may have been faster: its numbers count, so that both make the same plans.
    fn keep(&self, speed: Speed, day: String) -> SpeedReport {
        if let Some(other) = self.kept() {
            return other;
        }
        if let Some(file) = &self.file {
            file.write(file::print(&speed, &day).as_bytes());
        }
        SpeedReport { speed, source: SpeedSource::Measured(day) }
    }
}

impl AdapterInfo {
    /// A file of the cache directory for what was measured on this adapter and driver; `None` without a directory.
    pub(crate) fn cache_file(&self, dir: &CacheDir, what: &str) -> Option<CacheFile> {
        let mut key = format!("{what} of {} ({}, {})", self.name, self.backend, self.driver);
        if self.kind == DeviceKind::Software {
            // A process that may use other cores has another adapter.
            key.push_str(&format!(" on {} threads", speed::threads()));
        }
        let hash = checksum(&[key.as_bytes()]);
        CacheFile::new(dir, &format!("{what}-{hash:016x}"), &key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_comes_before_the_variable_and_the_variable_before_the_directory() {
        for (option, variable, has_file, expected) in [
            (None, None, true, None),
            (None, None, false, Some("no cache directory")),
            (None, Some(""), true, None),
            (None, Some("on"), false, None),
            (None, Some("off"), true, Some("RNN_CALIBRATE is off")),
            (Some(true), Some("off"), false, None),
            (Some(false), Some("on"), true, Some("GpuOptions::calibrate is off")),
        ] {
            let found = off(option, variable, has_file).unwrap();
            let fits = match (found, expected) {
                (Some(found), Some(expected)) => found.contains(expected),
                (found, expected) => found == expected,
            };
            assert!(fits, "{option:?} {variable:?} {has_file}: {found:?}");
        }
        for bad in ["On", "1", "offf"] {
            let error = off(None, Some(bad), true).unwrap_err().to_string();
            assert!(error.contains("RNN_CALIBRATE") && error.contains("on or off"), "{error}");
        }
    }

    fn info(name: &str, driver: &str) -> AdapterInfo {
        AdapterInfo {
            index: 0,
            name: name.into(),
            backend: "vulkan".into(),
            kind: DeviceKind::Discrete,
            driver: driver.into(),
            max_buffer_bytes: 1 << 30,
            max_workgroup_invocations: 1024,
            max_workgroup_bytes: 32_768,
            has_timestamps: true,
        }
    }

    /// A directory of this test, removed at the end.
    struct Folder(std::path::PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_calibration_is_kept_per_driver_and_a_damaged_one_is_replaced() {
        let name = format!("rnn-calibration-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        let open_with = |driver, calibrate, adapter_limits| {
            let cache_dir = CacheDir::At(folder.0.clone());
            let options = GpuOptions { cache_dir, calibrate, adapter_limits, ..GpuOptions::default() };
            Calibration::new(&info("adapter", driver), &options).unwrap()
        };
        let open = |driver, calibrate| open_with(driver, calibrate, true);
        let [speed, other] =
            [DeviceKind::Discrete, DeviceKind::Integrated].map(|kind| Speed::assumed(kind).rounded());
        let kept = |speed| SpeedReport { speed, source: SpeedSource::Kept("2026-11-26".into()) };
        let first = open("1.0", Some(true));
        assert_eq!(first.kept(), None);
        let report = first.keep(speed, "2026-11-26".into());
        assert_eq!(report.source, SpeedSource::Measured("2026-11-26".into()));
        assert_eq!(open("1.0", Some(true)).kept(), Some(kept(speed)));
        // A process that measured at the same time takes what is there already.
        assert_eq!(open("1.0", Some(true)).keep(other, "2026-11-27".into()), kept(speed));
        // Other limits are measured by themselves.
        assert_eq!(open_with("1.0", Some(true), false).kept(), None);
        // Another driver is another adapter; whoever measures nothing reads nothing.
        assert_eq!(open("1.1", Some(true)).kept(), None);
        assert_eq!(open("1.0", Some(false)).kept(), None);

        let path = std::fs::read_dir(&folder.0).unwrap().next().unwrap().unwrap().path();
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let again = open("1.0", Some(true));
        assert_eq!(again.kept(), None, "a damaged file");
        again.keep(other, "2026-11-27".into());
        assert_eq!(open("1.0", Some(true)).kept().unwrap().speed, other);
        // A whole file with a text that is none.
        open("1.0", Some(true)).file.unwrap().write(b"2026-11-26\n1\n2\n");
        assert_eq!(open("1.0", Some(true)).kept(), None);
    }

    #[test]
    fn a_report_names_every_number_and_its_source() {
        let speed = Speed {
            cores: 128,
            lanes: 256,
            fma: 1.5e11,
            memory: 4e12,
            barrier: [2.5e-8, 5e-8],
            dispatch: 1.25e-6,
        };
        for (source, text) in [
            (
                SpeedSource::Constants("RNN_CALIBRATE is off"),
                "constants for this kind of adapter: RNN_CALIBRATE is off",
            ),
            (SpeedSource::Measured("2026-11-26".into()), "measured on 2026-11-26"),
            (
                SpeedSource::Kept("2026-11-26".into()),
                "measured on 2026-11-26 and kept in the cache directory",
            ),
        ] {
            let expected = "128 workgroups side by side, 256 invocations keep one busy, 1.500e11 multiply-adds/s each; \
                            memory 4.000e12 bytes/s; barrier 0.025 to 0.050 us; dispatch 1.250 us; ";
            assert_eq!(SpeedReport { speed, source }.to_string(), format!("{expected}{text}"));
        }
    }
}
