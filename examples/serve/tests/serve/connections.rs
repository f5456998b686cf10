//! Connections: too many, too slow, and those that take nothing.

use crate::process::{Process, temporary};
use crate::running::Running;
use crate::{TEXT, reference, request};
use http_body_util::BodyExt;
use hyper::Method;
use rnn_serve::write_untrained;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For what must come, on a slow machine too.
const LONG: Duration = Duration::from_secs(20);

/// A connection on which something was sent.
async fn sent(address: &str, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// What the server sends until it closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("the end of the connection").unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Whatever part of a request is missing, a client does not keep its connection.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_come_end() {
    let server = Running::start("slow", |options| options.body_seconds = Duration::from_millis(200)).await;
    let session = server.client.open(3).await.unwrap();
    let body = format!(
        "POST /sessions/{session}/generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{{"
    );
    for (begun, answer) in [
        ("", ""),
        ("GET /health HT", ""),
        ("GET /health HTTP/1.1\r\nhost: a\r\nx: ", ""),
        (&body, "HTTP/1.1 408"),
        // Nothing follows a whole request.
        ("GET /health HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200"),
    ] {
        let mut stream = sent(server.client.address(), begun).await;
        let got = rest(&mut stream).await;
        assert!(got.starts_with(answer) && got.is_empty() == answer.is_empty(), "{begun:?}: {got}");
    }
    // One whose bytes come one by one has no more time.
    let mut stream = sent(server.client.address(), "GET / HTTP/1.1\r\n").await;
    let drip = async {
        while stream.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await
        }
    };
    timeout(LONG, drip).await.expect("the end of the connection");
    server.wait_for("serve_connections", 1.0).await;
    server.stop().await;
}

/// What is too much waits, and WebSockets count.
#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_for_a_place() {
    let server = Running::start("places", |options| options.max_connections = 2).await;
    let session = server.client.open(3).await.unwrap();
    let first = server.client.connect(&session).await.unwrap();
    let _second = server.client.connect(&session).await.unwrap();
    let mut third = sent(server.client.address(), "GET /health HTTP/1.0\r\n\r\n").await;
    let mut byte = [0];
    let early = timeout(Duration::from_millis(300), third.read_exact(&mut byte)).await;
    assert!(early.is_err(), "a third connection is served");
    drop(first);
    assert!(rest(&mut third).await.ends_with("ok"));
    server.stop().await;
}

/// A client that asks and asks, and reads no answer, does not keep its connection.
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_clients_that_take_nothing_end() {
    let server = Running::start("takes", |options| options.stall_seconds = Duration::from_millis(100)).await;
    let pages = "GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(4000);
    let mut stream = TcpStream::connect(server.client.address()).await.unwrap();
    // The server reads on only while it can send.
    let asking =
        async { stream.write_all(pages.as_bytes()).await.is_ok() && stream.readable().await.is_ok() };
    timeout(LONG, asking).await.expect("an answer");
    server.wait_for("serve_connections", 1.0).await;
    server.stop().await;
}

/// A text that the time limit has cut is not taken for a whole one, and what was drawn of it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_without_its_end_is_known() {
    let server = Running::start("cut", |options| {
        options.max_length = 1_000_000;
        options.generation_seconds = Duration::from_millis(200);
    })
    .await;
    let session = server.client.open(7).await.unwrap();
    let path = format!("/sessions/{session}/generate");
    let body = request("", 1_000_000).to_string();
    let mut response = server.client.send(Method::POST, &path, &body).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut text = Vec::new();
    let cut = loop {
        match response.frame().await {
            Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(cut, "the text looks whole");
    let drawn = server.metric("serve_symbol_seconds_count").await as usize;
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.chars().count(), drawn);
    assert_eq!(text, reference(&server.model(), 7, "", drawn));
    server.stop().await;
}

/// A process that can open no more files goes on when others have ended.
#[tokio::test(flavor = "multi_thread")]
#[cfg(unix)]
async fn a_server_without_files_recovers() {
    let folder = temporary("files");
    write_untrained(&folder.join("model.safetensors"), TEXT, 24).unwrap();
    let process = Process::start_with_files(40, &folder);
    let client = process.client();
    let mut streams = Vec::new();
    for _ in 0..60 {
        streams.push(sent(client.address(), "GET /health HTTP/1.1\r\n").await);
    }
    let early = timeout(Duration::from_millis(300), client.ask(Method::GET, "/health", "")).await;
    assert!(early.is_err(), "there is a file left");
    drop(streams);
    let answer = timeout(LONG, client.ask(Method::GET, "/health", "")).await.expect("an answer").unwrap();
    assert_eq!(answer.text, "ok");
}

/// Who asks a second time does not wait for a connection that does not end.
#[tokio::test(flavor = "multi_thread")]
#[cfg(unix)]
async fn a_second_request_to_end_is_obeyed_at_once() {
    let folder = temporary("twice");
    write_untrained(&folder.join("model.safetensors"), TEXT, 24).unwrap();
    let mut process = Process::start(&folder, &["--body-seconds", "3600"]);
    let address = process.client().address().to_string();
    let _stream = sent(&address, "POST /sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\n{").await;
    process.client().ask(Method::GET, "/health", "").await.unwrap();
    let start = std::time::Instant::now();
    process.ask_to_end();
    while TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.ask_to_end();
    let ended = tokio::task::spawn_blocking(move || process.ended()).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}
