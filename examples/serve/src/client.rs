//! What the tests and `load` talk to the server with.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A server, by its address `HOST:PORT`.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
}

/// A response: its status and its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body as text.
    pub text: String,
    /// Whether the server asks to try again later.
    pub retry_after: Option<String>,
}

impl Client {
    /// Of the server at this address.
    pub fn new(address: impl Into<String>) -> Self {
        Client { address: address.into() }
    }

    /// The server's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request on a connection of its own; the body has not been read.
    ///
    /// # Errors
    /// No connection.
    pub async fn send(&self, method: Method, path: &str, body: &str) -> Result<Response<Incoming>> {
        let stream = TcpStream::connect(&self.address).await.with_context(|| self.address.clone())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the response; an error of it is one of the response, too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        Ok(sender.send_request(request).await?)
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// No connection, or one that breaks off.
    pub async fn ask(&self, method: Method, path: &str, body: &str) -> Result<Answer> {
        let response = self.send(method, path, body).await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_string);
        let text = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
        Ok(Answer { status, text, retry_after })
    }

    /// Opens a session; returns its name.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), or the server refuses.
    pub async fn open(&self, seed: u64) -> Result<String> {
        let answer = self.ask(Method::POST, "/sessions", &json!({ "seed": seed }).to_string()).await?;
        if answer.status != 201 {
            bail!("status {}: {}", answer.status, answer.text);
        }
        let value: Value = serde_json::from_str(&answer.text)?;
        Ok(value["session"].as_str().context("no name of a session")?.to_string())
    }

    /// Generates by HTTP: the whole text.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), or the server refuses.
    pub async fn generate(&self, session: &str, request: &Value) -> Result<String> {
        let path = format!("/sessions/{session}/generate");
        let answer = self.ask(Method::POST, &path, &request.to_string()).await?;
        if answer.status != 200 {
            bail!("status {}: {}", answer.status, answer.text);
        }
        Ok(answer.text)
    }

    /// Connects to a session by WebSocket.
    ///
    /// # Errors
    /// No connection, or no such session.
    pub async fn connect(&self, session: &str) -> Result<Socket> {
        let (socket, _) = connect_async(format!("ws://{}/sessions/{session}/socket", self.address)).await?;
        Ok(Socket(socket))
    }
}

/// A connection to a session.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Sends a message.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, message: &str) -> Result<()> {
        Ok(self.0.send(Message::text(message)).await?)
    }

    /// The next message of the server; none when it has closed the connection.
    ///
    /// # Errors
    /// The connection is gone, or the message is no JSON.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        while let Some(message) = self.0.next().await {
            match message? {
                Message::Text(text) => return Ok(Some(serde_json::from_str(&text)?)),
                Message::Close(_) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Reads until the server closes the connection; returns the code that says why.
    ///
    /// # Errors
    /// The connection breaks off.
    pub async fn closed(&mut self) -> Result<u16> {
        while let Some(message) = self.0.next().await {
            if let Message::Close(Some(frame)) = message? {
                return Ok(frame.code.into());
            }
        }
        bail!("the connection has ended without a reason")
    }

    /// Sends a ping, or bytes that are no text.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send_raw(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message).await?)
    }

    /// Sends a request; returns the text when it is complete.
    ///
    /// # Errors
    /// The connection is gone, or the server refuses or stops.
    pub async fn generate(&mut self, request: &Value) -> Result<String> {
        self.send(&request.to_string()).await?;
        let mut text = String::new();
        loop {
            let message = self.next().await?.context("the server has closed the connection")?;
            match (message["text"].as_str(), message["done"].as_str()) {
                (Some(piece), _) => text.push_str(piece),
                (_, Some("length")) => return Ok(text),
                _ => bail!("{message}"),
            }
        }
    }
}
