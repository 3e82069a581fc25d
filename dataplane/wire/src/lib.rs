//! Packets as bytes: typed headers, checksums and edits in place. No state, no I/O, no clock, no allocation, no unsafe.
//!
//! Every byte given to this crate comes from a stranger. [`parse_link`] and [`parse_ip`] look at it once and either
//! refuse it with a [`ParseError`] or answer offsets ([`Headers`]) that the edits trust: an edit may only be given the
//! headers that were parsed from the very frame that it changes.
//!
//! Reading order: [`headers`] (what is known about a packet), [`parse`], [`edit`], [`icmp`], [`fragment`], then the
//! small pure tables [`ecn`] and [`mtu`], all on top of [`checksum`].
#![forbid(unsafe_code)]

pub mod checksum;
pub mod ecn;
pub mod edit;
pub mod fragment;
#[doc(hidden)]
pub mod fuzz;
pub mod headers;
pub mod icmp;
pub mod link;
mod mss;
pub mod mtu;
pub mod parse;
pub mod plain;
pub mod steer;
#[cfg(test)]
mod testing;

pub use edit::Rewrite;
pub use headers::{Addresses, Fragment, Headers, L4, ParseError, protocol, tcp_flag};
pub use link::{Link, ethertype, parse_link};
pub use parse::{parse_frame, parse_ip};
