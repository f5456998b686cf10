//! All sessions: opened, found, saved, closed.

use crate::metrics::count;
use crate::refused::Refused;
use crate::session::{Progress, Session, Stage};
use crate::store::{DIGITS, Saved, Store};
use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Time between two tries to close the stream of a session, while the batcher has too many requests.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Sessions that are saved at a time: each waits for the disk.
const SAVES: usize = 16;

pub(crate) struct Sessions {
    pub(crate) stage: Arc<Stage>,
    store: Store,
    open: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    /// Restores what the directory has. What cannot be read stays there, and is reported.
    pub(crate) async fn restore(stage: Arc<Stage>, store: Store) -> Result<Arc<Self>> {
        let read = {
            let store = store.clone();
            tokio::task::spawn_blocking(move || store.read_all()).await??
        };
        let sessions = Sessions { stage, store, open: Mutex::default() };
        for saved in read {
            let restored = match saved {
                Ok(saved) => sessions.restored(saved).await,
                Err(error) => Err(error),
            };
            if let Err(error) = restored {
                eprintln!("a session is not restored: {error:#}");
            }
        }
        Ok(Arc::new(sessions))
    }

    async fn restored(&self, saved: Saved) -> Result<()> {
        let Saved { name, seed, progress, state } = saved;
        let context = name.clone();
        let stream = self.stage.engine.batcher.load(state).with_context(|| context.clone())?;
        let stream = stream.await.with_context(|| context)?;
        self.lock().insert(name.clone(), Session::new(name, stream, seed, progress));
        count(&self.stage.metrics.restored);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        // No code that can panic runs under the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session whose name nobody can guess.
    pub(crate) async fn open(self: &Arc<Self>, seed: Option<u64>) -> Result<Arc<Session>, Refused> {
        if *self.stage.ending.borrow() {
            return Err(Refused::ending());
        }
        let random = || {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).map(|()| u128::from_le_bytes(bytes)).map_err(|error| {
                Refused::new(
                    axum::http::StatusCode::INTERNAL_SERVER_ERROR,
                    format!("no random numbers: {error}"),
                )
            })
        };
        let name = format!("{:0DIGITS$x}", random()?);
        let seed = match seed {
            Some(seed) => seed,
            None => random()? as u64,
        };
        let stream = self.stage.engine.batcher.open()?;
        // A task of its own, which goes on if the client leaves: the stream must not stay open without a session.
        let all = self.clone();
        let opened = tokio::spawn(async move {
            // It has no file yet.
            let progress = Progress { changed: true, ..Progress::default() };
            let session = Session::new(name.clone(), stream.await?, seed, progress);
            all.lock().insert(name, session.clone());
            Ok(session)
        });
        opened.await.unwrap_or_else(|_| Err(Refused::ending()))
    }

    pub(crate) fn find(&self, name: &str) -> Result<Arc<Session>, Refused> {
        let open = self.lock();
        let session = open.get(name).ok_or_else(Refused::unknown)?;
        // Under the lock: a session that was found does not expire.
        session.touch();
        Ok(session.clone())
    }

    /// Closes a session and forgets it. A generation of it ends.
    pub(crate) async fn close(self: &Arc<Self>, name: &str) -> Result<(), Refused> {
        let session = self.lock().remove(name).ok_or_else(Refused::unknown)?;
        self.forget(session).await
    }

    /// Ends the stream of a session that nobody finds any more, and removes its file.
    async fn forget(self: &Arc<Self>, session: Arc<Session>) -> Result<(), Refused> {
        let all = self.clone();
        // A task of its own, which goes on if the client leaves.
        let closed = tokio::spawn(async move {
            session.progress.lock().await.closed = true;
            // Nobody finds the session any more, so its stream is closed however long the batcher is busy.
            let ticket = loop {
                match all.stage.engine.batcher.close(session.stream) {
                    Err(rnn_api::Error::Busy { .. }) => tokio::time::sleep(BUSY_PAUSE).await,
                    other => break other?,
                }
            };
            ticket.await?;
            let (store, name) = (all.store.clone(), session.name.clone());
            match tokio::task::spawn_blocking(move || store.remove(&name)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(internal(format!("{error:#}"))),
                Err(error) => Err(internal(error)),
            }
        });
        closed.await.unwrap_or_else(|error| Err(internal(error)))
    }

    /// Sets a session back to the beginning of a text.
    pub(crate) async fn reset(self: &Arc<Self>, session: Arc<Session>) -> Result<(), Refused> {
        let turn = session
            .turn
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refused::conflict("the session is generating"))?;
        let all = self.clone();
        let done = tokio::spawn(async move {
            let _turn = turn;
            let mut progress = session.progress.lock().await;
            if progress.closed {
                return Err(Refused::unknown());
            }
            all.stage.engine.batcher.reset(session.stream)?.await?;
            *progress = Progress { changed: true, ..Progress::default() };
            Ok(())
        });
        done.await.unwrap_or_else(|error| Err(internal(error)))
    }

    /// Saves the sessions that have changed, several at a time; returns how many could not be saved.
    pub(crate) async fn save(self: &Arc<Self>) -> usize {
        let open: Vec<Arc<Session>> = self.lock().values().cloned().collect();
        let saves = open.into_iter().map(|session| {
            let all = self.clone();
            async move {
                let saved = all.save_one(&session).await;
                saved.with_context(|| format!("session {}: not saved", session.name))
            }
        });
        let mut results: Vec<Result<bool>> = stream::iter(saves).buffer_unordered(SAVES).collect().await;
        if results.iter().flatten().any(|&written| written) {
            let store = self.store.clone();
            let synced = tokio::task::spawn_blocking(move || store.sync()).await;
            results.push(synced.map_err(Into::into).flatten().map(|()| false));
        }
        let failed = results.into_iter().filter_map(Result::err);
        failed.map(|error| eprintln!("{error:#}")).map(|()| count(&self.stage.metrics.save_errors)).count()
    }

    /// Whether the session had changed and was written.
    async fn save_one(&self, session: &Session) -> Result<bool> {
        let mut progress = session.progress.lock().await;
        if progress.closed || !progress.changed {
            return Ok(false);
        }
        let state = self.stage.engine.batcher.save(session.stream)?.await?;
        let saved =
            Saved { name: session.name.clone(), seed: session.seed, progress: progress.clone(), state };
        // What happens from here on is for the next save.
        progress.changed = false;
        drop(progress);
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || store.write(&saved)).await;
        let mut progress = session.progress.lock().await;
        if let Err(error) = written.map_err(Into::into).flatten() {
            progress.changed = true;
            return Err(error);
        }
        if progress.closed {
            self.store.remove(&session.name)?;
            return Ok(false);
        }
        count(&self.stage.metrics.saved);
        Ok(true)
    }

    /// Closes sessions that nobody has used for long.
    pub(crate) async fn expire(self: &Arc<Self>) {
        for name in self.unused() {
            let Some((session, _turn)) = self.take_unused(&name) else { continue };
            match self.forget(session).await {
                Ok(()) => count(&self.stage.metrics.expired),
                Err(refused) => eprintln!("session {name}: not closed: {}", refused.message),
            }
        }
    }

    fn unused(&self) -> Vec<String> {
        let most = self.stage.options.idle_seconds;
        let open = self.lock();
        let unused = open.values().filter(|session| session.used().elapsed() >= most);
        unused.map(|session| session.name.clone()).collect()
    }

    /// Takes a session away if nobody uses it even now: closing the ones before it can take time. No generation of it begins
    /// while its turn is held.
    fn take_unused(&self, name: &str) -> Option<(Arc<Session>, OwnedSemaphorePermit)> {
        let mut open = self.lock();
        let session = open.get(name)?;
        let turn = session.turn.clone().try_acquire_owned().ok()?;
        if session.used().elapsed() < self.stage.options.idle_seconds {
            return None;
        }
        Some((open.remove(name)?, turn))
    }
}

fn internal(message: impl ToString) -> Refused {
    Refused::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, message.to_string())
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
