//! Why memory is no state region.

use super::StatePart;
use crate::identity::{LAYOUT_HASH, LAYOUT_VERSION};
use core::fmt;

/// Why a state region could not be laid out or was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateError {
    /// The parts do not fit.
    RegionTooSmall {
        /// Bytes that the parts need.
        needs: usize,
        /// Bytes of the region.
        has: usize,
    },
    /// The same part was named twice.
    PartTwice(StatePart),
    /// The region may only be read.
    ReadOnly,
    /// No magic: something else, or a region whose maker died before it was complete.
    NotAState,
    /// Made by a program with other record formats.
    OtherLayout {
        /// Its layout version.
        version: u64,
        /// Its layout hash.
        hash: u64,
    },
    /// The header contradicts itself or the region.
    Header(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::RegionTooSmall { needs, has } => {
                write!(f, "the state needs {needs} bytes, its region has {has}")
            }
            StateError::PartTwice(part) => write!(f, "the state's part {} is named twice", part.name()),
            StateError::ReadOnly => f.write_str("the state region may only be read"),
            StateError::NotAState => f.write_str("the region is no complete state region"),
            StateError::OtherLayout { version, hash } => write!(
                f,
                "the state has layout {version} ({hash:016x}), this program {LAYOUT_VERSION} ({LAYOUT_HASH:016x}): \
                 tombolod and tombolo-dataplane must be of one release"
            ),
            StateError::Header(what) => write!(f, "the state's header is wrong: {what}"),
        }
    }
}

impl std::error::Error for StateError {}
