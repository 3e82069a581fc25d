//! The stages of the journey, in the order in which a packet meets them; `journey.rs` calls them by name.

mod parse;

mod open;

mod path_mtu;

mod session;

mod decide;

mod start;

mod unreachable;

mod rewrite;

mod error;

pub(crate) mod outbound;

mod seal;

mod emit;

pub(crate) mod vlan;

pub use decide::Decide;
pub use emit::Emit;
pub(crate) use emit::{Station, find};
pub use error::Errors;
pub use open::Open;
pub(crate) use open::{OpenFrom, Sealed, UDP_ESP_PORT, find as find_sealed, strip};
pub(crate) use outbound::{Carries, Outbound};
pub use parse::Parse;
pub use path_mtu::PathMtu;
pub use rewrite::Rewrite;
pub use seal::Seal;
pub(crate) use seal::SealTo;
pub(crate) use session::TUNNELLED;
pub use session::{Miss, Session, Why};
pub use unreachable::Unreachable;
