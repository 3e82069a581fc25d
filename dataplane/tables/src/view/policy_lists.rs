//! A batch of flows and the lists of one group: what blocks compare of each flow, and where its lists begin.

use super::policy::{PolicyIndex, Segments};
use super::policy_blocks::{self, Asked, Step};
use super::policy_direct::OfAddress;
use super::query::PolicyQuery;
use crate::build::policy_format::Lists;
use crate::region_prefetch::prefetch;
use tombolo_wire::Addresses;

/// The first blocks of a flow's lists, by source and by destination.
type Heads = (u32, u32);

impl PolicyIndex<'_> {
    /// What the lists of a group find for each flow.
    pub(super) fn lists_pass<const MOST: usize>(&self, lists: &Lists, queries: &[PolicyQuery], best: &mut [u32]) {
        let mut asked = [Asked::NOBODY; MOST];
        let mut of_source = [Step::default(); MOST];
        let mut of_destination = [Step::default(); MOST];
        let segments = Segments::of_lists(lists);
        let direct = OfAddress::of(self.direct, lists.source).zip(OfAddress::of(self.direct, lists.destination));
        let mut known = None;
        for (flow, query) in queries.iter().enumerate() {
            let contexts = match known {
                Some((from, to, contexts)) if (from, to) == (query.from, query.to) => contexts,
                _ => self.combinations(&segments, query),
            };
            known = Some((query.from, query.to, contexts));
            let protocol = self.narrow::<8>(lists.protocol, u32::from(query.protocol));
            let context = protocol
                .and_then(|class| contexts.get(class as usize))
                .copied()
                .unwrap_or(0);
            let (places, heads) = match (&direct, query.addresses) {
                (Some((sources, destinations)), Addresses::V4 { source, destination }) => {
                    let heads = sources.row(source).zip(destinations.row(destination));
                    ((source, destination), heads.unwrap_or_default())
                }
                _ => self.places(lists, query),
            };
            self.ask_for(heads);
            asked[flow] = Asked::new(query, places, context);
            of_source[flow] = Step {
                block: heads.0,
                flow: flow as u32,
            };
            of_destination[flow] = Step {
                block: heads.1,
                flow: flow as u32,
            };
        }
        policy_blocks::walk(self.blocks, &asked, &mut of_source[..queries.len()], best);
        if lists.first == 0 {
            policy_blocks::walk(self.blocks, &asked, &mut of_destination[..queries.len()], best);
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
