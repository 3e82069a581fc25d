//! Indices that stay the same from plan to plan: sessions, state rows and counters are keyed by them.
//!
//! An index belongs to a name for as long as the name is wanted. Afterwards it rests for [`REST`] changes of its kind, so
//! that a generation without it lies between two owners; then the lowest one that has rested is given out first. Where the
//! bound leaves no other, one that has not rested is taken: as many names as the bound allows always find an index. Pools,
//! which mappings hold on to, have rules of their own: `pools`. So have SAs, whose rows must never be two keys' at once.

use crate::pools::Pools;
use core::fmt;
use core::iter::Peekable;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::IntoIter;

/// Changes that a freed index sits out.
const REST: u64 = 2;

/// Which index names what, and the epoch of each segment. Opaque; carried from plan to plan. It is written into the names
/// section of every generation, from where a restarted control process takes it up again. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indices {
    pub(crate) segments: Slots,
    pub(crate) ports: Slots,
    pub(crate) neighbours: Slots,
    pub(crate) tunnels: Slots,
    pub(crate) sas: Slots,
    pub(crate) pools: Pools,
    /// By segment index.
    pub(crate) epochs: Vec<SegmentEpoch>,
}

/// Epoch of one segment, and the inputs for which it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEpoch {
    pub(crate) epoch: u32,
    /// Digest of routes, policy and NAT of the segment, in hex.
    pub(crate) inputs: String,
}

/// The names section holds no indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableNames(String);

impl fmt::Display for UnreadableNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the names section of the live generation cannot be read: {}", self.0)
    }
}

impl core::error::Error for UnreadableNames {}

impl Indices {
    /// From the names section of the live generation.
    ///
    /// # Errors
    /// If the section is not what a plan writes. Starting from [`Indices::default`] then would give sessions a wrong meaning.
    pub fn from_names(names: &str) -> Result<Indices, UnreadableNames> {
        crate::names::indices(names).map_err(UnreadableNames)
    }

    /// Pools that are no longer in any rule, and keep index and rows until they are among [`crate::Learned::drained_pools`].
    pub fn resting_pools(&self) -> impl Iterator<Item = u32> + '_ {
        self.pools.resting()
    }
}

/// The indices of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slots {
    /// How often an index was given out or freed.
    change: u64,
    slots: Vec<Slot>,
}

/// One index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    /// Whose it is; none = free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Whose it was, of a free one, where its row is still as that one left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    was: Option<String>,
    /// What else must stay the same for the state row to keep its meaning.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    /// `change` when it was freed.
    freed: u64,
    /// How often the slot or its detail changed owner.
    version: u32,
}

/// Whether an index may be given out in the very change that frees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    /// If there is no other.
    AtNeed,
    /// Not then either.
    Never,
}

/// Whose index is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) detail: String,
}

impl Wanted {
    pub(crate) fn name(name: impl Into<String>) -> Self {
        Wanted {
            name: name.into(),
            detail: String::new(),
        }
    }
}

/// An index given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) index: u32,
    /// New owner, or new detail: the state row starts afresh.
    pub(crate) fresh: bool,
    pub(crate) version: u32,
}

impl Slots {
    /// Frees what is not in `wanted` and gives each of `wanted` its index; the first come first while `most` lasts. The answer
    /// is in the order of `wanted`, `None` where there is no index left.
    pub(crate) fn assign(&mut self, wanted: &[Wanted], most: usize) -> Vec<Option<Given>> {
        self.assign_as(wanted, most, Reuse::AtNeed)
    }

    /// The same for rows that must not pass on while anybody may still write to them, and that a name must find as it left them:
    /// who comes back while nobody has its index goes on with it (it is not fresh), and no index is given out in the change that
    /// frees it.
    pub(crate) fn assign_rows(&mut self, wanted: &[Wanted], most: usize) -> Vec<Option<Given>> {
        self.assign_as(wanted, most, Reuse::Never)
    }

    fn assign_as(&mut self, wanted: &[Wanted], most: usize, reuse: Reuse) -> Vec<Option<Given>> {
        let names: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
        let mut freed = false;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            match &slot.name {
                Some(name) if names.contains(name.as_str()) => drop(by_name.insert(name.clone(), index)),
                Some(_) => {
                    slot.was = slot.name.take();
                    slot.freed = self.change + 1;
                    freed = true;
                }
                None => {
                    let back = slot
                        .was
                        .take_if(|was| reuse == Reuse::Never && names.contains(was.as_str()));
                    if let Some(name) = back {
                        by_name.insert(name.clone(), index);
                        slot.name = Some(name);
                        freed = true;
                    }
                }
            }
        }
        let new = wanted.iter().any(|wanted| !by_name.contains_key(&wanted.name));
        self.change += u64::from(freed || new);
        let is_rested = |slot: &Slot| slot.name.is_none() && slot.freed + REST <= self.change;
        let rested: Vec<usize> = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| is_rested(slot))
            .map(|(index, _)| index)
            .collect();
        let mut rested = rested.into_iter().peekable();
        wanted
            .iter()
            .map(|wanted| self.give(wanted, &mut by_name, &mut rested, most, reuse))
            .collect()
    }

    /// Frees an index that was given out for nothing.
    pub(crate) fn give_back(&mut self, given: Given) {
        if let Some(slot) = self.slots.get_mut(given.index as usize) {
            (slot.name, slot.freed) = (None, self.change);
        }
    }

    fn give(
        &mut self,
        wanted: &Wanted,
        by_name: &mut BTreeMap<String, usize>,
        rested: &mut Peekable<IntoIter<usize>>,
        most: usize,
        reuse: Reuse,
    ) -> Option<Given> {
        let known = by_name.get(&wanted.name).copied();
        let index = match known {
            Some(index) => index,
            None => self.take(rested, most, reuse)?,
        };
        by_name.insert(wanted.name.clone(), index);
        let slot = &mut self.slots[index];
        let fresh = slot.name.as_ref() != Some(&wanted.name) || slot.detail != wanted.detail;
        if fresh {
            slot.name = Some(wanted.name.clone());
            slot.was = None;
            slot.detail.clone_from(&wanted.detail);
            slot.version = slot.version.wrapping_add(1);
        }
        Some(Given {
            index: index as u32,
            fresh,
            version: slot.version,
        })
    }

    /// An index that nobody has; `rested` has those that may be given out, the lowest first.
    fn take(&mut self, rested: &mut Peekable<IntoIter<usize>>, most: usize, reuse: Reuse) -> Option<usize> {
        if let Some(index) = rested.next_if(|index| *index < most) {
            return Some(index);
        }
        if self.slots.len() >= most {
            let may = |slot: &Slot| slot.name.is_none() && (reuse == Reuse::AtNeed || slot.freed < self.change);
            return self.slots.iter().take(most).position(may);
        }
        self.slots.push(Slot {
            name: None,
            was: None,
            detail: String::new(),
            freed: 0,
            version: 0,
        });
        Some(self.slots.len() - 1)
    }

    /// One more than the highest index in use.
    pub(crate) fn used(&self) -> usize {
        self.slots
            .iter()
            .rposition(|slot| slot.name.is_some())
            .map_or(0, |last| last + 1)
    }

    /// One more than the highest index that was ever given out.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assign(slots: &mut Slots, names: &[&str]) -> Vec<u32> {
        let wanted: Vec<Wanted> = names.iter().map(|name| Wanted::name(*name)).collect();
        slots
            .assign(&wanted, 8)
            .into_iter()
            .map(|given| given.unwrap().index)
            .collect()
    }

    #[test]
    fn names_keep_their_index_and_freed_ones_rest() {
        let mut slots = Slots::default();
        assert_eq!(assign(&mut slots, &["a", "b", "c"]), [0, 1, 2]);
        assert_eq!(assign(&mut slots, &["c", "a"]), [2, 0]);
        assert_eq!(
            assign(&mut slots, &["a", "c", "d"]),
            [0, 2, 3],
            "1 was freed by the change before"
        );
        assert_eq!(assign(&mut slots, &["a", "c", "d", "e"]), [0, 2, 3, 1]);
    }

    #[test]
    fn nothing_changes_when_nothing_changes() {
        let mut slots = Slots::default();
        assign(&mut slots, &["a", "b"]);
        let before = slots.clone();
        assert_eq!(assign(&mut slots, &["a", "b"]), [0, 1]);
        assert_eq!(slots, before);
    }

    #[test]
    fn the_bound_holds_and_the_first_come_first() {
        let mut slots = Slots::default();
        let wanted: Vec<Wanted> = ["a", "b", "c"].map(Wanted::name).to_vec();
        let given = slots.assign(&wanted, 2);
        assert_eq!(
            given.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, true, false]
        );
        let given = slots.assign(&wanted[1..], 2);
        assert!(
            given.iter().all(Option::is_some),
            "an index that has not rested is better than none"
        );
    }

    #[test]
    fn a_new_detail_is_fresh_under_the_same_index() {
        let mut slots = Slots::default();
        let wanted = |detail: &str| {
            [Wanted {
                name: "t".into(),
                detail: detail.into(),
            }]
        };
        let first = slots.assign(&wanted("x"), 8)[0].unwrap();
        let same = slots.assign(&wanted("x"), 8)[0].unwrap();
        let other = slots.assign(&wanted("y"), 8)[0].unwrap();
        assert!(first.fresh && !same.fresh && other.fresh);
        assert_eq!(
            (first.index, same.version, other.version),
            (0, first.version, first.version + 1)
        );
    }

    proptest! {
        #[test]
        fn no_index_has_two_owners_and_none_passes_on_at_once(
            steps in prop::collection::vec(prop::collection::btree_set("[a-f]", 0..6), 1..12)
        ) {
            let mut slots = Slots::default();
            let mut owners: BTreeMap<u32, String> = BTreeMap::new();
            for names in steps {
                let wanted: Vec<Wanted> = names.iter().map(|name| Wanted::name(name.as_str())).collect();
                let given = slots.assign(&wanted, 64);
                let now: BTreeMap<u32, String> =
                    given.iter().zip(&names).map(|(given, name)| (given.unwrap().index, name.clone())).collect();
                prop_assert_eq!(now.len(), names.len());
                for (index, name) in &owners {
                    prop_assert!(now.get(index).is_none_or(|owner| owner == name), "{} passed on at once", index);
                }
                owners = now;
            }
        }
    }
}
