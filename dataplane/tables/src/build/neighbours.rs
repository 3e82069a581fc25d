//! The index from (port, address) to neighbour; its form is that of [`hash_index`].

use super::sections::Section;
use super::{BuildError, Kind, World, hash_index};
use crate::layout::neighbour_state;
use std::collections::HashMap;

/// # Errors
/// [`BuildError::Duplicate`] if two neighbours of a port have the same address.
pub(super) fn compile(world: &World) -> Result<Section, BuildError> {
    let mut seen = HashMap::new();
    let mut entries = Vec::new();
    for (at, neighbour) in world.neighbours.iter().enumerate() {
        if neighbour.state == neighbour_state::FREE {
            continue;
        }
        if let Some(first) = seen.insert((neighbour.port, neighbour.address), at) {
            return Err(BuildError::Duplicate {
                kind: Kind::Neighbour,
                first,
                second: at,
            });
        }
        entries.push((
            hash_index::hash(u32::from(neighbour.port), neighbour.address),
            at as u32,
        ));
    }
    Ok(hash_index::compile(&entries))
}
