//! Secrets of `tombolod` that survive its end: records in a region of shared memory that the dataplane holds but never maps.
//!
//! A record is bytes under a number. Changes are atomic against a kill at any instruction: after it the store holds what was
//! there before all changes of one [`Store::commit`], or what is there after all of them. Old bytes are zeroed. Nothing is ever
//! written to a disk; with both processes gone, everything is gone. The page `control/decisions/0011` says why it looks like this.
//!
//! What is found at [`Store::open`] is checked word by word: it may have been written by a process that was killed.

#![forbid(unsafe_code)]

mod entry;
mod error;
mod geometry;
mod memory;
mod recover;
mod room;
mod store;

pub use error::{OpenError, StoreError};
pub use geometry::{Geometry, RECORD_BYTES_MAX};
pub use memory::Memory;
pub use recover::Recovered;
pub use store::{Change, Store, Usage};

#[cfg(test)]
mod tests;
