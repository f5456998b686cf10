//! [`Interrupt`]: stops a run from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop a run after the current step, with a checkpoint and the best weights. Clones share one
/// request.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A request that other code [sets](Interrupt::set).
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that is set by Ctrl-C or by SIGTERM or SIGHUP. A second Ctrl-C ends the process at once. A process
    /// has only one such handler, so further calls return the same request.
    ///
    /// # Errors
    /// The system refuses the handler or has no such signals, or the process already has another handler.
    #[cfg(feature = "ctrl-c")]
    pub fn on_ctrl_c() -> crate::Result<Self> {
        handler::request()
    }

    /// Asks the run to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was requested.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(all(feature = "ctrl-c", any(unix, windows)))]
mod handler {
    use super::Interrupt;
    use std::sync::{Mutex, PoisonError};

    pub(super) fn request() -> crate::Result<Interrupt> {
        static HANDLER: Mutex<Option<Interrupt>> = Mutex::new(None);
        let mut handler = HANDLER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interrupt) = &*handler {
            return Ok(interrupt.clone());
        }
        let interrupt = Interrupt::new();
        let of_handler = interrupt.clone();
        let installed = ctrlc::set_handler(move || {
            if of_handler.is_set() {
                std::process::exit(130);
            }
            of_handler.set();
        });
        installed.map_err(|error| crate::Error::Unsupported {
            what: "a handler for Ctrl-C".into(),
            why: error.to_string(),
        })?;
        *handler = Some(interrupt.clone());
        Ok(interrupt)
    }
}

#[cfg(all(feature = "ctrl-c", not(any(unix, windows))))]
mod handler {
    pub(super) fn request() -> crate::Result<super::Interrupt> {
        Err(crate::Error::Unsupported {
            what: "a handler for Ctrl-C".into(),
            why: "this platform has no such signal".into(),
        })
    }
}
