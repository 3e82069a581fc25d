//! What `tombolod` does for IKE: sockets, secrets of tunnels, clocks, names; and what the child SAs are for the planner. The gateway
//! (`crate::gateway`) brings them together: commit, publish, send, in this order.

pub mod children;
pub mod clock;
pub mod counts;
pub mod credentials;
pub mod events;
pub mod followed;
pub mod held;
pub mod marker;
pub mod names;
pub mod random;
pub mod retry;
pub mod sockets;
