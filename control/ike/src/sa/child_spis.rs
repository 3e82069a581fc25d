//! Inbound SPIs of child SAs: unique in the gateway, each with the IKE SA that it belongs to.

use super::SaId;
use std::collections::{BTreeSet, HashMap};

/// SPIs in use or reserved.
#[derive(Debug, Default)]
pub(crate) struct ChildSpis {
    owners: HashMap<u32, SaId>,
    owned: BTreeSet<(SaId, u32)>,
}

impl ChildSpis {
    /// Whose it is.
    pub(crate) fn owner(&self, spi: u32) -> Option<SaId> {
        self.owners.get(&spi).copied()
    }

    /// It is this IKE SA's from now on.
    pub(crate) fn give(&mut self, spi: u32, owner: SaId) {
        if self.owner(spi) == Some(owner) {
            return;
        }
        self.remove(spi);
        self.owners.insert(spi, owner);
        self.owned.insert((owner, spi));
    }

    /// It is free.
    pub(crate) fn remove(&mut self, spi: u32) {
        if let Some(owner) = self.owners.remove(&spi) {
            self.owned.remove(&(owner, spi));
        }
    }

    /// All of an IKE SA are free.
    pub(crate) fn forget(&mut self, owner: SaId) {
        let all = (owner, 0)..=(owner, u32::MAX);
        while let Some((_, spi)) = self.owned.range(all.clone()).next().copied() {
            self.remove(spi);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_spi_has_one_owner_and_goes_with_it() {
        let mut spis = ChildSpis::default();
        let (old, heir) = (SaId(1), SaId(2));
        spis.give(300, old);
        spis.give(301, old);
        spis.give(301, heir);
        spis.forget(old);
        assert_eq!((spis.owner(300), spis.owner(301)), (None, Some(heir)));
        spis.remove(301);
        assert!(spis.owners.is_empty() && spis.owned.is_empty());
    }
}
