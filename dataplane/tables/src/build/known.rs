//! The records that others name, whether a world has them or a generation; changes that are not made yet lie over them.

use super::{Sections, World};
use crate::layout::{
    Address, BundleRecord, NeighbourRecord, PoolRecord, PortRecord, SaRecord, SectionId, SegmentRecord, SelectorRecord,
    TunnelRecord, neighbour_state, sa_flag, tunnel_flag,
};
use core::ops::Range;
use std::collections::BTreeMap;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Records by index that replace others or follow them.
#[derive(Default)]
pub(super) struct Overlay {
    pub(super) neighbours: BTreeMap<u32, NeighbourRecord>,
    pub(super) tunnels: BTreeMap<u32, TunnelRecord>,
    pub(super) sas: BTreeMap<u32, SaRecord>,
}

/// What a record is found by.
pub(super) type Key = (u32, Address);

/// Records by index.
pub(super) struct Known<'a> {
    pub(super) ports: usize,
    pub(super) segments: usize,
    pub(super) selectors: usize,
    pub(super) bundles: usize,
    pub(super) pools: &'a [PoolRecord],
    pub(super) neighbours: &'a [NeighbourRecord],
    pub(super) tunnels: &'a [TunnelRecord],
    pub(super) sas: &'a [SaRecord],
    pub(super) over: Option<&'a Overlay>,
}

/// The records of a section.
pub(super) fn records<T: FromBytes + Immutable + KnownLayout>(sections: &Sections, id: SectionId) -> &[T] {
    <[T]>::ref_from_bytes(sections.get(id)).expect("a section that was built holds whole records")
}

impl<'a> Known<'a> {
    pub(super) fn of(world: &'a World) -> Self {
        Known {
            ports: world.ports.len(),
            segments: world.segments.len(),
            selectors: world.selectors.len(),
            bundles: world.bundles.len(),
            pools: &world.pools,
            neighbours: &world.neighbours,
            tunnels: &world.tunnels,
            sas: &world.sas,
            over: None,
        }
    }

    pub(super) fn built(sections: &'a Sections) -> Self {
        Known {
            ports: records::<PortRecord>(sections, SectionId::Ports).len(),
            segments: records::<SegmentRecord>(sections, SectionId::Segments).len(),
            selectors: records::<SelectorRecord>(sections, SectionId::Selectors).len(),
            bundles: records::<BundleRecord>(sections, SectionId::Bundles).len(),
            pools: records(sections, SectionId::Pools),
            neighbours: records(sections, SectionId::Neighbours),
            tunnels: records(sections, SectionId::Tunnels),
            sas: records(sections, SectionId::Sas),
            over: None,
        }
    }

    /// The same under changes.
    pub(super) fn under(&self, over: &'a Overlay) -> Self {
        Known {
            over: Some(over),
            ..*self
        }
    }

    pub(super) fn neighbour(&self, at: u32) -> Option<&NeighbourRecord> {
        let over = self.over.and_then(|over| over.neighbours.get(&at));
        over.or_else(|| self.neighbours.get(at as usize))
    }

    pub(super) fn tunnel(&self, at: u32) -> Option<&TunnelRecord> {
        let over = self.over.and_then(|over| over.tunnels.get(&at));
        over.or_else(|| self.tunnels.get(at as usize))
    }

    /// `None` for a free slot, too.
    pub(super) fn sa(&self, at: u32) -> Option<&SaRecord> {
        let over = self.over.and_then(|over| over.sas.get(&at));
        over.or_else(|| self.sas.get(at as usize)).filter(|sa| sa.spi != 0)
    }

    /// One more than the highest index of a neighbour.
    pub(super) fn neighbours_len(&self) -> u32 {
        length(self.neighbours, self.over.map(|over| &over.neighbours))
    }

    /// One more than the highest index of an SA.
    pub(super) fn sas_len(&self) -> u32 {
        length(self.sas, self.over.map(|over| &over.sas))
    }

    /// What a packet finds an SA by: only inbound ones of tunnels that are enabled.
    pub(super) fn spi_key(&self, at: u32) -> Option<Key> {
        let sa = self.sa(at).filter(|sa| sa.flags & sa_flag::INBOUND != 0)?;
        let tunnel = self.tunnel(sa.tunnel)?;
        (tunnel.flags & tunnel_flag::ENABLED != 0).then_some((sa.spi, tunnel.local))
    }

    /// What a packet finds a neighbour by.
    pub(super) fn neighbour_key(&self, at: u32) -> Option<Key> {
        let neighbour = self
            .neighbour(at)
            .filter(|record| record.state != neighbour_state::FREE)?;
        Some((u32::from(neighbour.port), neighbour.address))
    }

    /// Whether whatever a route could name here, it can name there.
    pub(super) fn stays_in(&self, later: &Known<'_>) -> bool {
        let free = |record: &NeighbourRecord| record.state == neighbour_state::FREE;
        let mut pairs = self.neighbours.iter().zip(later.neighbours);
        self.ports <= later.ports
            && self.segments <= later.segments
            && self.tunnels.len() <= later.tunnels.len()
            && self.bundles <= later.bundles
            && self.neighbours.len() <= later.neighbours.len()
            && pairs.all(|(old, new)| free(old) || !free(new))
    }

    /// Whether every SA that did not change itself is still found by the same key.
    pub(super) fn tunnels_stay(&self, later: &Known<'_>) -> bool {
        let found_by = |tunnel: &TunnelRecord| (tunnel.local, tunnel.flags & tunnel_flag::ENABLED);
        match later.over {
            Some(over) => over
                .tunnels
                .iter()
                .all(|(&at, new)| self.tunnel(at).is_none_or(|old| found_by(old) == found_by(new))),
            None => {
                let mut pairs = self.tunnels.iter().zip(later.tunnels);
                self.tunnels.len() <= later.tunnels.len() && pairs.all(|(old, new)| found_by(old) == found_by(new))
            }
        }
    }
}

fn length<T>(records: &[T], over: Option<&BTreeMap<u32, T>>) -> u32 {
    let last = over
        .and_then(|over| over.last_key_value())
        .map_or(0, |(last, _)| last.saturating_add(1));
    last.max(records.len() as u32)
}

/// Indices of the records that differ, those that came or went among them.
pub(super) fn differing<T: IntoBytes + Immutable>(old: &[T], new: &[T]) -> Vec<u32> {
    /// Records that are compared at a time.
    const TOGETHER: usize = 64;
    let both = old.len().min(new.len());
    let mut differing = Vec::new();
    for from in (0..both).step_by(TOGETHER) {
        let range: Range<usize> = from..both.min(from + TOGETHER);
        if old[range.clone()].as_bytes() != new[range.clone()].as_bytes() {
            differing.extend(
                range
                    .filter(|at| old[*at].as_bytes() != new[*at].as_bytes())
                    .map(|at| at as u32),
            );
        }
    }
    differing.extend((both..old.len().max(new.len())).map(|at| at as u32));
    differing
}
