//! The interface by WebSocket. The client sends requests as for `generate`, one after the other, or `{"stop": true}`. The
//! server sends `{"text": ".."}` for every symbol, then `{"done": "length"}` (or `time`, `stopped`), or `{"error": "..",
//! "status": 429}`.

use crate::connections::Place;
use crate::http::{AHEAD, App, Name};
use crate::refused::Refused;
use crate::session::{Generate, Piece, Session, ended};
use crate::sessions::Sessions;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A message of the client.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Stop {
        #[serde(rename = "stop")]
        _stop: bool,
    },
    Generate(Generate),
}

pub(crate) async fn upgrade(
    State(sessions): App,
    Name(name): Name,
    Extension(place): Extension<Arc<Place>>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Refused> {
    let session = sessions.find(&name)?;
    let upgrade = upgrade.map_err(|error| Refused::new(error.status(), error.body_text()))?;
    let most = 12 * sessions.stage.options.max_length + 4096;
    Ok(upgrade.max_message_size(most).on_upgrade(move |socket| {
        let ending = sessions.stage.ending.subscribe();
        Talk { sessions, session, socket, _place: place }.run(ending)
    }))
}

/// A connection of a session.
struct Talk {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    socket: WebSocket,
    _place: Arc<Place>,
}

impl Talk {
    async fn run(mut self, mut ending: watch::Receiver<bool>) {
        // Absent between generations.
        let mut pieces: Option<mpsc::Receiver<Piece>> = None;
        loop {
            tokio::select! {
                piece = next(&mut pieces) => {
                    let ends = !matches!(piece, Piece::Text(_));
                    if !self.send(message(piece)).await {
                        return;
                    }
                    if ends {
                        pieces = None;
                    }
                }
                asked = self.socket.recv() => match asked {
                    Some(Ok(Message::Text(text))) => match self.answer(&text, &mut pieces) {
                        Ok(()) => {}
                        Err(refused) => {
                            self.sessions.stage.metrics.request(refused.status);
                            if !self.send(message(Piece::Failed(refused))).await {
                                return;
                            }
                        }
                    },
                    Some(Ok(Message::Binary(_))) => {
                        if !self.send(message(Piece::Failed(Refused::invalid("text is expected, not bytes")))).await {
                            return;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    // Dropping `pieces` ends the generation.
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                },
                () = ended(&mut ending), if pieces.is_none() => {
                    let frame = CloseFrame { code: close_code::AWAY, reason: "the server is ending".into() };
                    let close = self.socket.send(Message::Close(Some(frame)));
                    let _closed_or_gone = timeout(self.sessions.stage.options.stall_seconds, close).await;
                    return;
                }
            }
        }
    }

    fn answer(&self, text: &str, pieces: &mut Option<mpsc::Receiver<Piece>>) -> Result<(), Refused> {
        match serde_json::from_str(text) {
            Ok(Asked::Stop { .. }) => {
                // The generation finds its receiver closed; pieces that have come are still sent.
                if let Some(pieces) = pieces {
                    pieces.close();
                }
                Ok(())
            }
            Ok(Asked::Generate(request)) => {
                let generation = self.sessions.stage.admit(&self.session, &request)?;
                let (out, receiver) = mpsc::channel(AHEAD);
                let stage = self.sessions.stage.clone();
                tokio::spawn(async move { stage.generate(generation, out).await });
                *pieces = Some(receiver);
                Ok(())
            }
            Err(_) => Err(problem(text)),
        }
    }

    /// False if the client is gone or takes nothing.
    async fn send(&mut self, message: Value) -> bool {
        let sent = self.socket.send(Message::Text(message.to_string().into()));
        matches!(timeout(self.sessions.stage.options.stall_seconds, sent).await, Ok(Ok(())))
    }
}

/// The problem of a message that is neither of the two.
fn problem(text: &str) -> Refused {
    let error = serde_json::from_str::<Generate>(text).err();
    Refused::invalid(error.map_or_else(|| "not understood".into(), |error| error.to_string()))
}

/// The next piece; none comes while nothing is generated.
async fn next(pieces: &mut Option<mpsc::Receiver<Piece>>) -> Piece {
    match pieces {
        Some(pieces) => pieces.recv().await.unwrap_or(Piece::Done("stopped")),
        None => std::future::pending().await,
    }
}

fn message(piece: Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({ "text": text }),
        Piece::Done(reason) => json!({ "done": reason }),
        Piece::Failed(refused) => json!({ "error": refused.message, "status": refused.status.as_u16() }),
    }
}
