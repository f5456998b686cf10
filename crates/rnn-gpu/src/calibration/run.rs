//! When a device is measured, and what the planner knows if it cannot be.

use super::file;
use super::measure;
use super::probe::{GpuProbe, LARGEST};
use super::speed::{Speed, SpeedReport, SpeedSource};
use crate::GpuDevice;
use crate::adapter::DeviceKind;
use rnn_base::error::Result;
use std::sync::PoisonError;

impl GpuDevice {
    /// How fast the adapter is. The first call may measure it, which takes at most 0.3 s besides the compilation of a few
    /// small kernels; see [`GpuOptions::calibrate`](crate::GpuOptions::calibrate).
    ///
    /// # Errors
    /// A lost device.
    pub fn speed(&self) -> Result<SpeedReport> {
        let calibration = &self.0.calibration;
        // The lock is held during the measurement: another thread that asks meanwhile waits for the result.
        let mut report = calibration.report.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = &*report {
            return Ok(report.clone());
        }
        let found = match (calibration.off, calibration.kept()) {
            (Some(reason), _) => self.constants(reason),
            (None, Some(kept)) => kept,
            (None, None) => self.calibrate()?,
        };
        Ok(report.insert(found).clone())
    }

    /// How fast the adapter is, where this device or an earlier run has measured it.
    pub(crate) fn known_speed(&self) -> Option<Speed> {
        let calibration = &self.0.calibration;
        // The lock is held during a measurement.
        let mut report = calibration.report.try_lock().ok()?;
        if report.is_none() && calibration.off.is_none() {
            *report = calibration.kept();
        }
        report.as_ref().map(|report| report.speed)
    }

    fn constants(&self, reason: &'static str) -> SpeedReport {
        SpeedReport { speed: Speed::assumed(self.info().kind), source: SpeedSource::Constants(reason) }
    }

    fn calibrate(&self) -> Result<SpeedReport> {
        let largest = self.largest_workgroup();
        let result = if self.max_array_bytes() < LARGEST {
            Ok(Err("arrays are limited to less than the measurements need"))
        } else if self.max_groups() < measure::MOST_GROUPS {
            Ok(Err("workgroups are limited to fewer than the measurements need"))
        } else {
            GpuProbe::new(self, largest).and_then(|mut probe| measure::measure(&mut probe, largest))
        };
        let reason = match result {
            Ok(Ok(mut speed)) => {
                // The system knows the cores of a software adapter; other programs only hide some.
                if self.info().kind == DeviceKind::Software {
                    speed.cores = speed.cores.max(Speed::assumed(DeviceKind::Software).cores);
                }
                let now = web_time::SystemTime::now().duration_since(web_time::SystemTime::UNIX_EPOCH);
                let day = file::day(now.map_or(0, |now| now.as_secs()));
                tracing::info!(adapter = self.info().name, %speed, "calibrated");
                return Ok(self.0.calibration.keep(speed, day));
            }
            Ok(Err(reason)) => reason,
            // The device may be lost, or it refuses kernels that nothing else needs.
            Err(error) => {
                self.0.check()?;
                tracing::warn!(%error, "a kernel of the calibration does not run");
                "the driver refuses the kernels that measure"
            }
        };
        tracing::warn!(
            adapter = self.info().name,
            reason,
            "the adapter could not be measured; plans follow constants"
        );
        Ok(self.constants(reason))
    }

    /// Most invocations of a workgroup.
    pub(crate) fn largest_workgroup(&self) -> usize {
        let limits = &self.0.limits;
        limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x) as usize
    }
}
