//! [`Interrupt`]: ending a run from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to end a run cleanly: after the step at hand, with a checkpoint and the best weights. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// One that other code [sets](Interrupt::set).
    pub fn new() -> Self {
        Self::default()
    }

    /// One that Ctrl-C sets, or a polite signal to end (SIGTERM, SIGHUP). The second Ctrl-C ends the process at once.
    /// A process has one such handler; further calls return the same wish.
    ///
    /// # Errors
    /// The system, or another handler in this process, is in the way.
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

    /// Asks the run to end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
