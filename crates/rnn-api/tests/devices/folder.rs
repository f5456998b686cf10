//! Folders of tests.

use rnn_api::prelude::*;
use std::fs;
use std::path::PathBuf;

/// The path of a folder of one test on one device, which is removed when this is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// There is no such folder yet.
    pub(crate) fn new(device: &Device, name: &str) -> Self {
        let device = if device.is_cpu() { "cpu" } else { "gpu" };
        let path = std::env::temp_dir().join(format!("rnn-api-{name}-{device}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Folder(path)
    }

    /// An empty folder.
    pub(crate) fn empty(device: &Device, name: &str) -> Self {
        let folder = Folder::new(device, name);
        fs::create_dir_all(&folder.0).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
