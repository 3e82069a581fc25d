//! A batch of flows and the lists of one group: what blocks compare of each flow, and where its lists begin.

use super::policy::{PolicyIndex, Segments};
use super::policy_blocks::{self, Asked, Forks, Heads, OF_ALL, OF_DESTINATION, OF_SOURCE};
use super::policy_direct::{self, OfAddress};
use super::query::PolicyQuery;
use crate::build::policy_format::Lists;
use crate::region_prefetch::prefetch;
use tombolo_wire::Addresses;

/// So many blocks stay in the cache by themselves: 1 MiB.
const NEAR_MAX: usize = 2048;

impl PolicyIndex<'_> {
    /// What the lists of a group find for each flow.
    #[inline(never)]
    pub(super) fn lists_pass<const MOST: usize>(
        &self,
        lists: &Lists,
        query: &impl Fn(usize) -> PolicyQuery,
        best: &mut [u32],
    ) {
        let Some(classes) = policy_direct::of_protocols(self.direct, lists.protocol) else {
            return;
        };
        let direct = OfAddress::of(self.direct, lists.source).zip(OfAddress::of(self.direct, lists.destination));
        let mut asked = Asked::<MOST>::NOBODY;
        let count = best.len().min(MOST);
        match direct {
            _ if lists.first != 0 && lists.source.count == 0 => {
                self.ask(lists, classes, count, query, &mut asked, |_, v4| (v4, [lists.first, 0]));
            }
            Some((sources, destinations)) => {
                self.ask(lists, classes, count, query, &mut asked, |_, v4| (v4, [0; 2]));
                sources.rows(count, &asked.sources, &mut asked.heads[0]);
                destinations.rows(count, &asked.destinations, &mut asked.heads[1]);
                if self.blocks.len() > NEAR_MAX {
                    for flow in 0..count {
                        self.ask_for(asked.heads.map(|heads| heads[flow]));
                    }
                }
            }
            None => self.ask(lists, classes, count, query, &mut asked, |query, _| {
                let (places, heads) = self.places(lists, query);
                self.ask_for(heads);
                (places, heads)
            }),
        }
        let forks = Forks {
            starts: self.narrow_starts,
            heads: self.narrow_rows,
        };
        if lists.first == 0 {
            policy_blocks::walk::<OF_SOURCE, MOST>(self.blocks, forks, &asked, best);
            policy_blocks::walk::<OF_DESTINATION, MOST>(self.blocks, forks, &asked, best);
        } else {
            policy_blocks::walk::<OF_ALL, MOST>(self.blocks, forks, &asked, best);
        }
    }

    /// Writes down what blocks compare of each flow. `find` takes a flow, and its addresses if they are IPv4.
    #[inline(always)]
    fn ask<const MOST: usize>(
        &self,
        lists: &Lists,
        classes: &[u16; 256],
        count: usize,
        query: &impl Fn(usize) -> PolicyQuery,
        asked: &mut Asked<MOST>,
        find: impl Fn(&PolicyQuery, (u32, u32)) -> ((u32, u32), Heads),
    ) {
        let segments = Segments::of_lists(lists);
        let first = query(0);
        let mut known = (first.from, first.to);
        let mut contexts = self.combinations(&segments, known);
        for flow in 0..count {
            let query = query(flow);
            if known != (query.from, query.to) {
                known = (query.from, query.to);
                contexts = self.combinations(&segments, known);
            }
            let class = classes[usize::from(query.protocol)];
            let context = contexts.get(usize::from(class)).copied().unwrap_or(0);
            let v4 = match query.addresses {
                Addresses::V4 { source, destination } => (source, destination),
                Addresses::V6 { .. } => (0, 0),
            };
            let (places, heads) = find(&query, v4);
            asked.set(flow, &query, places, heads, context);
        }
    }

    /// What blocks compare instead of addresses, and the heads, where they are not found directly.
    fn places(&self, lists: &Lists, query: &PolicyQuery) -> ((u32, u32), Heads) {
        match query.addresses {
            Addresses::V4 { source, destination } => {
                let heads = match lists.first {
                    0 => {
                        let by_source = self.narrow::<32>(lists.source, source);
                        [
                            by_source.unwrap_or(0),
                            self.narrow::<32>(lists.destination, destination).unwrap_or(0),
                        ]
                    }
                    first => [first, 0],
                };
                ((source, destination), heads)
            }
            Addresses::V6 { source, destination } => {
                let (source, by_source) = self.interval(lists.source, &source).unwrap_or_default();
                let (destination, by_destination) = self.interval(lists.destination, &destination).unwrap_or_default();
                let heads = match lists.first {
                    0 => [by_source, by_destination],
                    first => [first, 0],
                };
                ((source, destination), heads)
            }
        }
    }

    #[inline(always)]
    fn ask_for(&self, heads: Heads) {
        for head in heads {
            if let Some(block) = self.blocks.get(head as usize) {
                prefetch(&block.source_first);
                prefetch(&block.source_last);
                prefetch(&block.destination_first);
                prefetch(&block.destination_last);
                prefetch(&block.ports_first);
                prefetch(&block.ports_last);
                prefetch(&block.contexts);
                prefetch(&block.members);
            }
        }
    }
}
