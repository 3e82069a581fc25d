//! Why nothing was published.

use crate::layout::SectionId;
use crate::view::InvalidTables;
use core::fmt;

/// Why a generation was not published. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The region has no room beside the generations in use.
    RegionFull {
        /// The section that found no room.
        section: SectionId,
        /// Its bytes.
        bytes: usize,
        /// The longest free run of bytes.
        longest_free: usize,
    },
    /// The workers would refuse these sections.
    Invalid(InvalidTables),
    /// Workers still look at generations so old that no directory slot is free.
    WorkersBehind {
        /// The oldest generation in use.
        oldest: u64,
    },
    /// A test's hook ended it here, as a kill would.
    Interrupted,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::RegionFull {
                section,
                bytes,
                longest_free,
            } => write!(
                f,
                "no room in the tables region: section {section:?} needs {bytes} bytes, the longest free run has \
                 {longest_free}; nothing was changed"
            ),
            PublishError::Invalid(why) => write!(f, "the tables were built wrong: {why}; nothing was changed"),
            PublishError::WorkersBehind { oldest } => {
                write!(
                    f,
                    "a worker still uses generation {oldest}: it does not run; nothing was changed"
                )
            }
            PublishError::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for PublishError {}
