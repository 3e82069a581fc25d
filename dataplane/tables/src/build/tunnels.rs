//! The index from (SPI, outer destination) to inbound SA; its form is that of [`hash_index`].

use super::known::Known;
use super::sections::Section;
use super::{BuildError, Kind, hash_index};

/// Inbound SAs of tunnels that are enabled.
///
/// # Errors
/// [`BuildError::Duplicate`] if two of them have the same SPI and local address.
pub(super) fn compile(known: &Known<'_>) -> Result<Section, BuildError> {
    let keys = (0..known.sas_len()).filter_map(|at| Some((known.spi_key(at)?, at)));
    hash_index::compile(keys, Kind::Sa)
}
