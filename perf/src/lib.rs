//! What the fast path costs. The benches under `benches/` measure its parts one by one; the binary `journey` measures the very
//! worker that ships, from receive to emit, over ports in memory.
//!
//! Only the programs `bare-forward`, `packet-load` and `udp-load` touch devices, those of network namespaces.

#![forbid(unsafe_code)]

pub mod clock;
pub mod device;
pub mod flows;
pub mod gateway;
pub mod growth;
pub mod journeys;
pub mod limit_routes;
pub mod limits;
pub mod measure;
pub mod pin;
pub mod policies;
pub mod random;
pub mod raw_aead;
pub mod report;
pub mod rules;
pub mod scenarios;
pub mod worlds;
