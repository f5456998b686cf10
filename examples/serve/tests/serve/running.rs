//! The server in this process.

use crate::TEXT;
use crate::process::temporary;
use hyper::Method;
use rnn_serve::client::{Answer, Client};
use rnn_serve::{Options, Server, write_untrained};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Running {
    pub(crate) client: Client,
    end: oneshot::Sender<()>,
    done: JoinHandle<anyhow::Result<()>>,
    pub(crate) folder: PathBuf,
}

impl Running {
    pub(crate) async fn start(test: &str, change: impl FnOnce(&mut Options)) -> Self {
        let folder = temporary(test);
        let model = folder.join("model.safetensors");
        if !model.exists() {
            write_untrained(&model, TEXT, 24).unwrap();
        }
        let mut options = Options {
            model,
            sessions: folder.join("sessions"),
            listen: "127.0.0.1:0".parse().unwrap(),
            workers: Some(2),
            max_connections: 200,
            max_sessions: 100,
            max_generations: 50,
            max_batch: 16,
            max_length: 5000,
            save_seconds: Duration::from_secs(3600),
            idle_seconds: Duration::from_secs(3600),
            generation_seconds: Duration::from_secs(60),
            stall_seconds: Duration::from_secs(10),
            body_seconds: Duration::from_secs(10),
        };
        change(&mut options);
        let server = Server::start(options).await.unwrap();
        let client = Client::new(server.address().unwrap().to_string());
        let (end, ended) = oneshot::channel();
        let done = tokio::spawn(server.run(async { drop(ended.await) }));
        Running { client, end, done, folder }
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }

    pub(crate) async fn stop(self) {
        self.ask_to_end().await.unwrap().unwrap();
    }

    /// The task ends when the server has ended.
    pub(crate) fn ask_to_end(self) -> JoinHandle<anyhow::Result<()>> {
        drop(self.end);
        self.done
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.client.ask(Method::POST, path, body).await.unwrap()
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.client.ask(Method::GET, "/metrics", "").await.unwrap().text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    pub(crate) async fn wait_for(&self, name: &str, value: f64) {
        for _ in 0..2000 {
            if self.metric(name).await == value {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name} is {}, not {value}", self.metric(name).await);
    }
}
