//! A file of a graph, which is complete and right, or absent.

use super::super::proto::{GraphProto, ModelProto, OperatorSetId};
use crate::error::{Error, Result};
use prost::Message;
use std::path::{Path, PathBuf};

pub(super) fn encoded(graph: GraphProto, opset: i64) -> Vec<u8> {
    // The IR versions that came with the opsets.
    let ir_version = match opset {
        ..=18 => 8,
        19 | 20 => 9,
        _ => 10,
    };
    let opset_import = vec![OperatorSetId { domain: String::new(), version: opset }];
    ModelProto { ir_version, opset_import, graph: Some(graph) }.encode_to_vec()
}

/// Beside the destination, read again and checked, then renamed.
pub(super) fn write(path: &Path, bytes: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
    // A message of protocol buffers has at most 2^31 - 1 bytes.
    if i32::try_from(bytes.len()).is_err() {
        let why = format!("the file would have {} bytes, expected less than 2 GiB", bytes.len());
        return Err(Error::File { path: path.to_path_buf(), problems: vec![why] });
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let failed = |error| Error::Io { path: path.to_path_buf(), error };
    let written = std::fs::File::create_new(&temporary).and_then(|mut file| {
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    });
    let read = written.and_then(|()| std::fs::read(&temporary)).map_err(failed);
    let checked = read.and_then(|bytes| check(&bytes));
    let renamed = checked.and_then(|()| std::fs::rename(&temporary, path).map_err(failed));
    if renamed.is_err() {
        // The first error is the one to report.
        drop(std::fs::remove_file(&temporary));
    }
    renamed
}
