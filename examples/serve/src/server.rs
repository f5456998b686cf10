//! The server from its start to its end.

use crate::engine::Engine;
use crate::http;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::session::{Stage, ended};
use crate::sessions::Sessions;
use crate::store::Store;
use anyhow::{Context, Result, bail};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// How long connections may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// A server that listens.
pub struct Server {
    sessions: Arc<Sessions>,
    listener: TcpListener,
}

impl Server {
    /// Loads the model, restores the saved sessions and listens.
    ///
    /// # Errors
    /// The model or the directory cannot be read, or the address is in use.
    pub async fn start(options: Options) -> Result<Self> {
        let engine = {
            let options = options.clone();
            tokio::task::spawn_blocking(move || Engine::start(&options)).await??
        };
        let store = Store::open(&options.sessions, engine.model, engine.vocabulary.len())?;
        let listener = TcpListener::bind(options.listen);
        let listener = listener.await.with_context(|| options.listen.to_string())?;
        let stage = Stage {
            engine,
            metrics: Metrics::default(),
            places: Arc::new(Semaphore::new(options.max_generations)),
            options,
            ending: watch::Sender::new(false),
        };
        let sessions = Sessions::restore(Arc::new(stage), store).await?;
        Ok(Server { sessions, listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `end` returns; then generations stop after their current symbol, and all sessions are saved.
    ///
    /// # Errors
    /// A session could not be saved, or the system does not accept connections any more.
    pub async fn run(self, end: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let Server { sessions, listener } = self;
        let stage = sessions.stage.clone();
        let keeper = tokio::spawn(keep(sessions.clone()));
        let mut over = stage.ending.subscribe();
        let ending = {
            let stage = stage.clone();
            async move {
                end.await;
                stage.ending.send_replace(true);
            }
        };
        let serve = axum::serve(listener, http::routes(sessions.clone())).with_graceful_shutdown(ending);
        let served = tokio::select! {
            served = async { serve.await } => served,
            // A connection that does not end must not keep the sessions from being saved.
            () = async {
                ended(&mut over).await;
                tokio::time::sleep(GRACE).await;
            } => Ok(()),
        };
        keeper.await?;
        let failed = sessions.save().await;
        let finished = tokio::task::spawn_blocking(move || stage.engine.batcher.finish()).await?;
        served?;
        finished?;
        if failed > 0 {
            bail!("{failed} sessions could not be saved");
        }
        Ok(())
    }
}

/// Saves and closes sessions from time to time, until the server ends.
async fn keep(sessions: Arc<Sessions>) {
    let mut ending = sessions.stage.ending.subscribe();
    loop {
        let pause = tokio::time::sleep(sessions.stage.options.save_seconds);
        tokio::select! {
            () = pause => {}
            () = ended(&mut ending) => return,
        }
        sessions.expire().await;
        sessions.save().await;
    }
}
