//! An index of open addressing that follows single records; its form is that of [`hash_index`](super::hash_index).

use super::hash_index::{self, FREE, HashHeader, hash};
use super::known::Key;
use super::sections::Section;
use super::{BuildError, Kind};
use core::mem::offset_of;
use std::collections::{BTreeMap, BTreeSet};
use zerocopy::{FromBytes, IntoBytes};

/// More changed records than these are not followed one by one.
const CHANGES_MAX: usize = 4096;

/// The keys of records by index, before and after a change.
pub(super) struct Keys<'k> {
    pub(super) old: &'k dyn Fn(u32) -> Option<Key>,
    pub(super) new: &'k dyn Fn(u32) -> Option<Key>,
}

/// What is to be done to an index.
pub(super) enum IndexPlan {
    /// Records of these indices came, went or have another key.
    Follow(Vec<u32>),
    /// This is the index now.
    Replace(Section),
}

impl IndexPlan {
    /// Looks whether `changed` can be followed; compiles if not. Nothing is changed yet.
    ///
    /// # Errors
    /// [`BuildError::Duplicate`] if two records have the same key now.
    pub(super) fn new(
        index: &Section,
        changed: Option<Vec<u32>>,
        keys: &Keys<'_>,
        kind: Kind,
        compile: impl FnOnce() -> Result<Section, BuildError>,
    ) -> Result<IndexPlan, BuildError> {
        let Some(changed) = changed.filter(|changed| changed.len() <= CHANGES_MAX) else {
            return compile().map(IndexPlan::Replace);
        };
        let mut moved: Vec<u32> = changed;
        moved.retain(|at| (keys.old)(*at) != (keys.new)(*at));
        let among: BTreeSet<u32> = moved.iter().copied().collect();
        let mut fresh: BTreeMap<Key, u32> = BTreeMap::new();
        let slots = Slots::of(index);
        for &at in &moved {
            let Some(key) = (keys.new)(at) else { continue };
            let other = slots.find(key, keys.old).filter(|other| !among.contains(other));
            if let Some(other) = other.or(fresh.insert(key, at)) {
                return Err(BuildError::Duplicate {
                    kind,
                    first: other.min(at) as usize,
                    second: other.max(at) as usize,
                });
            }
        }
        let gone = moved.iter().filter(|at| (keys.old)(**at).is_some()).count();
        let entries = (slots.header.entries as usize + fresh.len()).saturating_sub(gone);
        if 2 * entries > slots.header.slots as usize {
            return compile().map(IndexPlan::Replace);
        }
        Ok(IndexPlan::Follow(moved))
    }

    /// Does it.
    pub(super) fn make(self, index: &mut Section, keys: &Keys<'_>) {
        match self {
            IndexPlan::Replace(section) => *index = section,
            IndexPlan::Follow(moved) => {
                for &at in &moved {
                    if let Some(key) = (keys.old)(at) {
                        remove(index, key, at, keys.old);
                    }
                }
                for &at in &moved {
                    if let Some(key) = (keys.new)(at) {
                        insert(index, key, at);
                    }
                }
            }
        }
    }
}

/// An index as it stands in its section.
struct Slots<'s> {
    header: HashHeader,
    slots: &'s [u32],
}

impl<'s> Slots<'s> {
    fn of(section: &'s Section) -> Slots<'s> {
        let empty = Slots {
            header: HashHeader::new(0, 0, 0),
            slots: &[],
        };
        let parts = HashHeader::read_from_prefix(section.as_bytes()).ok();
        let parts = parts.and_then(|(header, rest)| Some((header, <[u32]>::ref_from_bytes(rest).ok()?)));
        parts.map_or(empty, |(header, slots)| Slots { header, slots })
    }

    fn place(&self, hash: usize, step: usize) -> usize {
        hash.wrapping_add(step) & (self.slots.len() - 1)
    }

    fn find(&self, key: Key, keys: &dyn Fn(u32) -> Option<Key>) -> Option<u32> {
        let hash = hash(key.0, key.1) as usize;
        (0..self.slots.len())
            .map(|step| self.slots[self.place(hash, step)])
            .take_while(|index| *index != FREE)
            .find(|index| keys(*index) == Some(key))
    }
}

fn set_slot(section: &mut Section, slot: usize, index: u32) {
    section.write(size_of::<HashHeader>() + 4 * slot, index.as_bytes());
}

fn set_header(section: &mut Section, header: HashHeader) {
    let unused = offset_of!(HashHeader, reserved);
    section.write(0, &header.as_bytes()[..unused]);
}

/// Half of the slots are free afterwards, too: the caller saw to it.
fn insert(section: &mut Section, (number, address): Key, index: u32) {
    let slots = Slots::of(section);
    let hash = hash(number, address) as usize;
    let Some(step) = (0..slots.slots.len()).find(|step| slots.slots[slots.place(hash, *step)] == FREE) else {
        debug_assert!(false, "an index of no slots takes no entry");
        return;
    };
    let (slot, mut header) = (slots.place(hash, step), slots.header);
    header.longest = header.longest.max(step as u32);
    header.entries += 1;
    set_slot(section, slot, index);
    set_header(section, header);
}

/// Takes an entry out and moves those behind it up, so that no search ends at the hole before it finds them.
fn remove(section: &mut Section, (number, address): Key, index: u32, keys: &dyn Fn(u32) -> Option<Key>) {
    let slots = Slots::of(section);
    let first = hash(number, address) as usize;
    let Some(step) = (0..slots.slots.len()).find(|step| slots.slots[slots.place(first, *step)] == index) else {
        return;
    };
    let last = slots.slots.len() - 1;
    let (mut hole, mut at) = (slots.place(first, step), slots.place(first, step));
    let mut moves = Vec::new();
    loop {
        at = (at + 1) & last;
        let entry = slots.slots[at];
        if entry == FREE {
            break;
        }
        let Some((number, address)) = keys(entry) else { continue };
        let home = hash_index::hash(number, address) as usize & last;
        // It may move to the hole unless its own place lies behind that.
        if at.wrapping_sub(home) & last >= at.wrapping_sub(hole) & last {
            moves.push((hole, entry));
            hole = at;
        }
    }
    let mut header = slots.header;
    header.entries -= 1;
    for (slot, entry) in moves {
        set_slot(section, slot, entry);
    }
    set_slot(section, hole, FREE);
    set_header(section, header);
}
