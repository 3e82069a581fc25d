//! IKEv2 without I/O: initiator and responder (RFC 7296).
//!
//! Nothing here opens a socket, reads a clock or a file, or draws a random number by itself. Datagrams, time and randomness come
//! in as arguments; datagrams, security associations and news come out. The peer is untrusted in every byte until its AUTH
//! payload was verified, and after that still for what it asks.

#![forbid(unsafe_code)]

pub mod auth;
pub mod connection;
pub mod crypto;
pub mod endpoint;
pub mod failure;
pub mod fuzz;
pub mod identity;
pub mod now;
pub mod proposal;
pub mod protect;
pub mod random;
mod sa;
pub mod secret;
pub mod selector;
pub mod selectors;
pub mod transform;
pub mod wire;

pub use sa::SaId;
pub use sa::child::{ChildSa, Half, Workers};
pub use sa::nat::Nat;
pub use sa::step::{News, Transmit, What};
