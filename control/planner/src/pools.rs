//! Where NAT pools are: the index by which mappings name a pool, and the rows of the port state that its addresses have.
//!
//! What makes an outside address and port one mapping's is a bit in the address's row. So an address keeps its row for as
//! long as a mapping can hold one of its ports, over every change of the configuration: with a second row the same port would
//! be handed out twice. Ranges that share addresses share rows. A pool that is not wanted any more rests, with its index
//! and its rows, until no mapping names it: an idle TCP connection may hold on for hours.

use crate::Refused;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_tables::layout::Address;

/// A mapping names its pool in 12 bits.
const POOLS_MAX: usize = 1 << 12;

/// The place of every pool, by pool index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pools {
    slots: Vec<Option<Place>>,
}

/// One pool, wanted or resting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Its addresses and ports.
    name: String,
    first: IpAddr,
    count: u32,
    /// Of `first`; the others follow on.
    row: u32,
    /// Not wanted any more, but mappings may live.
    resting: bool,
}

/// A pool that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Says addresses and ports: a pool with other ports is another pool.
    pub(crate) name: String,
    pub(crate) first: IpAddr,
    pub(crate) count: u32,
}

/// Index and first row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) index: u32,
    pub(crate) row: u32,
}

/// Consecutive addresses.
#[derive(Clone, Copy)]
struct Span {
    first: u128,
    count: u32,
}

impl Span {
    fn new(first: IpAddr, count: u32) -> Self {
        Span {
            first: u128::from_be_bytes(Address::from(first).0),
            count,
        }
    }

    fn end(self) -> u128 {
        self.first.saturating_add(u128::from(self.count))
    }

    fn overlaps(self, other: Span) -> bool {
        self.first < other.end() && other.first < self.end()
    }
}

impl Place {
    fn span(&self) -> Span {
        Span::new(self.first, self.count)
    }

    /// The row that address `first` has if it continues this place, even far outside of it.
    fn row_of(&self, first: u128) -> u128 {
        first.wrapping_sub(self.span().first).wrapping_add(u128::from(self.row))
    }

    fn rows_end(&self) -> u64 {
        u64::from(self.row) + u64::from(self.count)
    }
}

impl Pools {
    /// Index and row of every claim, in their order. What is not among `wanted` rests; what rested before, and is among
    /// `drained`, goes. `rows` is how many there are.
    ///
    /// # Errors
    /// If a claim finds no index or no rows; `self` is of no use then.
    pub(crate) fn assign(
        &mut self,
        wanted: &[Claim],
        drained: &BTreeSet<u32>,
        rows: u32,
    ) -> Result<Vec<Given>, Refused> {
        let names: BTreeSet<&str> = wanted.iter().map(|claim| claim.name.as_str()).collect();
        let active: BTreeSet<&str> = self.active().map(|place| place.name.as_str()).collect();
        if names != active {
            for (slot, index) in self.slots.iter_mut().zip(0..) {
                let rested = slot.as_ref().is_some_and(|place| place.resting);
                let is_wanted = |place: &Place| names.contains(place.name.as_str());
                slot.take_if(|place| rested && !is_wanted(place) && drained.contains(&index));
                if let Some(place) = slot {
                    place.resting = !is_wanted(place);
                }
            }
            self.add(wanted, rows)?;
        }
        let given: BTreeMap<&str, Given> = (0..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| slot.as_ref().map(|place| (index, place)))
            .map(|(index, place)| (place.name.as_str(), Given { index, row: place.row }))
            .collect();
        Ok(wanted.iter().map(|claim| given[claim.name.as_str()]).collect())
    }

    /// Pools that are not wanted, but keep their place.
    pub(crate) fn resting(&self) -> impl Iterator<Item = u32> + '_ {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(index, slot)| slot.as_ref().filter(|place| place.resting).map(|_| index))
    }

    /// One more than the highest index in use.
    pub(crate) fn used(&self) -> usize {
        let in_use = |slot: &Option<Place>| slot.as_ref().is_some_and(|place| !place.resting);
        self.slots.iter().rposition(in_use).map_or(0, |last| last + 1)
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.slots.iter().flatten()
    }

    fn active(&self) -> impl Iterator<Item = &Place> {
        self.places().filter(|place| !place.resting)
    }

    fn add(&mut self, wanted: &[Claim], rows: u32) -> Result<(), Refused> {
        let known: BTreeSet<String> = self.places().map(|place| place.name.clone()).collect();
        let mut seen = BTreeSet::new();
        let new = wanted
            .iter()
            .filter(|claim| !known.contains(&claim.name) && seen.insert(&claim.name));
        for group in groups(new.collect()) {
            // Together, so that the rows of all of them follow on.
            let spans = || group.iter().map(|claim| Span::new(claim.first, claim.count));
            let first = spans().map(|span| span.first).min().unwrap_or_default();
            let end = spans().map(Span::end).max().unwrap_or_default();
            let whole = Span {
                first,
                count: u32::try_from(end - first).unwrap_or(u32::MAX),
            };
            let base = self.row(&group[0].name, whole, rows)?;
            for claim in group {
                let row = base + (Span::new(claim.first, claim.count).first - first) as u32;
                self.put(claim, row)?;
            }
        }
        Ok(())
    }

    /// The row for the first address of `span`.
    fn row(&self, name: &str, span: Span, rows: u32) -> Result<u32, Refused> {
        let fits = |row: u128| row < u128::from(rows) && row + u128::from(span.count) <= u128::from(rows);
        let mut sharing = self.places().filter(|place| place.span().overlaps(span));
        let Some(sharer) = sharing.next() else {
            let row = self.gap(span.count);
            return fits(row.into())
                .then_some(row as u32)
                .ok_or_else(|| no_rows(name, span.count, rows));
        };
        let row = sharer.row_of(span.first);
        let meets =
            |place: &Place| u128::from(place.row) < row + u128::from(span.count) && row < place.rows_end().into();
        let alike = |place: &Place| place.row_of(span.first) == row;
        if fits(row) && sharing.all(alike) && self.places().all(|place| alike(place) || !meets(place)) {
            Ok(row as u32)
        } else {
            Err(no_room_beside(name, &sharer.name))
        }
    }

    /// The lowest row from which on `count` rows are nobody's, be they within the bound or not.
    fn gap(&self, count: u32) -> u64 {
        let mut taken: Vec<(u64, u64)> = self
            .places()
            .map(|place| (place.row.into(), place.rows_end()))
            .collect();
        taken.sort_unstable();
        let mut row = 0;
        for (first, end) in taken {
            if row + u64::from(count) <= first {
                break;
            }
            row = row.max(end);
        }
        row
    }

    fn put(&mut self, claim: &Claim, row: u32) -> Result<(), Refused> {
        let place = Some(Place {
            name: claim.name.clone(),
            first: claim.first,
            count: claim.count,
            row,
            resting: false,
        });
        match self.slots.iter().position(Option::is_none) {
            Some(index) => self.slots[index] = place,
            None if self.slots.len() < POOLS_MAX => self.slots.push(place),
            None => return Err(no_index(&claim.name)),
        }
        Ok(())
    }
}

/// Claims that share addresses, directly or over others, together.
fn groups(mut claims: Vec<&Claim>) -> Vec<Vec<&Claim>> {
    let span = |claim: &Claim| Span::new(claim.first, claim.count);
    claims.sort_by_key(|claim| span(claim).first);
    let mut groups: Vec<Vec<&Claim>> = Vec::new();
    let mut end = 0;
    for claim in claims {
        match groups.last_mut() {
            Some(group) if span(claim).first < end => group.push(claim),
            _ => groups.push(vec![claim]),
        }
        end = end.max(span(claim).end());
    }
    groups
}

fn no_rows(name: &str, count: u32, rows: u32) -> Refused {
    Refused {
        why: format!(
            "no room for the NAT pool {name}: of the {rows} places for outside addresses no {count} in a row are free, \
             since those of pools removed lately stay taken while their connections last"
        ),
        hint: "raise `limits: { pool-addresses: … }` and restart the dataplane, or apply again when those connections have ended",
    }
}

fn no_room_beside(name: &str, other: &str) -> Refused {
    Refused {
        why: format!(
            "no room for the NAT pool {name}: it shares addresses with {other}, in use now or until lately, and the places \
             beside those are taken"
        ),
        hint: "leave that range as it is and give the added addresses to a rule of their own, \
               or take it out, apply, and add the new one when its connections have ended",
    }
}

fn no_index(name: &str) -> Refused {
    Refused {
        why: format!("no room for the NAT pool {name}: there are {POOLS_MAX} pools, with those removed lately"),
        hint: "use fewer and larger ranges, or apply again when the connections of removed ones have ended",
    }
}

#[cfg(test)]
mod tests;
