//! From method, path, query and body to a [`Request`]: the whole list of what can be asked.

use super::Answer;
use hyper::{Method, StatusCode};
use tombolo_api::{SaInit, TunnelOrder, path};

/// Sessions in an answer when the client does not say how many.
const SESSIONS_DEFAULT: usize = 100;
/// Most sessions in an answer.
const SESSIONS_MAX: usize = 100_000;
/// Packets of a capture when the client does not say how many.
const CAPTURE_DEFAULT: u64 = u64::MAX;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The gateway in one view.
    Status,
    /// The configuration's text.
    Config,
    /// Make this text the configuration.
    PutConfig(String),
    /// Would this text do?
    CheckConfig(String),
    /// Ports.
    Ports,
    /// Segments.
    Segments,
    /// Routes.
    Routes,
    /// Policy rules.
    Policy,
    /// NAT rules and pools.
    Nat,
    /// At most so many sessions.
    Sessions(usize),
    /// Tunnels.
    Tunnels,
    /// Bundles of tunnels.
    Bundles,
    /// Neighbours.
    Neighbours,
    /// Counters of all ports.
    Counters,
    /// Drops by port and reason.
    Drops,
    /// What IKE counted.
    Ike,
    /// What is published.
    Generation,
    /// Packets of a port as they pass.
    Capture {
        /// The port's name.
        port: String,
        /// Stop after so many.
        count: u64,
    },
    /// Accept a new key.
    SaInit(String),
    /// Take a tunnel up or down, or rekey it.
    Tunnel(TunnelOrder),
    /// Prometheus text.
    Metrics,
}

/// The path's methods, or none when the path is unknown.
fn methods(path: &str) -> Option<&'static [Method]> {
    match path {
        path::STATUS | path::PORTS | path::SEGMENTS | path::ROUTES | path::POLICY | path::NAT | path::SESSIONS => {
            Some(&[Method::GET])
        }
        path::TUNNELS | path::NEIGHBOURS | path::COUNTERS | path::DROPS | path::GENERATION | path::CAPTURE => {
            Some(&[Method::GET])
        }
        path::BUNDLES | path::IKE | path::METRICS => Some(&[Method::GET]),
        path::CONFIG => Some(&[Method::GET, Method::PUT]),
        path::CONFIG_CHECK | path::SA_INIT | path::TUNNEL => Some(&[Method::POST]),
        _ => None,
    }
}

/// The path's methods as an `Allow` header names them (RFC 9110 §15.5.6); none when the path is unknown.
pub(super) fn allowed(path: &str) -> Option<String> {
    let names = methods(path)?.iter().map(Method::as_str);
    Some(names.collect::<Vec<_>>().join(", "))
}

/// Refuses what no endpoint takes, before a body is read.
pub(super) fn admit(method: &Method, path: &str) -> Result<(), Answer> {
    let Some(methods) = methods(path) else {
        return Err(Answer::refused(
            StatusCode::NOT_FOUND,
            format!("no such path: {path}"),
            Some(&format!("there are {}", path::ALL.join(" "))),
        ));
    };
    if methods.contains(method) {
        return Ok(());
    }
    let hint = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(" or ");
    let error = format!("{path} does not take {method}");
    Err(Answer::refused(
        StatusCode::METHOD_NOT_ALLOWED,
        error,
        Some(&format!("use {hint}")),
    ))
}

impl Request {
    /// Parses an admitted request.
    pub(super) fn parse(method: &Method, path: &str, query: &str, body: Vec<u8>) -> Result<Request, Answer> {
        admit(method, path)?;
        let parameters = match path {
            path::SESSIONS => Parameters::parse(query, &["limit"])?,
            path::CAPTURE => Parameters::parse(query, &["port", "count"])?,
            _ => Parameters::parse(query, &[])?,
        };
        Ok(match path {
            path::CONFIG if method == Method::PUT => Request::PutConfig(text(body)?),
            path::CONFIG => Request::Config,
            path::CONFIG_CHECK => Request::CheckConfig(text(body)?),
            path::SA_INIT => Request::SaInit(sa_init(&body)?),
            path::TUNNEL => Request::Tunnel(tunnel(&body)?),
            path::STATUS => Request::Status,
            path::PORTS => Request::Ports,
            path::SEGMENTS => Request::Segments,
            path::ROUTES => Request::Routes,
            path::POLICY => Request::Policy,
            path::NAT => Request::Nat,
            path::SESSIONS => {
                let limit = parameters.number("limit")?.unwrap_or(SESSIONS_DEFAULT as u64);
                Request::Sessions(usize::try_from(limit).unwrap_or(SESSIONS_MAX).min(SESSIONS_MAX))
            }
            path::TUNNELS => Request::Tunnels,
            path::BUNDLES => Request::Bundles,
            path::NEIGHBOURS => Request::Neighbours,
            path::COUNTERS => Request::Counters,
            path::DROPS => Request::Drops,
            path::IKE => Request::Ike,
            path::GENERATION => Request::Generation,
            path::CAPTURE => Request::Capture {
                port: parameters
                    .text("port")
                    .ok_or_else(|| bad("capture needs port=NAME"))?
                    .to_owned(),
                count: parameters.number("count")?.unwrap_or(CAPTURE_DEFAULT),
            },
            path::METRICS => Request::Metrics,
            unknown => {
                return Err(Answer::refused(
                    StatusCode::NOT_FOUND,
                    format!("no such path: {unknown}"),
                    None,
                ));
            }
        })
    }
}

fn bad(error: impl Into<String>) -> Answer {
    Answer::refused(StatusCode::BAD_REQUEST, error, None)
}

fn text(body: Vec<u8>) -> Result<String, Answer> {
    String::from_utf8(body).map_err(|_| bad("the body is not UTF-8"))
}

fn sa_init(body: &[u8]) -> Result<String, Answer> {
    let request: SaInit = serde_json::from_slice(body).map_err(|error| bad(format!("body: {error}")))?;
    Ok(request.tunnel)
}

fn tunnel(body: &[u8]) -> Result<TunnelOrder, Answer> {
    serde_json::from_slice(body).map_err(|error| bad(format!("body: {error}")))
}

/// The query's parameters. Names of ports need no percent-encoding, so none is decoded.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    fn parse(query: &'a str, known: &[&str]) -> Result<Parameters<'a>, Answer> {
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| bad(format!("query: {pair} has no value")))?;
            if !known.contains(&name) {
                return Err(bad(format!("query: unknown parameter {name}")));
            }
            pairs.push((name, value));
        }
        Ok(Parameters(pairs))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Answer> {
        let parse = |value: &str| value.parse().map_err(|_| bad(format!("query: {name} is not a number")));
        self.text(name).map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, query: &str) -> Result<Request, StatusCode> {
        Request::parse(&Method::GET, path, query, Vec::new()).map_err(status)
    }

    fn status(answer: Answer) -> StatusCode {
        if let Answer::Refused(status, _) = answer {
            status
        } else {
            StatusCode::OK
        }
    }

    #[test]
    fn every_path_has_a_request() {
        for path in [
            path::STATUS,
            path::CONFIG,
            path::PORTS,
            path::SEGMENTS,
            path::ROUTES,
            path::POLICY,
            path::NAT,
        ] {
            get(path, "").unwrap();
        }
        for path in [
            path::SESSIONS,
            path::TUNNELS,
            path::BUNDLES,
            path::NEIGHBOURS,
            path::COUNTERS,
            path::DROPS,
            path::IKE,
            path::GENERATION,
        ] {
            get(path, "").unwrap();
        }
        assert_eq!(get(path::METRICS, ""), Ok(Request::Metrics));
    }

    #[test]
    fn the_list_of_paths_is_whole() {
        for path in path::ALL {
            assert!(allowed(path).is_some(), "{path}");
        }
        assert_eq!(allowed(path::CONFIG).as_deref(), Some("GET, PUT"));
        assert_eq!(allowed("/v1/nothing"), None);
    }

    #[test]
    fn queries_are_checked() {
        assert_eq!(get(path::SESSIONS, "limit=7"), Ok(Request::Sessions(7)));
        assert_eq!(
            get(path::SESSIONS, "limit=99999999999"),
            Ok(Request::Sessions(SESSIONS_MAX))
        );
        assert_eq!(get(path::SESSIONS, "limit=x"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(get(path::SESSIONS, "limit"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(get(path::STATUS, "limit=7"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(get(path::CAPTURE, ""), Err(StatusCode::BAD_REQUEST));
        let capture = Request::Capture {
            port: "uplink".into(),
            count: 3,
        };
        assert_eq!(get(path::CAPTURE, "port=uplink&count=3"), Ok(capture));
    }

    #[test]
    fn methods_and_paths_are_checked() {
        assert_eq!(get("/v1/nothing", ""), Err(StatusCode::NOT_FOUND));
        assert_eq!(get(path::SA_INIT, ""), Err(StatusCode::METHOD_NOT_ALLOWED));
        let put = |body: &[u8]| Request::parse(&Method::PUT, path::CONFIG, "", body.to_vec()).map_err(status);
        assert_eq!(put(b"gateway: a"), Ok(Request::PutConfig("gateway: a".into())));
        assert_eq!(put(&[0xff]), Err(StatusCode::BAD_REQUEST));
        let init = |body: &[u8]| Request::parse(&Method::POST, path::SA_INIT, "", body.to_vec()).map_err(status);
        assert_eq!(init(br#"{"tunnel":"a"}"#), Ok(Request::SaInit("a".into())));
        assert_eq!(init(br#"{"tunnel":"a","key":"b"}"#), Err(StatusCode::BAD_REQUEST));
    }
}
