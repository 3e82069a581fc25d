//! A batch of flows and the lists of one group: what blocks compare of each flow, and where its lists begin.

use super::policy::{PolicyIndex, Segments};
use super::policy_blocks::{self, Asked, Forks, Step};
use super::policy_direct::{self, OfAddress};
use super::query::PolicyQuery;
use crate::build::policy_format::Lists;
use crate::region_prefetch::prefetch;
use tombolo_wire::Addresses;

/// The first blocks of a flow's lists, by source and by destination.
type Heads = (u32, u32);

/// So many blocks stay in the cache by themselves: 1 MiB.
const NEAR_MAX: usize = 2048;

/// Scratch of one pass.
struct Batch<const MOST: usize> {
    asked: [Asked; MOST],
    of_source: [Step; MOST],
    of_destination: [Step; MOST],
}

impl<const MOST: usize> Batch<MOST> {
    #[inline(always)]
    fn new() -> Self {
        Batch {
            asked: [Asked::NOBODY; MOST],
            of_source: [Step::default(); MOST],
            of_destination: [Step::default(); MOST],
        }
    }
}

impl PolicyIndex<'_> {
    /// What the lists of a group find for each flow.
    #[inline(never)]
    pub(super) fn lists_pass<const MOST: usize>(&self, lists: &Lists, queries: &[PolicyQuery], best: &mut [u32]) {
        let mut batch = Batch::<MOST>::new();
        let direct = OfAddress::of(self.direct, lists.source).zip(OfAddress::of(self.direct, lists.destination));
        let far = self.blocks.len() > NEAR_MAX;
        let forks = Forks {
            starts: self.narrow_starts,
            heads: self.narrow_rows,
        };
        match direct {
            _ if lists.first != 0 && lists.source.count == 0 => {
                self.ask(lists, queries, &mut batch, |_, places| (places, (lists.first, 0)));
            }
            Some((sources, destinations)) => self.ask(lists, queries, &mut batch, |_, places| {
                let heads = sources
                    .row(places.0)
                    .zip(destinations.row(places.1))
                    .unwrap_or_default();
                if far {
                    self.ask_for(heads);
                }
                (places, heads)
            }),
            None => self.ask(lists, queries, &mut batch, |query, _| {
                let (places, heads) = self.places(lists, query);
                self.ask_for(heads);
                (places, heads)
            }),
        }
        policy_blocks::walk(
            self.blocks,
            forks,
            &batch.asked,
            &mut batch.of_source[..queries.len()],
            best,
        );
        if lists.first == 0 {
            policy_blocks::walk(
                self.blocks,
                forks,
                &batch.asked,
                &mut batch.of_destination[..queries.len()],
                best,
            );
        }
    }

    /// Writes down what blocks compare of each flow. `find` takes a flow, and its addresses if they are IPv4.
    #[inline(always)]
    fn ask<const MOST: usize>(
        &self,
        lists: &Lists,
        queries: &[PolicyQuery],
        batch: &mut Batch<MOST>,
        find: impl Fn(&PolicyQuery, (u32, u32)) -> ((u32, u32), Heads),
    ) {
        let Some(classes) = policy_direct::of_protocols(self.direct, lists.protocol) else {
            return;
        };
        let segments = Segments::of_lists(lists);
        let Some(first) = queries.first() else { return };
        let mut known = (first.from, first.to);
        let mut contexts = self.combinations(&segments, first);
        let rows = batch
            .asked
            .iter_mut()
            .zip(&mut batch.of_source)
            .zip(&mut batch.of_destination);
        for (flow, (query, ((asked, of_source), of_destination))) in queries.iter().zip(rows).enumerate() {
            if known != (query.from, query.to) {
                known = (query.from, query.to);
                contexts = self.combinations(&segments, query);
            }
            let class = classes[usize::from(query.protocol)];
            let context = contexts.get(usize::from(class)).copied().unwrap_or(0);
            let v4 = match query.addresses {
                Addresses::V4 { source, destination } => (source, destination),
                Addresses::V6 { .. } => (0, 0),
            };
            let (places, heads) = find(query, v4);
            *asked = Asked::new(query, places, context);
            *of_source = Step {
                block: heads.0,
                flow: flow as u32,
            };
            *of_destination = Step {
                block: heads.1,
                flow: flow as u32,
            };
        }
    }

    /// What blocks compare instead of addresses, and the heads, where they are not found directly.
    fn places(&self, lists: &Lists, query: &PolicyQuery) -> ((u32, u32), Heads) {
        match query.addresses {
            Addresses::V4 { source, destination } => {
                let heads = match lists.first {
                    0 => {
                        let by_source = self.narrow::<32>(lists.source, source);
                        (
                            by_source.unwrap_or(0),
                            self.narrow::<32>(lists.destination, destination).unwrap_or(0),
                        )
                    }
                    first => (first, 0),
                };
                ((source, destination), heads)
            }
            Addresses::V6 { source, destination } => {
                let (source, by_source) = self.interval(lists.source, &source).unwrap_or_default();
                let (destination, by_destination) = self.interval(lists.destination, &destination).unwrap_or_default();
                let heads = match lists.first {
                    0 => (by_source, by_destination),
                    first => (first, 0),
                };
                ((source, destination), heads)
            }
        }
    }

    #[inline(always)]
    fn ask_for(&self, heads: Heads) {
        for head in [heads.0, heads.1] {
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
