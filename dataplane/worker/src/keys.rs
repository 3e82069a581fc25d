//! Expanded keys of the SAs this worker has used. Expanding costs more than a packet; the cache is sized at start.

use tombolo_tables::layout::{SaIndex, SaRecord};
use tombolo_tables::region_prefetch::prefetch_whole;
use tombolo_tunnel::{Cipher, Provider, SaKeys};

struct Expanded {
    key_version: u32,
    spi: u32,
    keys: SaKeys,
}

/// Expanded keys by SA index.
pub struct KeyCache {
    expanded: Vec<Option<Expanded>>,
}

impl KeyCache {
    /// Room for `sas` security associations.
    pub fn new(sas: usize) -> Self {
        // Once in a process, and not at the first packet: it reads the environment and opens a library.
        let _ = Provider::chosen();
        KeyCache {
            expanded: (0..sas).map(|_| None).collect(),
        }
    }

    /// The expanded key of an SA; none when the record is beyond the cache or its key is no key.
    #[inline]
    pub fn expanded(&mut self, index: SaIndex, record: &SaRecord) -> Option<&SaKeys> {
        let slot = self.expanded.get_mut(index.usize())?;
        let fresh = slot
            .as_ref()
            .is_some_and(|old| old.key_version == record.key_version && old.spi == record.spi);
        if !fresh {
            let cipher = Cipher::from_record(record.cipher)?;
            let keys = SaKeys::new(cipher, &record.key[..cipher.key_bytes()], record.salt)?;
            *slot = Some(Expanded {
                key_version: record.key_version,
                spi: record.spi,
                keys,
            });
        }
        slot.as_ref().map(|expanded| &expanded.keys)
    }

    /// Asks for the memory of an SA's expanded key ahead of its use.
    #[inline]
    pub fn ask(&self, index: SaIndex) {
        if let Some(slot) = self.expanded.get(index.usize()) {
            prefetch_whole(slot);
        }
    }

    /// Forgets the keys of SAs that are gone (once per generation).
    pub fn retain(&mut self, live: impl Fn(SaIndex, u32) -> bool) {
        for (index, slot) in self.expanded.iter_mut().enumerate() {
            if slot
                .as_ref()
                .is_some_and(|old| !live(SaIndex(index as u32), old.key_version))
            {
                *slot = None;
            }
        }
    }
}
