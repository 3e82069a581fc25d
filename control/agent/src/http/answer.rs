//! What goes back to the client.

use futures::stream::{BoxStream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use std::convert::Infallible;
use tombolo_api::Refusal;

/// Body of a response: whole, or a stream of lines.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The answer to a request.
pub enum Answer {
    /// 200 with JSON.
    Json(Vec<u8>),
    /// 200 with text of the given media type.
    Text(&'static str, String),
    /// 200 with lines that come as they are made, until the client has enough.
    Lines(BoxStream<'static, Vec<u8>>),
    /// The status, and what is wrong.
    Refused(StatusCode, Refusal),
}

impl Answer {
    /// 200 with `value`.
    pub fn json(value: &impl Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(mut bytes) => {
                bytes.push(b'\n');
                Answer::Json(bytes)
            }
            Err(error) => Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), None),
        }
    }

    /// A refusal without places in a file.
    pub fn refused(status: StatusCode, error: impl Into<String>, hint: Option<&str>) -> Answer {
        Answer::Refused(
            status,
            Refusal {
                error: error.into(),
                hint: hint.map(String::from),
                problems: Vec::new(),
            },
        )
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let (status, media_type, body) = match self {
            Answer::Json(bytes) => (StatusCode::OK, "application/json", full(bytes)),
            Answer::Text(media_type, text) => (StatusCode::OK, media_type, full(text.into_bytes())),
            Answer::Lines(lines) => (StatusCode::OK, "application/x-ndjson", stream(lines)),
            Answer::Refused(status, refusal) => {
                let bytes = serde_json::to_vec(&refusal).unwrap_or_default();
                (status, "application/json", full(bytes))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
        response
    }
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).boxed_unsync()
}

fn stream(lines: BoxStream<'static, Vec<u8>>) -> Body {
    StreamBody::new(lines.map(|line| Ok(Frame::data(Bytes::from(line))))).boxed_unsync()
}
