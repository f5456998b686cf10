//! Where a thread may wait for a GPU.

use rnn_base::error::{Error, Result};

/// Whether a thread may wait for a GPU. In a browser results arrive only after the program returns to the event loop, so
/// a thread that waited would wait for ever.
pub(super) const CAN_WAIT: bool = cfg!(not(target_arch = "wasm32"));

/// Refuses to block the thread in a browser.
pub(super) fn expect_blocking(op: &'static str, instead: &str) -> Result<()> {
    if !CAN_WAIT {
        return Err(Error::Unsupported {
            op,
            what: "waiting for a GPU on the web".into(),
            why: format!("the browser's thread must not block; use {instead}"),
        });
    }
    Ok(())
}
