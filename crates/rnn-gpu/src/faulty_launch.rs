//! What runs in place of a kernel on a device with a [`Fault`](super::Fault).

use super::encoder::Launch;
use super::fault::FaultEffect;
use super::{GpuBuffer, GpuDevice, pointwise};
use rnn_base::error::Result;
use rnn_kernels::{Access, Kernel};

impl GpuDevice {
    /// The fault of the device that concerns a kernel.
    pub(super) fn fault(&self, kernel: &Kernel) -> Option<FaultEffect> {
        self.0.fault?.of(kernel.label)
    }

    /// Does what the effect says in place of the launch. Returns the workgroups that run all the same.
    pub(super) fn run_faulty(&self, launch: &Launch<'_>, effect: FaultEffect) -> Result<Option<[u32; 3]>> {
        let value = match effect {
            FaultEffect::Nothing => return Ok(None),
            FaultEffect::FirstWorkgroup => return Ok(Some([1; 3])),
            FaultEffect::Fills(value) => value,
        };
        let written = launch.buffers.iter().zip(launch.kernel.bindings);
        let written = written.filter(|(_, access)| **access == Access::ReadWrite);
        written
            .map(|(buffer, _)| buffer)
            .try_for_each(|buffer: &&GpuBuffer| pointwise::fill_all(self, buffer, value))?;
        Ok(None)
    }
}
