//! Bytes of a section as a slice of its records.

use super::InvalidTables;
use crate::layout::SectionId;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// The records of a section.
pub(super) fn records<T>((section, bytes): (SectionId, &[u8])) -> Result<&[T], InvalidTables>
where
    T: FromBytes + Immutable + KnownLayout,
{
    if bytes.is_empty() {
        return Ok(&[]);
    }
    if bytes.as_ptr().addr() % align_of::<T>() != 0 {
        return Err(InvalidTables::Misaligned(section));
    }
    <[T]>::ref_from_bytes(bytes).map_err(|_| InvalidTables::Length {
        section,
        bytes: bytes.len(),
    })
}
