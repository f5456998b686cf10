//! The server from its start to its end.

use crate::connections;
use crate::engine::Engine;
use crate::options::Options;
use crate::session::{Stage, ended};
use crate::sessions::Sessions;
use crate::store::Store;
use anyhow::{Context, Result, ensure};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the parts of the server's end may take.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// Until connections and generations have ended.
    grace: Duration,
    /// The last save.
    save: Duration,
    /// Until the threads that compute have ended, for which nobody waits any more.
    finish: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let [grace, save, finish] = [5, 60, 10].map(Duration::from_secs);
        Deadlines { grace, save, finish }
    }
}

/// A server that listens.
pub struct Server {
    sessions: Arc<Sessions>,
    listener: TcpListener,
    deadlines: Deadlines,
}

impl Server {
    /// Loads the model, restores the saved sessions and listens.
    ///
    /// # Errors
    /// An option is out of its range, the model or the directory cannot be read, or the address is in use.
    pub async fn start(options: Options) -> Result<Self> {
        options.check()?;
        let engine = {
            let options = options.clone();
            tokio::task::spawn_blocking(move || Engine::start(&options)).await??
        };
        let store = Store::open(&options.sessions, engine.model, engine.vocabulary.len())?;
        let listener = TcpListener::bind(options.listen);
        let listener = listener.await.with_context(|| options.listen.to_string())?;
        let sessions = Sessions::restore(Arc::new(Stage::new(engine, options)), store).await?;
        Ok(Server { sessions, listener, deadlines: Deadlines::default() })
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
    /// A session could not be saved, or the disk or the threads that compute take too long.
    pub async fn run(self, end: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let Server { sessions, listener, deadlines: Deadlines { grace, save, finish } } = self;
        let stage = sessions.stage.clone();
        let keeper = tokio::spawn(keep(sessions.clone()));
        let end = async {
            end.await;
            stage.ending.send_replace(true);
        };
        tokio::join!(connections::accept(listener, sessions.clone()), end);
        // A connection that does not end must not keep the sessions from being saved.
        let _all_ended = timeout(grace, quiet(&stage)).await.is_ok();
        let saved = timeout(save, last_save(sessions, keeper)).await;
        let ended = tokio::task::spawn_blocking(move || stage.engine.batcher.finish());
        let finished = timeout(finish, ended).await;
        saved.with_context(|| format!("sessions are not saved after {save:?}"))??;
        finished.with_context(|| format!("threads still compute after {finish:?}"))???;
        Ok(())
    }
}

/// Returns when all connections and generations have ended.
async fn quiet(stage: &Stage) {
    let options = &stage.options;
    let all = [(&stage.connections, options.max_connections), (&stage.places, options.max_generations)];
    for (places, count) in all {
        // `Options::check` has limited the number. Nobody closes the semaphores.
        let _all_free = places.acquire_many(count as u32).await.is_ok();
    }
}

/// Saves after the save that may be under way.
async fn last_save(sessions: Arc<Sessions>, keeper: JoinHandle<()>) -> Result<()> {
    keeper.await?;
    let failed = sessions.save().await;
    ensure!(failed == 0, "{failed} sessions could not be saved");
    Ok(())
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

#[cfg(all(test, unix))]
#[path = "server_tests.rs"]
mod tests;
