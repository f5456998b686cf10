//! The server, by its interface: texts against those of the model itself, refusals, clients that leave, and servers that end.

#[path = "serve/connections.rs"]
mod connections;
#[path = "../../char_lm/model.rs"]
#[allow(dead_code, reason = "only a part is needed")]
mod model;
#[path = "serve/process.rs"]
mod process;
#[path = "serve/running.rs"]
mod running;
#[path = "serve/sockets.rs"]
mod sockets;

use hyper::Method;
use model::CharLm;
use process::{Process, temporary};
use rnn_api::prelude::*;
use rnn_serve::write_untrained;
use running::Running;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

pub(crate) const TEXT: &str = "\n the quick brown fox jumps over the lazy dog. äß€\u{1f98a}";

/// The text that the model continues with: one stream, without slots and batches.
pub(crate) fn reference(path: &Path, seed: u64, prompt: &str, length: usize) -> String {
    let device = Device::cpu();
    let (model, vocabulary) = CharLm::load(path, &device).unwrap();
    model.eval();
    let sampling = Sampling::new().with_temperature(0.8).with_top_k(20);
    let mut next = vocabulary.encode(if prompt.is_empty() { "\n" } else { prompt }).unwrap();
    let (mut state, mut drawn) = (model.start(1).unwrap(), Vec::new());
    for step in 0..length {
        let x = Tensor::from_indices(&device, &next, &[next.len(), 1]).unwrap();
        let (logits, after) = no_grad(|| model.forward(&x, Some(&state))).unwrap();
        let logits = logits.to_vec().unwrap();
        let last = &logits[logits.len() - vocabulary.len()..];
        next = vec![sampling.sample(last, &[], RngKey::new(seed), step as u64).unwrap() as u32];
        drawn.push(next[0]);
        state = after;
    }
    vocabulary.decode(&drawn).unwrap()
}

pub(crate) fn request(prompt: &str, length: usize) -> Value {
    json!({ "prompt": prompt, "length": length, "temperature": 0.8, "top_k": 20 })
}

/// The part of a text from its symbol `start` on.
pub(crate) fn symbols(text: &str, start: usize, length: usize) -> String {
    text.chars().skip(start).take(length).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_those_of_the_model_however_they_come() {
    let server = Running::start("texts", |_| {}).await;
    let tasks: Vec<_> = (0..20u64)
        .map(|seed| {
            let (client, model) = (server.client.clone(), server.model());
            tokio::spawn(async move {
                let prompt = ["", "the ", "fox\u{1f98a}"][seed as usize % 3];
                let want = reference(&model, seed, prompt, 60);
                let session = client.open(seed).await.unwrap();
                // The network goes on where it was, by whichever way it is asked.
                let first = client.generate(&session, &request(prompt, 25)).await.unwrap();
                let mut socket = client.connect(&session).await.unwrap();
                let second = socket.generate(&request("", 1)).await.unwrap();
                let third = socket.generate(&request("", 34)).await.unwrap();
                assert_eq!([first, second, third].concat(), want, "seed {seed}");
                let reset =
                    client.ask(Method::POST, &format!("/sessions/{session}/reset"), "").await.unwrap();
                assert_eq!(reset.status, 204);
                assert_eq!(socket.generate(&request(prompt, 60)).await.unwrap(), want);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.metric("serve_sessions").await, 20.0);
    assert_eq!(server.metric("serve_symbol_seconds_count").await, 20.0 * 120.0);
    assert!(server.metric("serve_batches_total").await < server.metric("serve_steps_total").await);
    assert_eq!(server.metric("serve_requests_total{status=\"201\"}").await, 20.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_refused_and_change_nothing() {
    let server = Running::start("refused", |_| {}).await;
    let session = server.client.open(3).await.unwrap();
    let first = server.client.generate(&session, &request("dog", 10)).await.unwrap();
    let path = format!("/sessions/{session}/generate");
    let long = "a".repeat(5001);
    for (body, status, part) in [
        ("{", 400, "EOF"),
        ("7", 422, "invalid type: integer `7`"),
        ("[]", 422, "invalid type: sequence, expected an object"),
        ("{\"lenght\": 3}", 422, "unknown field `lenght`"),
        ("{\"length\": -1}", 422, "invalid value"),
        ("{\"length\": 0}", 422, "length must be 1 to 5000, got 0"),
        ("{\"length\": 5001}", 422, "length must be 1 to 5000, got 5001"),
        ("{\"temperature\": -1}", 422, "temperature must be"),
        ("{\"top_k\": 0}", 422, "top_k must be"),
        ("{\"top_p\": 1.5}", 422, "top_p must be"),
        ("{\"top_p\": 1e-40}", 422, "the least top_p above 0 is"),
        ("{\"prompt\": \"X\"}", 422, "X"),
        (&format!("{{\"prompt\": \"{long}\"}}"), 422, "at most 5000 characters, got 5001"),
        (&format!("{{\"prompt\": \"{}\"}}", "a".repeat(100_000)), 413, "length limit"),
    ] {
        let answer = server.post(&path, body).await;
        assert_eq!(answer.status, status, "{body:.40}: {answer:?}");
        let value: Value = serde_json::from_str(&answer.text).unwrap();
        assert!(value["error"].as_str().unwrap().contains(part), "{body:.40}: {answer:?}");
    }
    for (method, path, status) in [
        (Method::POST, "/sessions/00/generate", 404),
        (Method::DELETE, "/sessions/..%2f..%2fmodel", 404),
        (Method::POST, "/sessions/00/reset", 404),
        (Method::POST, "/sessions/%ff/reset", 404),
        (Method::GET, "/sessions/00/socket", 404),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/sessions", 405),
    ] {
        let answer = server.client.ask(method, path, "{}").await.unwrap();
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let value: Value = serde_json::from_str(&answer.text).unwrap();
        assert!(value["error"].is_string(), "{path}: {answer:?}");
    }
    assert_eq!(server.post("/sessions", "{\"seed\": \"x\"}").await.status, 422);
    assert_eq!(server.post("/sessions", "[1]").await.status, 422);
    assert_eq!(server.post("/sessions", &"x".repeat(100_000)).await.status, 413);
    let mut socket = server.client.connect(&session).await.unwrap();
    for (message, part) in [
        ("nonsense", "expected"),
        ("{\"lenght\": 3}", "unknown field `lenght`"),
        ("{\"top_p\": 7}", "top_p must be"),
        ("{\"stop\": false}", "stop must be true"),
        ("[true]", "invalid type: sequence, expected an object"),
        ("{\"stop\": true, \"prompt\": \"dog\"}", "unknown field `stop`"),
    ] {
        socket.send(message).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert!(answer["status"] == 422 && answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
    let second = socket.generate(&request("", 10)).await.unwrap();
    assert_eq!(first + &second, reference(&server.model(), 3, "dog", 20));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept_and_other_sessions_go_on() {
    let server = Running::start("limits", |options| {
        options.max_sessions = 3;
        options.max_generations = 1;
        options.max_length = 1_000_000;
    })
    .await;
    let names = [server.client.open(1).await.unwrap(), server.client.open(2).await.unwrap()];
    let third = server.client.open(3).await.unwrap();
    let full = server.post("/sessions", "").await;
    assert_eq!((full.status, full.retry_after.as_deref()), (429, Some("1")));
    assert!(full.text.contains("busy: 3 of at most 3 streams"), "{full:?}");
    let mut socket = server.client.connect(&names[0]).await.unwrap();
    // It goes on until it is stopped.
    socket.send(&request("", 1_000_000).to_string()).await.unwrap();
    let mut text = socket.next().await.unwrap().unwrap()["text"].as_str().unwrap().to_string();
    let of = |name: &str| format!("/sessions/{name}/generate");
    let busy = server.post(&of(&names[1]), &request("", 5).to_string()).await;
    assert_eq!((busy.status, busy.retry_after.as_deref()), (429, Some("1")), "{busy:?}");
    assert_eq!(server.post(&of(&names[0]), &request("", 5).to_string()).await.status, 409);
    assert_eq!(server.post(&format!("/sessions/{}/reset", names[0]), "").await.status, 409);
    // Another session can be closed meanwhile, and its place is free.
    let closed = server.client.ask(Method::DELETE, &format!("/sessions/{third}"), "").await.unwrap();
    assert_eq!(closed.status, 204);
    assert_eq!(
        server.client.ask(Method::DELETE, &format!("/sessions/{third}"), "").await.unwrap().status,
        404
    );
    server.client.open(4).await.unwrap();
    while text.chars().count() < 400 {
        text.push_str(socket.next().await.unwrap().unwrap()["text"].as_str().unwrap());
    }
    socket.send("{\"stop\": true}").await.unwrap();
    server.wait_for("serve_generating", 0.0).await;
    assert_eq!(symbols(&text, 0, 400), reference(&server.model(), 1, "", 400));
    let after = server.client.generate(&names[1], &request("", 5)).await.unwrap();
    assert_eq!(after, reference(&server.model(), 2, "", 5));
    assert!(server.metric("serve_refused_total").await >= 2.0);
    server.stop().await;
}

/// The symbols of a client that left are not lost to the session: it goes on behind what was drawn.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_end_their_generation_only() {
    let server = Running::start("leave", |options| options.max_length = 1_000_000).await;
    let want = reference(&server.model(), 7, "", 1200);
    let session = server.client.open(7).await.unwrap();
    let mut socket = server.client.connect(&session).await.unwrap();
    socket.send(&request("", 1_000_000).to_string()).await.unwrap();
    for _ in 0..10 {
        socket.next().await.unwrap().unwrap();
    }
    drop(socket);
    server.wait_for("serve_generating", 0.0).await;
    assert!(server.metric("serve_disconnected_total").await >= 1.0);
    let drawn = server.metric("serve_symbol_seconds_count").await as usize;
    assert!((10..1_000_000).contains(&drawn), "{drawn}");
    let mut socket = server.client.connect(&session).await.unwrap();
    // One that stops and stays.
    socket.send(&request("", 1_000_000).to_string()).await.unwrap();
    let mut text = String::new();
    loop {
        let message = socket.next().await.unwrap().unwrap();
        match message["text"].as_str() {
            Some(piece) => text.push_str(piece),
            None => {
                assert_eq!(message["done"], "stopped");
                break;
            }
        }
        if text.chars().count() == 20 {
            socket.send("{\"stop\": true}").await.unwrap();
        }
    }
    let count = text.chars().count();
    let known = |text: &str, start: usize| {
        let have = want.chars().count().saturating_sub(start).min(text.chars().count());
        assert_eq!(symbols(text, 0, have), symbols(&want, start, have), "from {start}");
    };
    known(&text, drawn);
    server.wait_for("serve_generating", 0.0).await;
    let all = server.metric("serve_symbol_seconds_count").await as usize;
    assert!(all >= drawn + count);
    known(&socket.generate(&request("", 5)).await.unwrap(), all);
    assert_eq!(server.metric("serve_disconnected_total").await, 1.0, "only one has left");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_generations_and_idle_sessions_end() {
    let server = Running::start("time", |options| {
        options.max_length = 1_000_000;
        options.generation_seconds = Duration::from_millis(200);
        options.idle_seconds = Duration::from_millis(600);
        options.save_seconds = Duration::from_millis(100);
    })
    .await;
    let session = server.client.open(7).await.unwrap();
    let mut socket = server.client.connect(&session).await.unwrap();
    socket.send(&request("", 1_000_000).to_string()).await.unwrap();
    let done = loop {
        let message = socket.next().await.unwrap().unwrap();
        if message["text"].is_null() {
            break message;
        }
    };
    assert_eq!(done["done"], "time");
    server.wait_for("serve_sessions", 0.0).await;
    server.wait_for("serve_expired_total", 1.0).await;
    assert_eq!(server.post(&format!("/sessions/{session}/generate"), "{}").await.status, 404);
    assert!(std::fs::read_dir(server.folder.join("sessions")).unwrap().next().is_none(), "no file is left");
    server.stop().await;
}

/// A graceful end saves all sessions; sessions of another model and damaged files are left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_goes_on_with_the_sessions() {
    let server = Running::start("restart", |_| {}).await;
    let model = server.model();
    let mut sessions = Vec::new();
    for seed in 0..5 {
        let session = server.client.open(seed).await.unwrap();
        let text = server.client.generate(&session, &request("fox ", 10 + seed as usize)).await.unwrap();
        sessions.push((seed, session, text));
    }
    // One that nobody has used yet.
    sessions.push((5, server.client.open(5).await.unwrap(), String::new()));
    let folder = server.folder.join("sessions");
    server.stop().await;
    std::fs::write(folder.join("ff.session"), "{}").unwrap();
    std::fs::write(folder.join("fe.session.new"), "half").unwrap();
    // Fewer workers: a session belongs to no thread.
    let again = Running::start("restart", |options| options.workers = Some(1)).await;
    assert_eq!(
        [again.metric("serve_restored_total").await, again.metric("serve_sessions").await],
        [6.0, 6.0]
    );
    for (seed, session, text) in sessions {
        let (prompt, drawn) = if text.is_empty() { ("fox ", 0) } else { ("", 10 + seed as usize) };
        let more = again.client.generate(&session, &request(prompt, 12)).await.unwrap();
        assert_eq!(text + &more, reference(&model, seed, "fox ", drawn + 12));
    }
    again.stop().await;
    write_untrained(&model, &format!("{TEXT}XY"), 24).unwrap();
    let other = Running::start("restart", |_| {}).await;
    assert_eq!(other.metric("serve_sessions").await, 0.0);
    other.stop().await;
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 8, "nothing was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_servers_go_on_from_the_last_save() {
    let folder = temporary("killed");
    let model = folder.join("model.safetensors");
    write_untrained(&model, TEXT, 24).unwrap();
    let mut process = Process::start(&folder, &["--save-seconds", "0.3"]);
    let client = process.client();
    let mut sessions = Vec::new();
    for seed in 0..8 {
        sessions.push(client.open(seed).await.unwrap());
        client.generate(&sessions[seed as usize], &request("the ", 30)).await.unwrap();
    }
    for session in &sessions {
        process::wait_until_saved(&folder, session, 30).await;
    }
    // Texts are being written when it is killed.
    let tasks: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (client, session) = (client.clone(), session.clone());
            tokio::spawn(async move {
                let mut socket = client.connect(&session).await.unwrap();
                socket.generate(&request("", 100_000)).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    process.kill();
    for task in tasks {
        assert!(task.await.unwrap().is_err(), "the client learns of it");
    }
    let process = Process::start(&folder, &["--save-seconds", "3600"]);
    let client = process.client();
    for (seed, session) in sessions.iter().enumerate() {
        let drawn = process::drawn(&folder, session);
        assert!(drawn >= 30, "{drawn}");
        let text = client.generate(session, &request("", 20)).await.unwrap();
        let want = reference(&model, seed as u64, "the ", drawn + 20);
        assert_eq!(text, symbols(&want, drawn, 20), "session {seed} from {drawn}");
    }
}

/// The system asks the process to end while texts are being written: every session is saved behind what its client has
/// read, and every client is told.
#[tokio::test(flavor = "multi_thread")]
#[cfg(unix)]
async fn a_server_that_is_asked_to_end_saves_everything() {
    let folder = temporary("asked");
    let model = folder.join("model.safetensors");
    write_untrained(&model, TEXT, 24).unwrap();
    let mut process = Process::start(&folder, &["--save-seconds", "3600"]);
    let client = process.client();
    let mut sockets = Vec::new();
    for seed in 0..12 {
        let session = client.open(seed).await.unwrap();
        let mut socket = client.connect(&session).await.unwrap();
        socket.send(&request("", 100_000).to_string()).await.unwrap();
        socket.next().await.unwrap().unwrap();
        // Each session has a connection that asks for nothing, too.
        let other = client.connect(&session).await.unwrap();
        sockets.push((session, socket, other));
    }
    process.ask_to_end();
    let mut read = Vec::new();
    for (session, mut socket, mut other) in sockets {
        let mut count = 1;
        let done = loop {
            let message = socket.next().await.unwrap().expect("the text has an end");
            if message["text"].is_null() {
                break message;
            }
            count += 1;
        };
        assert_eq!(done["done"], "stopped");
        assert_eq!([socket.closed().await.unwrap(), other.closed().await.unwrap()], [1001; 2]);
        read.push((session, count));
    }
    assert!(process.ended().success());
    let process = Process::start(&folder, &[]);
    let client = process.client();
    for (seed, (session, count)) in read.into_iter().enumerate() {
        let drawn = process::drawn(&folder, &session);
        assert!(drawn >= count, "{drawn} symbols saved, {count} read");
        let text = client.generate(&session, &request("", 20)).await.unwrap();
        let want = reference(&model, seed as u64, "", drawn + 20);
        assert_eq!(text, symbols(&want, drawn, 20), "session {seed} from {drawn}");
    }
}
