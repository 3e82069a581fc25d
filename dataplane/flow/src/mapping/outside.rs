//! Who is behind an outside endpoint: the second key of every mapping, for hairpins.
//!
//! The slot follows a mapping into the index once it is live, and leaves before its port does. Between these moments it may be
//! missing (a worker died in between, or the index is full): then there is no hairpin to that mapping until it is made anew.

use super::entry::Record;
use super::{Address, Inside, Mappings};
use crate::index::Slot;
use crate::table::State;
use core::ops::ControlFlow;

/// Beyond all pools, so that no inside key has it.
const OUTSIDE: u64 = 1 << 63;

impl<'a, A: Address> Mappings<'a, A> {
    /// The inside endpoint that has this outside one.
    pub fn behind(&self, protocol: u8, address: A, port: u16) -> Option<Inside<A>> {
        let hash = self.outside_hash(protocol, address, port);
        self.table.index.visit(hash, |slot| {
            let live = self.copy(slot.entry(), |state| state == State::Live);
            match live {
                Some((_, record))
                    if (record.inside.protocol, record.address, record.port) == (protocol, address, port) =>
                {
                    ControlFlow::Break(record.inside)
                }
                Some(_) | None => ControlFlow::Continue(()),
            }
        })
    }

    /// Makes a live mapping known by its outside endpoint; a host entry has none.
    pub(super) fn show_outside(&self, mapping: u32, record: &Record<A>) {
        if !record.is_host() {
            self.show_at(
                self.outside_hash(record.inside.protocol, record.address, record.port),
                mapping,
            );
        }
    }

    #[inline]
    pub(super) fn show_at(&self, outside_hash: u64, mapping: u32) {
        let slot = Slot::new(outside_hash, true, mapping);
        let _ = self.table.index.place(outside_hash, slot);
    }

    /// Where the mapping will be shown.
    #[inline(always)]
    pub(super) fn shown_hash(&self, record: &Record<A>) -> u64 {
        self.outside_hash(record.inside.protocol, record.address, record.port)
    }

    pub(super) fn hide_outside(&self, mapping: u32, record: &Record<A>) {
        if !record.is_host() {
            let hash = self.outside_hash(record.inside.protocol, record.address, record.port);
            self.table.index.remove(hash, Slot::new(hash, true, mapping));
        }
    }

    #[inline(always)]
    pub(super) fn outside_hash(&self, protocol: u8, address: A, port: u16) -> u64 {
        self.hash_of(address, port.into(), OUTSIDE | u64::from(protocol))
    }
}
