//! The index from (port, address) to neighbour; its form is that of [`hash_index`].

use super::known::Known;
use super::sections::Section;
use super::{BuildError, Kind, hash_index};

/// # Errors
/// [`BuildError::Duplicate`] if two neighbours of a port have the same address.
pub(super) fn compile(known: &Known<'_>) -> Result<Section, BuildError> {
    let keys = (0..known.neighbours_len()).filter_map(|at| Some((known.neighbour_key(at)?, at)));
    hash_index::compile(keys, Kind::Neighbour)
}
