//! The kernel's side of the gateway by rtnetlink: links, addresses, routes, rules, neighbours, and news about them.
//!
//! Everything goes through one socket for requests and one for news. What the kernel says is trusted; names of devices come
//! from a checked configuration.

mod address;
mod events;
mod link;
mod neighbour;
mod route;
mod rule;

pub use address::InterfaceAddress;
pub use events::{KernelNews, subscribe};
pub use link::Link;
pub use neighbour::{KernelNeighbour, Reachability};
pub use route::{KernelRoute, RouteKind, RouteTarget};
pub use rule::KernelRule;

use rtnetlink::Handle;
use std::fmt;

/// The kernel refused a request.
#[derive(Debug)]
pub struct NetlinkError {
    /// What was asked for, e.g. `address 10.1.0.1/24 on interface 7`.
    pub request: String,
    /// `errno` of the kernel's answer, 0 when there was no answer.
    pub errno: i32,
    detail: String,
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.detail)
    }
}

impl std::error::Error for NetlinkError {}

/// Requests to the kernel of the network namespace in which the process runs. Must be opened inside a tokio runtime.
#[derive(Clone)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the request socket.
    pub fn open() -> std::io::Result<Netlink> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Netlink { handle })
    }
}

fn errno_of(error: &rtnetlink::Error) -> i32 {
    if let rtnetlink::Error::NetlinkError(message) = error {
        return -message.raw_code();
    }
    0
}

/// Adds what was asked for to an error, and lets pass the errors of `accepted`, which mean that the work is already done.
fn outcome(
    result: Result<(), rtnetlink::Error>,
    accepted: &[i32],
    request: impl Fn() -> String,
) -> Result<(), NetlinkError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if accepted.contains(&errno_of(&error)) => Ok(()),
        Err(error) => Err(failure(request(), &error)),
    }
}

fn failure(request: String, error: &rtnetlink::Error) -> NetlinkError {
    NetlinkError {
        request,
        errno: errno_of(error),
        detail: error.to_string(),
    }
}
