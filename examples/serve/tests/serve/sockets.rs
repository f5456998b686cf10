//! WebSockets: what is asked too early, too large, too often or not at all.

use crate::running::Running;
use crate::{reference, request};
use hyper::Method;
use rnn_serve::client::Client;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const LONG: Duration = Duration::from_secs(20);

/// A request that comes before the text of the last one is complete takes nothing of that text away.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_texts_come_whole() {
    let server = Running::start("early", |_| {}).await;
    let session = server.client.open(5).await.unwrap();
    let mut socket = server.client.connect(&session).await.unwrap();
    let (mut text, mut accepted) = (String::new(), 0);
    for _ in 0..10 {
        // Fewer symbols than may wait for the client: they can all be drawn before the first one is sent.
        for _ in 0..3 {
            socket.send(&request("", 60).to_string()).await.unwrap();
        }
        let mut answered = 0;
        while answered < 3 {
            let message = timeout(LONG, socket.next()).await.expect("an answer").unwrap().unwrap();
            match message["text"].as_str() {
                Some(piece) => text.push_str(piece),
                None if message["done"] == "length" => (answered, accepted) = (answered + 1, accepted + 1),
                None => {
                    assert_eq!(message["status"], 409, "{message}");
                    answered += 1;
                }
            }
        }
    }
    assert!(accepted >= 10);
    assert_eq!(text, reference(&server.model(), 5, "", 60 * accepted));
    server.stop().await;
}

/// A connection of bytes that says it is a WebSocket of the session.
async fn raw(client: &Client, session: &str) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let head = format!(
        "GET /sessions/{session}/socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(stream.read_u8().await.unwrap());
    }
    assert!(got.starts_with(b"HTTP/1.1 101"));
    stream
}

/// The server does not wait for the bytes of a frame that is too long, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_too_long_or_none_close_the_connection() {
    let server = Running::start("frames", |_| {}).await;
    let session = server.client.open(5).await.unwrap();
    let long = [&[0x81, 0xff][..], &(1u64 << 20).to_be_bytes(), &[0; 4]].concat();
    let empty_mask = [0; 4];
    for (frame, code) in [
        (long, 1009),
        // A text of one byte that is no UTF-8; an opcode that does not exist; a frame without a mask.
        ([&[0x81, 0x81][..], &empty_mask, &[0xff]].concat(), 1007),
        ([&[0x83, 0x80][..], &empty_mask].concat(), 1002),
        (vec![0x81, 0x01, b'{'], 1002),
    ] {
        let mut stream = raw(&server.client, &session).await;
        stream.write_all(&frame).await.unwrap();
        let mut close = [0; 4];
        timeout(LONG, stream.read_exact(&mut close)).await.expect("a frame").unwrap();
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, code), "{frame:x?}");
    }
    let mut socket = server.client.connect(&session).await.unwrap();
    socket.send_raw(Message::binary(vec![0; 100])).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap()["status"], 422);
    assert_eq!(socket.generate(&request("", 5)).await.unwrap(), reference(&server.model(), 5, "", 5));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_few_sockets() {
    let server = Running::start("sockets", |_| {}).await;
    let session = server.client.open(5).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(server.client.connect(&session).await.unwrap());
    }
    let refused = server.client.connect(&session).await.map(drop).unwrap_err();
    assert!(format!("{refused:#}").contains("429"), "{refused:#}");
    let other = server.client.open(6).await.unwrap();
    server.client.connect(&other).await.unwrap();
    sockets.pop();
    for _ in 0..2000 {
        if let Ok(socket) = server.client.connect(&session).await {
            sockets.push(socket);
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(sockets.len(), 4, "a place that was left is free");
    server.stop().await;
}

/// A connection on which nothing is asked for ends, whatever else comes on it, and one that generates stays.
#[tokio::test(flavor = "multi_thread")]
async fn idle_sockets_end() {
    let server = Running::start("idle", |options| {
        options.max_length = 1_000_000;
        options.idle_seconds = Duration::from_millis(300);
    })
    .await;
    let names = [server.client.open(1).await.unwrap(), server.client.open(2).await.unwrap()];
    let mut idle = server.client.connect(&names[0]).await.unwrap();
    let mut busy = server.client.connect(&names[1]).await.unwrap();
    busy.send(&request("", 1_000_000).to_string()).await.unwrap();
    let pings = async {
        while idle.send_raw(Message::Ping(Default::default())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, pings).await.expect("the connection ends");
    assert_eq!(idle.closed().await.unwrap(), 1001);
    assert!(busy.next().await.unwrap().unwrap()["text"].is_string());
    busy.send("{\"stop\": true}").await.unwrap();
    assert_eq!(timeout(LONG, busy.closed()).await.expect("the connection ends").unwrap(), 1001);
    // The session has not been closed: that is for the next save.
    assert_eq!(
        server.client.ask(Method::DELETE, &format!("/sessions/{}", names[0]), "").await.unwrap().status,
        204
    );
    server.stop().await;
}

/// The server ends when its connections have been closed on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_sockets() {
    let server = Running::start("farewell", |_| {}).await;
    let session = server.client.open(5).await.unwrap();
    let mut stream = raw(&server.client, &session).await;
    let done = server.ask_to_end();
    let mut close = [0; 4];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1001));
    let mut reason = vec![0; usize::from(close[1]) - 2];
    stream.read_exact(&mut reason).await.unwrap();
    assert_eq!(reason, b"the server is ending");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!done.is_finished(), "the client has not answered yet");
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, close[2], close[3]]).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    done.await.unwrap().unwrap();
}
