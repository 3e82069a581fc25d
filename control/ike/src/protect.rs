//! Payloads sealed into datagrams and back (RFC 7296 §3.14), in fragments where they would not fit (RFC 7383).

mod open;
mod reassembly;
mod seal;

#[cfg(test)]
mod tests;

pub use open::{OpenError, Opened, open, repeats};
pub use reassembly::{FRAGMENTS_MAX, Reassembly};
pub use seal::{Sealed, message_bytes_max, seal};
