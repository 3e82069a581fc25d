//! What a killed process left, made whole: changes that never came true go, what was replaced goes, and every word that belongs
//! to no record is zeroed. May itself be killed at any word: the next one does the rest.

use crate::entry::{self, At, Entry, Said};
use crate::geometry::Geometry;
use crate::memory::Memory;
use crate::store::{Segment, Slot};
use std::collections::BTreeMap;

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records that are there.
    pub records: usize,
    /// Records that were there and whose newest bytes are not those that were written: they are gone. An older state is no
    /// substitute: it could repeat a nonce.
    pub damaged: usize,
    /// Entries of changes that had not come true, and of those that newer ones had replaced.
    pub left_over: usize,
}

type Found = (BTreeMap<u64, Slot>, Vec<Segment>, Recovered);

/// Rebuilds what the process knows from the entries.
pub(crate) fn recover(memory: &impl Memory, geometry: Geometry, committed: u64) -> Found {
    let mut recovered = Recovered::default();
    let mut newest: BTreeMap<u64, (Entry, At)> = BTreeMap::new();
    let segments = geometry.segments(memory.words());
    let places = (0..segments).flat_map(|segment| (0..geometry.entries()).map(move |entry| At { segment, entry }));
    for at in places {
        let entry = Entry::read(memory, geometry, at);
        if entry.sequence == 0 || entry.sequence > committed {
            if !entry.is_blank() {
                entry::clear(memory, geometry, at);
                recovered.left_over += 1;
            }
            continue;
        }
        let older = match newest.get(&entry.id) {
            Some((other, _)) if other.sequence >= entry.sequence => Some(at),
            Some(_) | None => newest.insert(entry.id, (entry, at)).map(|(_, at)| at),
        };
        if let Some(older) = older {
            entry::clear(memory, geometry, older);
            recovered.left_over += 1;
        }
    }
    // Only now, with every older entry gone, may an entry go that says that its record was removed, or that is damaged.
    let (slots, segments) = keep(memory, geometry, segments, newest, &mut recovered);
    (slots, segments, recovered)
}

fn keep(
    memory: &impl Memory,
    geometry: Geometry,
    segments: usize,
    newest: BTreeMap<u64, (Entry, At)>,
    recovered: &mut Recovered,
) -> (BTreeMap<u64, Slot>, Vec<Segment>) {
    let mut free: Vec<Segment> = (0..segments).map(|_| Segment::new(geometry)).collect();
    let mut taken = vec![vec![false; geometry.entries()]; segments];
    let mut slots = BTreeMap::new();
    for (id, (entry, at)) in newest {
        match entry.said(memory, geometry, at) {
            Said::Kept(place) if free[at.segment].room.take_at(place.first, place.words()) => {
                taken[at.segment][at.entry] = true;
                slots.insert(id, Slot { at, place: Some(place) });
            }
            Said::Removed => {
                entry::clear(memory, geometry, at);
                recovered.left_over += 1;
            }
            // Two records cannot have the same words.
            Said::Kept(_) | Said::Damaged => {
                entry::clear(memory, geometry, at);
                recovered.damaged += 1;
            }
        }
    }
    for (number, (segment, taken)) in free.iter_mut().zip(&taken).enumerate() {
        segment.entries.retain(|entry| !taken[*entry]);
        for (first, words) in segment.room.extents() {
            entry::zero(memory, geometry, number, first, words);
        }
    }
    recovered.records = slots.len();
    (slots, free)
}
