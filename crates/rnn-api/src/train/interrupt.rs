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
    /// The system refuses the handler, or the process already has another one.
    #[cfg(feature = "ctrl-c")]
    pub fn on_ctrl_c() -> crate::Result<Self> {
        use std::sync::{Mutex, PoisonError};
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

    /// Asks the run to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was requested.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
