//! The server as a process of its own.

use rnn_serve::client::Client;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// An empty directory for a test, or that of an earlier server of the same test in this process.
pub(crate) fn temporary(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rnn-serve-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) struct Process {
    child: Child,
    address: String,
}

impl Process {
    pub(crate) fn start(folder: &Path, options: &[&str]) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_serve")), folder, options)
    }

    /// One that may have so many files open.
    #[cfg(unix)]
    pub(crate) fn start_with_files(files: usize, folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_serve"));
        Self::start_as(shell, folder, &[])
    }

    fn start_as(mut command: Command, folder: &Path, options: &[&str]) -> Self {
        let mut child = command
            .arg("--model")
            .arg(folder.join("model.safetensors"))
            .arg("--sessions")
            .arg(folder.join("sessions"))
            .args(["--listen", "127.0.0.1:0", "--max-length", "100000"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").expect(&line).to_string();
        Process { child, address }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address.clone())
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn ask_to_end(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Returns when a session was saved with at least so many symbols.
pub(crate) async fn wait_until_saved(folder: &Path, session: &str, least: usize) {
    for _ in 0..2000 {
        let exists = folder.join("sessions").join(format!("{session}.session")).exists();
        if exists && drawn(folder, session) >= least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{session} is not saved");
}

/// The symbols that a session had drawn when it was saved.
pub(crate) fn drawn(folder: &Path, session: &str) -> usize {
    let bytes = std::fs::read(folder.join("sessions").join(format!("{session}.session"))).unwrap();
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap();
    let head: Value = serde_json::from_slice(line).unwrap();
    head["drawn"].as_u64().unwrap() as usize
}
