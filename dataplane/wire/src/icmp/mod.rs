//! ICMP and ICMPv6 errors: build them, read the packet they quote, translate them inside and out (RFC 5508).

mod build;
mod quoted;
mod translate;

pub use build::{IcmpErrorKind, build_error};
pub use quoted::{quoted, quoted_mtu};
pub use translate::translate_error;

/// Bytes of an ICMP error before the packet that it quotes.
const ERROR_HEADER: usize = 8;

#[cfg(test)]
mod tests;
