//! Driver errors: they arrive through callbacks and stay until the device is dropped.

use super::waiting::CAN_WAIT;
use rnn_base::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The first failure of a device. It stays, because results computed after it are void.
#[derive(Default)]
pub(super) struct Failure {
    /// Whether `first` is set. Every dispatch checks it, and an atomic flag costs less than the lock.
    any: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Failure {
    /// Installs the callbacks of `device` that fill the slot.
    pub(super) fn watch(device: &wgpu::Device) -> Arc<Self> {
        let failure = Arc::new(Failure::default());
        let slot = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error| slot.record(describe(error))));
        let slot = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            slot.record(Error::DeviceLost(format!("{reason:?}: {message}")));
        });
        failure
    }

    /// Keeps the first failure, but a device loss replaces it: the loss is the cause of the earlier error.
    pub(super) fn record(&self, error: Error) {
        tracing::error!(%error, "GPU failure");
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let explains = matches!(error, Error::DeviceLost(_)) && !matches!(*first, Some(Error::DeviceLost(_)));
        if first.is_none() || explains {
            *first = Some(error);
        }
        self.any.store(true, Ordering::Release);
    }

    /// The failure, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.first.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Lets wgpu deliver callbacks, and returns whether the queue is empty.
    pub(super) fn look(&self, device: &wgpu::Device) -> Result<bool> {
        let looked = guard(|| device.poll(wgpu::PollType::Poll));
        if let Err(message) = &looked {
            self.record(Error::DeviceLost(message.clone()));
        }
        self.check()?;
        Ok(!matches!(looked, Ok(Ok(wgpu::PollStatus::Poll))))
    }

    /// Lets wgpu deliver callbacks, and with [`wgpu::PollType::Wait`] waits for the queue.
    pub(super) fn poll(&self, device: &wgpu::Device, poll: wgpu::PollType) -> Result<()> {
        match guard(|| device.poll(poll)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                self.check()?;
                return Err(Error::Gpu { kind: "wait", message: error.to_string() });
            }
            Err(message) => self.record(Error::DeviceLost(message)),
        }
        self.check()
    }
}

/// Runs a call into wgpu that reports a lost device only by a panic: [`wgpu::Device::poll`] panics when the
/// driver answers a wait with anything but success or a timeout. wgpu's core has returned by then, so none of
/// its locks is held and no state is half written. The program's panic hook has run, though, and prints by
/// default.
fn guard<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("the driver gave no reason").to_string()
    })
}

/// Runs `make` and returns the error that wgpu raises for it; that error does not count as a failure of the
/// device. In a browser errors arrive only after the program returns to the event loop: there the error of `make` is one
/// of the device, which the next check finds.
pub(super) fn attempt<R>(device: &wgpu::Device, make: impl FnOnce() -> R) -> Result<R> {
    if !CAN_WAIT {
        return Ok(make());
    }
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let made = make();
    // The future is ready at once: natively, wgpu reports before the call returns.
    let internal = pollster::block_on(internal.pop());
    let validation = pollster::block_on(validation.pop());
    match validation.or(internal) {
        Some(error) => Err(describe(error)),
        None => Ok(made),
    }
}

/// The kind of an [`Error::Gpu`] for memory that the driver does not have.
pub(super) const OUT_OF_MEMORY: &str = "out of memory";

/// As [`attempt`], for a request that may meet the end of the memory.
pub(super) fn attempt_to_allocate<R>(device: &wgpu::Device, make: impl FnOnce() -> R) -> Result<R> {
    if !CAN_WAIT {
        return Ok(make());
    }
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let made = make();
    match pollster::block_on(memory.pop()) {
        Some(error) => Err(describe(error)),
        None => Ok(made),
    }
}

/// Converts a wgpu error into an [`Error`].
fn describe(error: wgpu::Error) -> Error {
    let (kind, message) = match error {
        wgpu::Error::OutOfMemory { .. } => (OUT_OF_MEMORY, error.to_string()),
        wgpu::Error::Validation { description, .. } => ("validation", description),
        wgpu::Error::Internal { description, .. } => ("internal", description),
    };
    Error::Gpu { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validation(message: &str) -> Error {
        Error::Gpu { kind: "validation", message: message.into() }
    }

    #[test]
    fn the_first_failure_stays_and_a_loss_explains_it() {
        let failure = Failure::default();
        assert!(failure.check().is_ok());
        failure.record(validation("first"));
        failure.record(validation("second"));
        assert_eq!(failure.check().unwrap_err().to_string(), "GPU validation: first");
        failure.record(Error::DeviceLost("gone".into()));
        failure.record(Error::DeviceLost("again".into()));
        failure.record(validation("third"));
        assert_eq!(failure.check().unwrap_err().to_string(), "GPU device lost: gone");
    }

    #[test]
    fn a_panic_inside_wgpu_becomes_a_message() {
        assert_eq!(guard(|| 3), Ok(3));
        assert_eq!(
            guard(|| panic!("Error in {}: lost", "Device::poll")),
            Err::<(), _>("Error in Device::poll: lost".into())
        );
        assert_eq!(guard(|| panic!("lost")), Err::<(), _>("lost".into()));
    }
}
