//! The control socket as a client meets it: mode, bounds, refusals; the gateway behind it is a few canned answers.

#![allow(clippy::wildcard_enum_match_arm)]

#[path = "support/canned_server.rs"]
mod canned_server;

use canned_server::CannedServer;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tombolo_agent::http::{self, Answer, Request};

struct Server(CannedServer);

impl Server {
    fn start(name: &str) -> Server {
        Server(CannedServer::start(name, canned))
    }

    fn socket(&self) -> PathBuf {
        self.0.directory.join("control.sock")
    }

    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(5)))
            .unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn status(&self, request: &str) -> String {
        let reply = self.exchange(request.as_bytes());
        reply.split(' ').nth(1).unwrap_or("none").to_owned()
    }
}

/// Streams that somebody reads.
static CAPTURES: AtomicUsize = AtomicUsize::new(0);

/// One of them.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        CAPTURES.fetch_sub(1, Ordering::SeqCst);
    }
}

fn canned(request: Request) -> Answer {
    match request {
        Request::PutConfig(text) => Answer::json(&text.len()),
        Request::Metrics => Answer::Text("text/plain; version=0.0.4", "tombolo_up 1\n".into()),
        Request::Capture { port, .. } if port == "idle" => {
            CAPTURES.fetch_add(1, Ordering::SeqCst);
            Answer::Lines(Box::pin(futures::stream::unfold(Running, |running| async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((b"\n".to_vec(), running))
            })))
        }
        Request::Capture { count, .. } => {
            let lines = (0..count).map(|n| format!("{{\"n\":{n}}}\n").into_bytes());
            Answer::Lines(Box::pin(futures::stream::iter(lines)))
        }
        Request::Status => Answer::json(&"Status"),
        _ => Answer::refused(hyper::StatusCode::IM_A_TEAPOT, "not in this test", None),
    }
}

#[test]
fn the_socket_has_mode_0660_and_replaces_a_stale_one() {
    let server = Server::start("mode");
    let metadata = std::fs::metadata(server.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert!(!server.0.directory.join("private/control.sock.new").exists());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    http::bind(&server.socket(), &server.0.directory.join("private"), None).unwrap();
}

#[test]
fn requests_are_answered() {
    let server = Server::start("answers");
    let reply = server.exchange(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("content-type: application/json"), "{reply}");
    assert!(reply.ends_with("\"Status\"\n"), "{reply}");
    let reply = server.exchange(b"PUT /v1/config HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\ngateway: a");
    assert!(reply.ends_with("\r\n\r\n10\n"), "{reply}");
    let reply = server.exchange(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(
        reply.contains("text/plain; version=0.0.4") && reply.ends_with("tombolo_up 1\n"),
        "{reply}"
    );
    let reply = server.exchange(b"GET /v1/capture?port=a&count=2 HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(reply.contains("{\"n\":0}") && reply.contains("{\"n\":1}"), "{reply}");
}

#[test]
fn a_stream_ends_when_its_client_goes() {
    let server = Server::start("stream");
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    stream
        .write_all(b"GET /v1/capture?port=idle HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(CAPTURES.load(Ordering::SeqCst), 1);
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(5);
    while CAPTURES.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < deadline, "the stream goes on for nobody");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_no_endpoint_takes_is_refused() {
    let server = Server::start("refusals");
    assert_eq!(server.status("GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n"), "404");
    assert_eq!(server.status("GET / HTTP/1.1\r\nhost: x\r\n\r\n"), "404");
    let reply = server.exchange(b"DELETE /v1/config HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(
        reply.starts_with("HTTP/1.1 405 ") && reply.contains("\r\nallow: GET, PUT\r\n"),
        "{reply}"
    );
    assert_eq!(
        server.status("GET /v1/sessions?limit=many HTTP/1.1\r\nhost: x\r\n\r\n"),
        "400"
    );
    assert_eq!(server.status("GET /v1/status?x=1 HTTP/1.1\r\nhost: x\r\n\r\n"), "400");
    let body = "{\"tunnel\":3}";
    let request = format!(
        "POST /v1/sa/init HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(server.status(&request), "400");
}

#[test]
fn malformed_requests_are_refused_and_the_server_lives_on() {
    let server = Server::start("malformed");
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let headers = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let malformed: [&[u8]; 8] = [
        b"\r\n\r\n\r\n\r\n\r\n",
        b"\0\x01\x02\xff\xfe",
        b"GET\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"PUT /v1/config HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"PUT /v1/config HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        headers.as_bytes(),
    ];
    for request in malformed {
        let reply = server.exchange(request);
        assert!(
            !reply.starts_with("HTTP/1.1 200"),
            "{:?} was answered {reply}",
            &request[..request.len().min(40)]
        );
    }
    assert_eq!(server.status("GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n"), "200");
}

#[test]
fn bodies_are_bounded() {
    let server = Server::start("bodies");
    let bytes = tombolo_api::BODY_BYTES_MAX;
    let request = |bytes: usize| format!("PUT /v1/config HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\r\n");
    assert_eq!(
        server.status(&request(bytes + 1)),
        "413",
        "refused by its declared length, before it is sent"
    );
    let whole = request(bytes) + &"x".repeat(bytes);
    assert_eq!(server.status(&whole), "200");
    let mut chunked = b"PUT /v1/config HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..=(bytes >> 16) {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b'x', 1 << 16));
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let reply = server.exchange(&chunked);
    assert!(!reply.starts_with("HTTP/1.1 200"), "{reply}");
}
