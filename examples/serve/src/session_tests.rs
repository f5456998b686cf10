use super::*;
use crate::engine::write_untrained;
use axum::http::StatusCode;
use std::time::Duration;

/// A stage and a session, with a model of a few units.
async fn stage(test: &str) -> (Arc<Stage>, Arc<Session>) {
    stage_with(test, |_| {}).await
}

pub(crate) async fn stage_with(test: &str, change: impl FnOnce(&mut Options)) -> (Arc<Stage>, Arc<Session>) {
    let mut options = options(test);
    change(&mut options);
    let engine = Engine::start(&options).unwrap();
    std::fs::remove_dir_all(&options.sessions).unwrap();
    let stream = engine.batcher.open().unwrap().await.unwrap();
    (Arc::new(Stage::new(engine, options)), Session::new("a".into(), stream, 1, Progress::default()))
}

/// Options with a folder of this test, in which there is a model of a few units.
pub(crate) fn options(test: &str) -> Options {
    let folder = std::env::temp_dir().join(format!("rnn-serve-session-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let model = folder.join("model.safetensors");
    write_untrained(&model, "\nabc", 8).unwrap();
    Options {
        model,
        sessions: folder,
        listen: "127.0.0.1:0".parse().unwrap(),
        workers: Some(1),
        max_connections: 4,
        max_sessions: 4,
        max_generations: 4,
        max_batch: 4,
        max_length: 1000,
        save_seconds: Duration::from_secs(60),
        idle_seconds: Duration::from_secs(60),
        generation_seconds: Duration::from_secs(60),
        stall_seconds: Duration::from_millis(100),
        body_seconds: Duration::from_secs(10),
    }
}

fn request(length: usize) -> Generate {
    serde_json::from_value(serde_json::json!({ "length": length })).unwrap()
}

/// A client that takes nothing for too long loses its generation, not its session, and holds nothing.
#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_generation() {
    let (stage, session) = stage("stall").await;
    let (out, mut pieces) = mpsc::channel(3);
    let generation = stage.admit(&session, &request(50)).unwrap();
    stage.generate(generation, out).await;
    assert_eq!(stage.metrics.stalled.load(Ordering::Relaxed), 1);
    assert_eq!(session.progress.lock().await.drawn, 4, "three that wait and one that was refused");
    let mut count = 0;
    while let Some(Piece::Text(_)) = pieces.recv().await {
        count += 1;
    }
    assert_eq!(count, 3);
    assert_eq!([stage.places.available_permits(), session.turn.available_permits()], [4, 1]);
    let (out, mut pieces) = mpsc::channel(60);
    let generation = stage.admit(&session, &request(50)).unwrap();
    stage.generate(generation, out).await;
    let mut last = None;
    while let Some(piece) = pieces.recv().await {
        last = Some(piece);
    }
    assert!(matches!(last, Some(Piece::Done("length"))), "{last:?}");
    assert_eq!(session.progress.lock().await.drawn, 54);
}

/// A session that is closed while it generates ends with an error, and nothing reads its stream any more.
#[tokio::test]
async fn what_is_closed_or_ending_generates_no_more() {
    let (stage, session) = stage("closed").await;
    let (out, mut pieces) = mpsc::channel(3);
    let generation = stage.admit(&session, &request(50)).unwrap();
    session.progress.lock().await.closed = true;
    stage.generate(generation, out).await;
    let first = pieces.recv().await;
    assert!(matches!(&first, Some(Piece::Failed(refused)) if refused.status == 404), "{first:?}");
    stage.ending.send_replace(true);
    let refused = stage.admit(&session, &request(5)).map(drop).unwrap_err();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    stage.engine.batcher.finish().unwrap();
    let late = stage.engine.batcher.submit(session.stream, Input { symbol: 0, draw: None });
    assert_eq!(Refused::from(late.unwrap_err()).status, StatusCode::SERVICE_UNAVAILABLE);
}

/// A client that says stop has not gone away.
#[tokio::test]
async fn a_client_that_stops_is_not_counted_as_gone() {
    let (stage, session) = stage("stop").await;
    for (stop, gone) in [(true, 0), (false, 1)] {
        let (out, mut pieces) = mpsc::channel(3);
        let generation = stage.admit(&session, &request(50)).unwrap();
        if stop {
            generation.stop.store(true, Ordering::Relaxed);
        } else {
            pieces.close();
        }
        stage.generate(generation, out).await;
        assert_eq!(matches!(pieces.recv().await, Some(Piece::Done("stopped"))), stop);
        assert_eq!(stage.metrics.disconnected.load(Ordering::Relaxed), gone);
    }
    assert_eq!(session.progress.lock().await.drawn, 0);
}

/// Threads that draw take subnormal numbers as 0: what passes the check here must pass it there.
#[tokio::test]
async fn settings_that_become_zero_where_they_are_used_are_refused() {
    let (stage, session) = stage("subnormal").await;
    for name in ["temperature", "top_p", "min_p"] {
        let ask = |value: f64| {
            let request = serde_json::from_value(serde_json::json!({ "length": 1, name: value })).unwrap();
            stage.admit(&session, &request)
        };
        let refused = ask(1e-40).map(drop).unwrap_err();
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.message.contains(name) && refused.message.contains("1e-40"), "{}", refused.message);
        let (out, mut pieces) = mpsc::channel(3);
        stage.generate(ask(1.2e-38).unwrap(), out).await;
        let first = pieces.recv().await;
        assert!(matches!(&first, Some(Piece::Text(_))), "{name}: {first:?}");
    }
}
