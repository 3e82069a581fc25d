//! What the gateway remembers of flows, and what it decides about new ones. No I/O, no clock, no randomness of its own.
//!
//! All state lies in shared memory that the caller hands in as words; a handle on it works from any process that maps it.
//!
//! * [`session`]: the session table of each address family;
//! * [`mapping`], [`ports`]: endpoint-independent source translation;
//! * [`tcp`], [`expiry`]: how long a session stays;
//! * [`decide`]: what becomes of a new flow;
//! * [`state`]: all of it together: sizes, scrub after a crash, maintenance between batches.
#![forbid(unsafe_code)]

pub mod decide;
pub mod expiry;
#[cfg(not(loom))]
pub mod geometry;
pub mod hash;
mod index;
pub mod key;
mod local;
pub mod mapping;
pub mod ports;
pub mod session;
pub mod state;
pub mod sync;
mod table;
pub mod tcp;

pub use expiry::Timers;
pub use key::{Key, Key4, Key6};
pub use local::WorkerLocal;
pub use mapping::{
    Aimed, BindError, Binding, Bound, Heading, Inside, MappingBeginnings, MappingView, Mappings, PoolView,
};
pub use ports::Ports;
pub use session::{
    ABREAST, Aim, Answers, Beginning, Beginnings, Begun, BegunSession, Candidate, Ended, Hit, InsertError, Inserted,
    Lines, Lookups, NO_MAPPING, NO_RULE, NewSession, Reserved, SessionKey, SessionView, Sessions, Traffic,
};
pub use state::{FlowLimits, FlowParts, FlowState, FlowWords, ScrubReport};
pub use table::StateError;
pub use tcp::{Direction, Phase};
