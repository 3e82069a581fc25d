//! Why bytes are no tables.

use crate::layout::SectionId;
use core::fmt;

/// Why [`Tables::from_sections`](super::Tables::from_sections) refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTables {
    /// The section does not start at an address its records can stand at.
    Misaligned(SectionId),
    /// The section is no whole number of records.
    Length {
        /// The section.
        section: SectionId,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The section's header contradicts its length, or names another format.
    Header(SectionId),
}

impl fmt::Display for InvalidTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidTables::Misaligned(section) => write!(f, "section {section:?} is misaligned"),
            InvalidTables::Length { section, bytes } => {
                write!(
                    f,
                    "section {section:?} is {bytes} bytes long, which is no whole number of records"
                )
            }
            InvalidTables::Header(section) => write!(f, "the header of section {section:?} contradicts its content"),
        }
    }
}

impl core::error::Error for InvalidTables {}
