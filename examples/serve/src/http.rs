//! The interface by HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `POST /sessions`, `{"seed": 1}` or nothing | 201, `{"session": NAME}` |
//! | `POST /sessions/NAME/generate`, `{"prompt": "..", "length": 100, "temperature": 1, "top_k", "top_p", "min_p"}` | the text, as it comes |
//! | `GET /sessions/NAME/socket` | a WebSocket, see `socket.rs` |
//! | `POST /sessions/NAME/reset` | 204 |
//! | `DELETE /sessions/NAME` | 204 |
//! | `GET /metrics`, `/health`, `/` | counts for Prometheus; `ok`; a page to try it |
//!
//! Errors are `{"error": ".."}`: 404 no such session, 408 the body did not come, 409 it generates already, 413 and 422 a
//! request that is too long or makes no sense, 429 too many sessions, generations or WebSockets, 503 the server ends.
//!
//! The last chunk of the body marks the end of a text. It comes only after all symbols. If the time is over, the server ends, or
//! the client takes nothing for too long, then the connection ends without it.

use crate::object::Object;
use crate::options::Options;
use crate::refused::Refused;
use crate::session::{Generate, Piece};
use crate::sessions::Sessions;
use crate::socket;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// Pieces of text that wait for a client.
pub(crate) const AHEAD: usize = 64;

pub(crate) type App = State<Arc<Sessions>>;

/// The name in an address. One that is no text is that of no session.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let name = Path::from_request_parts(parts, state).await;
        name.map(|Path(name)| Name(name)).map_err(|_| Refused::unknown())
    }
}

pub(crate) fn routes(sessions: Arc<Sessions>) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/health", get(|| async { "ok" }))
        .route("/metrics", get(metrics))
        .route("/sessions", post(open))
        .route("/sessions/{name}", delete(close))
        .route("/sessions/{name}/reset", post(reset))
        .route("/sessions/{name}/generate", post(generate))
        .route("/sessions/{name}/socket", get(socket::upgrade))
        .fallback(|| async { Refused::new(StatusCode::NOT_FOUND, "no such page") })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "no such method of this page")
        })
        // `whole` has its own limit.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(sessions.clone(), received))
        .with_state(sessions)
}

/// Answers a request when it has come whole, and counts the responses.
async fn received(State(sessions): App, request: Request, next: Next) -> Response {
    let response = match whole(request, &sessions.stage.options).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    sessions.stage.metrics.request(response.status());
    response
}

/// The request with its whole body, if that comes in time.
async fn whole(request: Request, options: &Options) -> Result<Request, Refused> {
    let (head, body) = request.into_parts();
    let most = options.max_bytes();
    match timeout(options.body_seconds, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, Body::from(body.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("length limit exceeded: a body has at most {most} bytes"),
        )),
        Ok(Err(error)) => Err(Refused::new(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => {
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "the body of the request did not come in time"))
        }
    }
}

async fn metrics(State(sessions): App) -> Result<Response, Refused> {
    let stage = &sessions.stage;
    let text = stage.metrics.text(stage.engine.batcher.stats());
    let text = text.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    seed: Option<u64>,
}

async fn open(State(sessions): App, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Refused> {
    let Object(open) = match bytes.is_empty() {
        true => Object(Open::default()),
        false => serde_json::from_slice(&bytes).map_err(Refused::invalid)?,
    };
    let session = sessions.open(open.seed).await?;
    Ok((StatusCode::CREATED, Json(json!({ "session": session.name }))))
}

async fn close(State(sessions): App, Name(name): Name) -> Result<StatusCode, Refused> {
    sessions.close(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset(State(sessions): App, Name(name): Name) -> Result<StatusCode, Refused> {
    sessions.reset(sessions.find(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn generate(
    State(sessions): App,
    Name(name): Name,
    request: Result<Json<Object<Generate>>, JsonRejection>,
) -> Result<Response, Refused> {
    let session = sessions.find(&name)?;
    let Json(Object(request)) = request?;
    let generation = sessions.stage.admit(&session, &request)?;
    let (out, mut pieces) = mpsc::channel(AHEAD);
    let stage = sessions.stage.clone();
    // A task of its own: a client that leaves must not interrupt a step.
    tokio::spawn(async move { stage.generate(generation, out).await });
    // What fails at once has a status of its own.
    let first = match pieces.recv().await {
        Some(Piece::Failed(refused)) => return Err(refused),
        Some(Piece::Done("stopped")) | None => return Err(Refused::ending()),
        Some(piece) => piece,
    };
    let all = tokio_stream::once(first).chain(ReceiverStream::new(pieces));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(text(all))).into_response())
}

/// The text of a generation. An error ends the connection without the mark of the text's end, so that the client knows.
fn text(pieces: impl Stream<Item = Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    // A generation whose client took nothing has no last piece.
    let pieces = pieces.chain(tokio_stream::once(Piece::Done("stopped")));
    pieces.scan(false, |over, piece| {
        let before = std::mem::replace(over, !matches!(piece, Piece::Text(_)));
        async move {
            let problem = match piece {
                _ if before => return None,
                Piece::Text(text) => return Some(Ok(Bytes::from(text))),
                Piece::Done("length") => return None,
                Piece::Done(reason) => reason.to_string(),
                Piece::Failed(refused) => refused.message,
            };
            // An error discards what the connection has not written yet. It writes when the text is not ready.
            tokio::task::yield_now().await;
            Some(Err(io::Error::other(problem)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a text with all its symbols ends without an error.
    #[tokio::test]
    async fn a_text_without_its_last_piece_is_no_whole_text() {
        let piece = |text: &str| Piece::Text(text.into());
        for (last, whole) in [
            (Some(Piece::Done("length")), true),
            (Some(Piece::Done("time")), false),
            (Some(Piece::Done("stopped")), false),
            (Some(Piece::Failed(Refused::unknown())), false),
            (None, false),
        ] {
            let pieces = [piece("a"), piece("b")].into_iter().chain(last.clone());
            let sent: Vec<_> = text(futures_util::stream::iter(pieces)).collect().await;
            let texts: Vec<_> = sent.iter().flatten().collect();
            assert_eq!(texts, ["a", "b"]);
            assert_eq!(sent.iter().filter(|piece| piece.is_err()).count(), usize::from(!whole), "{last:?}");
        }
    }
}
