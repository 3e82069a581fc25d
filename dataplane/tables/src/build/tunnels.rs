//! The index from (SPI, outer destination) to inbound SA; its form is that of [`hash_index`].

use super::sections::Section;
use super::{BuildError, Kind, World, hash_index};
use crate::layout::{sa_flag, tunnel_flag};
use std::collections::HashMap;

/// Inbound SAs of tunnels that are enabled.
///
/// # Errors
/// [`BuildError::Duplicate`] if two of them have the same SPI and local address.
pub(super) fn compile(world: &World) -> Result<Section, BuildError> {
    let mut seen = HashMap::new();
    let mut entries = Vec::new();
    for (at, sa) in world.sas.iter().enumerate() {
        let tunnel = world
            .tunnels
            .get(sa.tunnel as usize)
            .filter(|tunnel| tunnel.flags & tunnel_flag::ENABLED != 0);
        let (Some(tunnel), true) = (tunnel, sa.spi != 0 && sa.flags & sa_flag::INBOUND != 0) else {
            continue;
        };
        if let Some(first) = seen.insert((sa.spi, tunnel.local), at) {
            return Err(BuildError::Duplicate {
                kind: Kind::Sa,
                first,
                second: at,
            });
        }
        entries.push((hash_index::hash(sa.spi, tunnel.local), at as u32));
    }
    Ok(hash_index::compile(&entries))
}
