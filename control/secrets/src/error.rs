//! What a store refuses.

use core::fmt;
use tombolo_tables::region::RegionError;

/// Why changes were refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// A record is longer than one may be.
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// Bytes of the longest that fits.
        bytes_max: usize,
    },
    /// Two changes of one commit are of the same record.
    Twice(u64),
    /// There is no room, and no more memory can be had.
    Full {
        /// Bytes of the record that does not fit.
        bytes: usize,
        /// Bytes that the store has.
        store_bytes: usize,
        /// Why it cannot grow.
        why: RegionError,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::TooLong { bytes, bytes_max } => {
                write!(
                    f,
                    "a record of {bytes} bytes is too long for the store of secrets: {bytes_max} at most"
                )
            }
            StoreError::Twice(id) => write!(f, "two changes of record {id:#x} in one commit"),
            StoreError::Full {
                bytes,
                store_bytes,
                why,
            } => write!(
                f,
                "no room for {bytes} bytes in the store of secrets, which has {} MiB: {why}; fewer tunnels, or more memory",
                store_bytes >> 20
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why memory is no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Its first word is neither a store's nor blank.
    NoStore(u64),
    /// Another release divides it in another way.
    OtherGeometry(u64),
    /// It could not be made large enough for one segment.
    Memory(RegionError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NoStore(word) => write!(f, "the region of secrets begins with {word:016x}: no store"),
            OpenError::OtherGeometry(word) => write!(
                f,
                "the region of secrets was divided by another release ({word:016x}): restart the dataplane, too"
            ),
            OpenError::Memory(why) => write!(f, "no memory for the store of secrets: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}
