//! HTTP/1.1 over the control socket.

use crate::failure::Failure;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tombolo_api::Refusal;

/// Longest wait for the head of an answer: applying a configuration waits for every worker.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Largest whole answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A gateway's control socket. Each request uses a connection of its own.
pub(crate) struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// For the socket at this path.
    pub(crate) fn new(socket: PathBuf) -> Result<Client, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::local("runtime", error))?;
        Ok(Client { socket, runtime })
    }

    /// A value of the gateway.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.request(Method::GET, path, Vec::new())
    }

    /// Sends a body and returns the answer.
    pub(crate) fn request<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<T, Failure> {
        let bytes = self.bytes(method, path, body)?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::local(format!("answer to {path}"), error))
    }

    /// A text of the gateway.
    pub(crate) fn text(&self, path: &str) -> Result<String, Failure> {
        let bytes = self.bytes(Method::GET, path, Vec::new())?;
        String::from_utf8(bytes).map_err(|error| Failure::local(format!("answer to {path}"), error))
    }

    /// Calls `begin` once the gateway agreed, then `line` for every line of a stream that is not empty, until the gateway ends
    /// or Ctrl-C.
    pub(crate) fn lines(
        &self,
        path: &str,
        begin: impl FnOnce() -> Result<(), Failure>,
        mut line: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut body = accepted(self.send(Method::GET, path, Vec::new()).await?)
                .await?
                .into_body();
            begin()?;
            let mut waiting = Vec::new();
            let enough = tokio::signal::ctrl_c();
            tokio::pin!(enough);
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    _ = &mut enough => return Ok(()),
                };
                let Some(frame) = frame else { return Ok(()) };
                let frame = frame.map_err(|error| Failure::local("the stream broke off", error))?;
                waiting.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(end) = waiting.iter().position(|&byte| byte == b'\n') {
                    let whole: Vec<u8> = waiting.drain(..=end).collect();
                    if whole != b"\n" {
                        line(&whole)?;
                    }
                }
            }
        })
    }

    fn bytes(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.runtime.block_on(async {
            let response = accepted(self.send(method, path, body).await?).await?;
            collect(response).await
        })
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, Failure> {
        let unreachable = |error| Failure::Unreachable(self.socket.clone(), error);
        let broken = |error: hyper::Error| unreachable(std::io::Error::other(error));
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "tombolo")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::local("request", error))?;
        match tokio::time::timeout(ANSWER_TIME_MAX, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(broken),
            Err(_) => Err(unreachable(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "no answer within 60 s",
            ))),
        }
    }
}

async fn collect(response: Response<Incoming>) -> Result<Vec<u8>, Failure> {
    let limited = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = limited
        .collect()
        .await
        .map_err(|error| Failure::local("the answer broke off", error))?;
    Ok(collected.to_bytes().to_vec())
}

/// Turns every status but 2xx into the refusal that its body holds.
async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = collect(response).await?;
    let unreadable = || Refusal {
        error: format!("tombolod answered {status}"),
        hint: None,
        problems: Vec::new(),
    };
    Err(Failure::Refused(
        serde_json::from_slice(&body).unwrap_or_else(|_| unreadable()),
    ))
}
