//! Tunnels, SAs and selectors by index, and the SA of what arrives.

use super::Tables;
use crate::build::hash_index::hash;
use crate::layout::OUTBOUND_MAX;
use crate::layout::{
    Address, BundleIndex, BundleRecord, SaIndex, SaRecord, SelectorRecord, TunnelIndex, TunnelRecord, sa_flag,
    tunnel_flag,
};

impl<'g> Tables<'g> {
    /// The tunnel, or `None` if its slot is free, disabled or does not exist.
    #[inline]
    pub fn tunnel(&self, tunnel: TunnelIndex) -> Option<&'g TunnelRecord> {
        self.tunnels
            .get(tunnel.usize())
            .filter(|record| record.flags & tunnel_flag::ENABLED != 0)
    }

    /// All tunnels by `TunnelIndex`, with free and disabled ones.
    #[inline]
    pub fn tunnels(&self) -> &'g [TunnelRecord] {
        self.tunnels
    }

    /// The bundle, or `None` if it does not exist.
    #[inline]
    pub fn bundle(&self, bundle: BundleIndex) -> Option<&'g BundleRecord> {
        self.bundles.get(bundle.usize())
    }

    /// All bundles by `BundleIndex`.
    #[inline]
    pub fn bundles(&self) -> &'g [BundleRecord] {
        self.bundles
    }

    /// The SA, or `None` if its slot is free or does not exist.
    #[inline]
    pub fn sa(&self, sa: SaIndex) -> Option<&'g SaRecord> {
        self.sas.get(sa.usize()).filter(|record| record.spi != 0)
    }

    /// All SAs by `SaIndex`, with free slots.
    #[inline]
    pub fn sas(&self) -> &'g [SaRecord] {
        self.sas
    }

    /// The inbound SA of an ESP packet, by its SPI (host order) and outer destination.
    #[inline]
    pub fn find_inbound_sa(&self, spi: u32, local: Address) -> Option<SaIndex> {
        let answers = |index| {
            self.sa(SaIndex(index)).is_some_and(|sa| {
                sa.spi == spi
                    && sa.flags & sa_flag::INBOUND != 0
                    && self
                        .tunnel(TunnelIndex(sa.tunnel))
                        .is_some_and(|tunnel| tunnel.local == local)
            })
        };
        self.spi_index.find(hash(spi, local), answers).map(SaIndex)
    }

    /// The outbound SAs of a tunnel in the order in which they are tried; one, unless it chooses.
    #[inline]
    pub fn outbound_sas(&self, tunnel: &TunnelRecord) -> impl Iterator<Item = (SaIndex, &'g SaRecord)> + use<'g> {
        let tables = *self;
        let mut next = tunnel.outbound;
        let found = core::iter::from_fn(move || {
            let index = SaIndex(next);
            let sa = tables.sa(index)?;
            next = sa.next;
            Some((index, sa))
        });
        // Built tables have no circles; whoever reads them does not rely on it.
        found.take(OUTBOUND_MAX)
    }

    /// What inner packets of an SA may be; empty if the record points outside.
    #[inline]
    pub fn selectors(&self, sa: &SaRecord) -> &'g [SelectorRecord] {
        let first = sa.selector_first as usize;
        self.selectors
            .get(first..first.saturating_add(sa.selector_count.into()))
            .unwrap_or(&[])
    }
}
