//! The control socket: HTTP/1.1 and JSON over a UNIX socket, so that `curl --unix-socket` works.
//!
//! Untrusted until checked: the peer (by its credentials), sizes, times, paths and bodies. What passes becomes a
//! [`Request`] in the gateway's queue; this module decides nothing about the gateway.

mod answer;
pub mod fuzz;
mod listen;
mod peer;
mod request;
mod serve;

pub use answer::Answer;
pub use listen::bind;
pub use peer::Admission;
pub use request::Request;
pub use serve::serve;

use tokio::sync::{mpsc, oneshot};

/// A request and where its answer goes.
pub type Question = (Request, oneshot::Sender<Answer>);

/// The gateway's queue.
pub type Questions = mpsc::Sender<Question>;
