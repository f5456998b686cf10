//! Connections: accepted up to a limit, served, and ended when they are idle, too slow, or the server ends.

use crate::http;
use crate::session::{Stage, ended};
use crate::sessions::Sessions;
use crate::taken::Taken;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of a connection that wait to be parsed or sent; a head must fit.
const BUFFER: usize = 64 << 10;

/// How long no connection is accepted after the system could not do it.
const PAUSE: Duration = Duration::from_millis(500);

/// A place for a connection. A WebSocket keeps the one of the connection that it was.
pub(crate) struct Place {
    stage: Arc<Stage>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(stage: Arc<Stage>, permit: OwnedSemaphorePermit) -> Arc<Self> {
        stage.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Arc::new(Place { stage, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stage.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections until the server ends. With as many as may be open, others wait in the queue of the system.
pub(crate) async fn accept(listener: TcpListener, sessions: Arc<Sessions>) {
    let stage = sessions.stage.clone();
    let router = TowerToHyperService::new(http::routes(sessions));
    let builder = builder(&stage);
    let mut ending = stage.ending.subscribe();
    loop {
        let next = async {
            let permit = stage.connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = ended(&mut ending) => return,
        };
        // Nobody closes the semaphore.
        let Ok(permit) = permit else { return };
        match accepted {
            Ok((stream, _)) => {
                let place = Place::new(stage.clone(), permit);
                tokio::spawn(serve(stream, place, builder.clone(), router.clone()));
            }
            // This client has gone already.
            Err(error) if of_client(&error) => {}
            // There are too many open files, or there is no memory: others must end first.
            Err(error) => {
                eprintln!("no connection can be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn of_client(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn builder(stage: &Stage) -> Builder {
    let mut builder = Builder::new();
    // The time until a head has come includes the time in which none was begun.
    builder.timer(TokioTimer::new()).header_read_timeout(stage.options.body_seconds).max_buf_size(BUFFER);
    builder
}

/// Serves one connection until one side ends it.
async fn serve(stream: TcpStream, place: Arc<Place>, builder: Builder, router: TowerToHyperService<Router>) {
    let stage = place.stage.clone();
    // Symbols are small, and each is to be sent at once. Where this fails, the client is gone.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // A generation ends first, as one that stalled.
    let stream = Taken::new(stream, 2 * stage.options.stall_seconds);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        router.call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut ending = stage.ending.subscribe();
    // Errors are those of clients: they leave, are slow, or do not speak HTTP.
    let _served_or_not = tokio::select! {
        served = connection.as_mut() => served,
        () = ended(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
