use super::*;
use crate::session::tests::options;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longer than anything here takes, and shorter than the deadlines of a real server.
const SHORT: Duration = Duration::from_millis(300);

/// A server that has a session, and the session's name.
async fn server(test: &str, deadlines: Deadlines) -> (Server, String) {
    let mut server = Server::start(options(test)).await.unwrap();
    server.deadlines = deadlines;
    let name = server.sessions.open(Some(1)).await.unwrap().name.clone();
    (server, name)
}

fn file(folder: &Path, name: &str) -> bool {
    folder.join(format!("{name}.session")).exists()
}

/// A file that takes no byte until someone reads it, as a disk that does not answer.
#[tokio::test]
async fn a_disk_that_does_not_answer_ends_the_last_save_at_its_deadline() {
    let (server, name) = server("disk", Deadlines { save: SHORT, ..Deadlines::default() }).await;
    let folder = server.sessions.stage.options.sessions.clone();
    let stuck = folder.join(format!("{name}.new"));
    assert!(Command::new("mkfifo").arg(&stuck).status().unwrap().success());
    let start = Instant::now();
    let ended = timeout(Deadlines::default().save / 2, server.run(async {})).await;
    let error = ended.expect("it does not wait for the disk").unwrap_err();
    assert!(format!("{error:#}").contains("sessions are not saved after 300ms"), "{error:#}");
    assert!(start.elapsed() >= SHORT && !file(&folder, &name));
    // The thread that writes ends now, and with it the test.
    drop(File::open(&stuck).unwrap());
    fs::remove_dir_all(folder).unwrap();
}

/// A client whose request never ends keeps neither the server nor the sessions.
#[tokio::test]
async fn a_connection_that_does_not_end_keeps_no_session_from_being_saved() {
    let (server, name) = server("connection", Deadlines { grace: SHORT, ..Deadlines::default() }).await;
    let folder = server.sessions.stage.options.sessions.clone();
    let client = TcpStream::connect(server.address().unwrap()).await.unwrap();
    let (mut answers, mut request) = client.into_split();
    let head = "POST /sessions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\
                Expect: 100-continue\r\n\r\n";
    request.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the rest when the request is under way.
    let asked = async move {
        let mut answer = [0; 12];
        answers.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100");
    };
    let start = Instant::now();
    let ended = timeout(Duration::from_secs(5), server.run(asked)).await;
    ended.expect("it does not wait for the client").unwrap();
    assert!(start.elapsed() >= SHORT && file(&folder, &name));
    drop(request);
    fs::remove_dir_all(folder).unwrap();
}
