//! What the fast path costs. The benches under `benches/` measure its parts one by one; the binary `journey` measures the very
//! worker that ships, from receive to emit, over ports in memory.
//!
//! Nothing here touches a device or the network.

#![forbid(unsafe_code)]

pub mod clock;
pub mod flows;
pub mod gateway;
pub mod measure;
pub mod random;
pub mod report;
pub mod rules;
pub mod scenarios;
pub mod worlds;
