//! The interface by WebSocket. The client sends requests as for `generate`, one after the other: the next one when the text of
//! the one before is complete, or else it is refused with 409. `{"stop": true}` ends a text early, and does nothing where none
//! is written. The server sends `{"text": ".."}` for every symbol, then `{"done": "length"}` (or `time`, `stopped`), or
//! `{"error": "..", "status": 429}`.
//!
//! It closes the connection with 1001 when the server ends or no request came for long (pings do not count), with 1009 after a
//! message that is too long, and with 1002 or 1007 after one that is none.

use crate::connections::Place;
use crate::http::{AHEAD, App, Name};
use crate::metrics::count;
use crate::object::Object;
use crate::refused::Refused;
use crate::session::{Generate, Piece, SOCKETS, Session, Stage, ended};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

/// Bytes that are read at a time.
const READ: usize = 8 << 10;

/// How long the client may take to answer that the connection is closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// A message of the client that is no request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    stop: bool,
}

pub(crate) async fn upgrade(
    State(sessions): App,
    Name(name): Name,
    Extension(place): Extension<Arc<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refused> {
    let session = sessions.find(&name)?;
    let upgrade = upgrade.map_err(|error| Refused::new(error.status(), error.body_text()))?;
    let full = || Refused::busy(format!("the session has {SOCKETS} WebSockets, as many as may be"));
    let permit = session.sockets.clone().try_acquire_owned().map_err(|_| full())?;
    let most = sessions.stage.options.max_bytes();
    let upgrade = upgrade.max_message_size(most).max_frame_size(most).read_buffer_size(READ);
    Ok(upgrade.on_upgrade(move |socket| {
        let ending = sessions.stage.ending.subscribe();
        let texts = Texts { stage: sessions.stage.clone(), session, running: None };
        Talk { texts, socket, heard: Instant::now(), _permit: permit, _place: place }.run(ending)
    }))
}

/// A connection of a session.
struct Talk {
    texts: Texts,
    socket: WebSocket,
    /// When the last request came or its text was complete.
    heard: Instant,
    _permit: OwnedSemaphorePermit,
    _place: Arc<Place>,
}

/// The texts of a connection, one after the other.
struct Texts {
    stage: Arc<Stage>,
    session: Arc<Session>,
    /// Absent between texts.
    running: Option<Running>,
}

/// A text that has not been sent to its end. Dropping it ends the generation.
struct Running {
    pieces: mpsc::Receiver<Piece>,
    stop: Arc<AtomicBool>,
}

/// Why a connection ends.
enum Over {
    /// The client has closed it.
    Left,
    /// The client takes nothing.
    Stalled,
    /// The server closes it.
    Closed(u16, Utf8Bytes),
}

impl Talk {
    async fn run(mut self, mut ending: watch::Receiver<bool>) {
        let idle = self.texts.stage.options.idle_seconds;
        let over = loop {
            let between = self.texts.running.is_none();
            let went_on = tokio::select! {
                piece = self.texts.next() => self.pass(piece).await,
                asked = self.socket.recv() => self.hear(asked).await,
                () = sleep_until(self.heard + idle), if between => {
                    Err(Over::Closed(close_code::AWAY, "no request came for long".into()))
                }
                () = ended(&mut ending), if between => {
                    Err(Over::Closed(close_code::AWAY, "the server is ending".into()))
                }
            };
            if let Err(over) = went_on {
                break over;
            }
        };
        self.end(over).await;
    }

    /// Sends a piece of the text.
    async fn pass(&mut self, piece: Piece) -> Result<(), Over> {
        let last = !matches!(piece, Piece::Text(_));
        self.send(message(piece)).await?;
        if last {
            self.texts.running = None;
            self.heard = Instant::now();
        }
        Ok(())
    }

    /// Does what a message asks for.
    async fn hear(&mut self, asked: Option<Result<Message, axum::Error>>) -> Result<(), Over> {
        let done = match asked {
            Some(Ok(Message::Text(text))) => {
                self.heard = Instant::now();
                self.texts.ask(&text)
            }
            Some(Ok(Message::Binary(_))) => Err(Refused::invalid("text is expected, not bytes")),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => return Err(Over::Left),
            Some(Err(error)) => {
                return Err(Over::Closed(code(&error), "not a message for this server".into()));
            }
        };
        let Err(refused) = done else { return Ok(()) };
        self.texts.stage.metrics.request(refused.status);
        self.send(message(Piece::Failed(refused))).await
    }

    async fn send(&mut self, message: Value) -> Result<(), Over> {
        let sent = self.socket.send(Message::Text(message.to_string().into()));
        match timeout(self.texts.stage.options.stall_seconds, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Over::Left),
            Err(_) => Err(Over::Stalled),
        }
    }

    /// Ends the connection so that the client learns why.
    async fn end(mut self, over: Over) {
        match over {
            Over::Stalled => {
                if let Some(running) = &self.texts.running {
                    // It ends as one that stalled, and not as one whose client went away.
                    running.stop.store(true, Ordering::Relaxed);
                    count(&self.texts.stage.metrics.stalled);
                }
                return;
            }
            Over::Left => {}
            Over::Closed(code, reason) => {
                let close = self.socket.send(Message::Close(Some(CloseFrame { code, reason })));
                let _sent_or_gone = timeout(self.texts.stage.options.stall_seconds, close).await.is_ok();
            }
        }
        // The generation ends now, and not after the farewell.
        self.texts.running = None;
        // What is still unread would make the system discard what was sent.
        let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _closed_or_gone = timeout(FAREWELL, rest).await.is_ok();
    }
}

impl Texts {
    /// Does what a message asks for.
    fn ask(&mut self, text: &str) -> Result<(), Refused> {
        match (asked(text)?, &self.running) {
            (None, Some(running)) => running.stop.store(true, Ordering::Relaxed),
            (None, None) => {}
            (Some(_), Some(_)) => {
                return Err(Refused::conflict("the text of the last request is not complete"));
            }
            (Some(request), None) => {
                let generation = self.stage.admit(&self.session, &request)?;
                let (out, pieces) = mpsc::channel(AHEAD);
                self.running = Some(Running { pieces, stop: generation.stop.clone() });
                let stage = self.stage.clone();
                tokio::spawn(async move { stage.generate(generation, out).await });
            }
        }
        Ok(())
    }

    /// The next piece; none comes while nothing is generated.
    async fn next(&mut self) -> Piece {
        match &mut self.running {
            Some(running) => running.pieces.recv().await.unwrap_or(Piece::Done("stopped")),
            None => std::future::pending().await,
        }
    }
}

/// The request of a message; none if it says stop.
fn asked(text: &str) -> Result<Option<Generate>, Refused> {
    let problem = match serde_json::from_str(text) {
        Ok(Object(request)) => return Ok(Some(request)),
        Err(error) => error,
    };
    match serde_json::from_str(text) {
        Ok(Object(Stop { stop: true })) => Ok(None),
        Ok(Object(Stop { stop: false })) => Err(Refused::invalid("stop must be true")),
        Err(_) => Err(Refused::invalid(problem)),
    }
}

/// Why the connection is closed after what was no message.
fn code(error: &axum::Error) -> u16 {
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(tungstenite::Error::Capacity(_)) => close_code::SIZE,
        Some(tungstenite::Error::Utf8(_)) => close_code::INVALID,
        _ => close_code::PROTOCOL,
    }
}

fn message(piece: Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({ "text": text }),
        Piece::Done(reason) => json!({ "done": reason }),
        Piece::Failed(refused) => json!({ "error": refused.message, "status": refused.status.as_u16() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::stage_with;

    /// The session is free again before the client has read the text; what waits for the client must not be lost.
    #[tokio::test]
    async fn a_text_that_is_not_read_yet_stays() {
        let (stage, session) = stage_with("texts", |_| {}).await;
        let mut texts = Texts { stage, session: session.clone(), running: None };
        texts.ask("{\"length\": 5}").unwrap();
        let free = session.turn.clone().acquire_owned().await;
        drop(free);
        let refused = texts.ask("{\"length\": 5}").unwrap_err();
        assert_eq!(refused.status, axum::http::StatusCode::CONFLICT);
        for _ in 0..5 {
            let piece = texts.next().await;
            assert!(matches!(piece, Piece::Text(_)), "{piece:?}");
        }
        let last = texts.next().await;
        assert!(matches!(last, Piece::Done("length")), "{last:?}");
        texts.running = None;
        texts.ask("{\"stop\": true}").unwrap();
        texts.ask("{\"length\": 5}").unwrap();
    }
}
