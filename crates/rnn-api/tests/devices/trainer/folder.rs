//! Folders of tests.

use rnn_api::prelude::*;
use std::fs;
use std::path::PathBuf;

/// A folder that goes when it is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(device: &Device, name: &str) -> Self {
        let device = if device.is_cpu() { "cpu" } else { "gpu" };
        let path = std::env::temp_dir().join(format!("rnn-trainer-{name}-{device}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
