//! Connections: who may connect, how many, how long, how much.

use super::answer::Body;
use super::{Admission, Answer, Questions, Request, request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tombolo_api::BODY_BYTES_MAX;

/// Connections served at once; more wait in the socket's backlog.
const CONNECTIONS_MAX: usize = 32;
/// Time in which a client sends the head of its request, and then again the body.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Serves the control socket until the future is dropped.
pub async fn serve(listener: UnixListener, admission: Admission, questions: Questions) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) if admission.admits(&stream).unwrap_or(false) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    connection(stream, questions).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("control socket: a connection of another user was refused"),
            Err(error) => {
                // No descriptor is free: waiting is better than turning in circles.
                tracing::warn!(%error, "control socket: accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

pub(super) async fn connection(stream: UnixStream, questions: Questions) {
    let service = service_fn(move |incoming| respond(incoming, questions.clone()));
    let result = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // A client that closes its sending side after the request still waits for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "control socket: connection");
    }
}

async fn respond(incoming: hyper::Request<Incoming>, questions: Questions) -> Result<Response<Body>, Infallible> {
    let path = incoming.uri().path().to_owned();
    let answer = match read(incoming).await {
        Ok(request) => ask(request, &questions).await,
        Err(answer) => answer,
    };
    let unread = matches!(
        &answer,
        Answer::Refused(StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT, _)
    );
    let wrong_method = matches!(&answer, Answer::Refused(StatusCode::METHOD_NOT_ALLOWED, _));
    let mut response = answer.into_response();
    if wrong_method && let Some(value) = request::allowed(&path).and_then(|allowed| allowed.parse().ok()) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    if unread {
        response
            .headers_mut()
            .insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn read(incoming: hyper::Request<Incoming>) -> Result<Request, Answer> {
    let (head, body) = incoming.into_parts();
    request::admit(&head.method, head.uri.path())?;
    let declared = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(READ_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect())
        .await
        .map_err(|_| Answer::refused(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time", None))?;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes().to_vec(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
        Err(error) => return Err(Answer::refused(StatusCode::BAD_REQUEST, format!("body: {error}"), None)),
    };
    Request::parse(&head.method, head.uri.path(), head.uri.query().unwrap_or(""), bytes)
}

fn too_large() -> Answer {
    Answer::refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {BODY_BYTES_MAX} bytes"),
        None,
    )
}

async fn ask(request: Request, questions: &Questions) -> Answer {
    let (sender, receiver) = oneshot::channel();
    let gone = || Answer::refused(StatusCode::SERVICE_UNAVAILABLE, "tombolod is stopping", None);
    if questions.send((request, sender)).await.is_err() {
        return gone();
    }
    receiver.await.unwrap_or_else(|_| gone())
}
