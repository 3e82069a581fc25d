//! Where addresses lead, remembered for one generation: few hosts begin most flows, and they are where replies go.
//!
//! A direct-mapped cache. What is not in it is looked up a batch at a time, as for packets of a segment without sessions.

use super::query::query;
use tombolo_flow::decide::member;
use tombolo_packet_io::BATCH;
use tombolo_tables::layout::{NextHop, SegmentIndex};
use tombolo_tables::view::Tables;

/// Leads remembered at a time: 16 KiB.
const REMEMBERED: usize = 1024;
/// In the key of every lead that is one.
const TAKEN: u64 = 1 << 63;

/// Where an address leads from a segment, one change of segment followed.
#[derive(Clone, Copy, Default)]
pub(super) struct Lead {
    /// Segment that it leads into.
    pub(super) egress: SegmentIndex,
    /// `NextHop` bits, never of a segment; of a bundle where one chooses.
    pub(super) hop: u32,
}

impl Lead {
    /// Whether it leads out of the gateway.
    #[inline(always)]
    pub(super) fn leads_out(self) -> bool {
        matches!(
            NextHop::from_bits(self.hop),
            NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_)
        )
    }

    /// The same for one flow, whose key words these are.
    #[inline(always)]
    pub(super) fn of_flow(self, tables: &Tables<'_>, key: [u64; 2]) -> Self {
        Lead {
            hop: of_flow(tables, self.hop, key),
            ..self
        }
    }

    /// Whether it leads to the gateway itself.
    #[inline(always)]
    pub(super) fn is_local(self) -> bool {
        matches!(NextHop::from_bits(self.hop), NextHop::Local(_))
    }
}

#[derive(Clone, Copy, Default)]
struct Known {
    key: u64,
    lead: Lead,
}

/// The cache.
pub(super) struct Leads {
    known: Box<[Known; REMEMBERED]>,
}

impl Default for Leads {
    fn default() -> Self {
        Leads {
            known: Box::new([Known::default(); REMEMBERED]),
        }
    }
}

/// Addresses that are not in the cache.
struct Missed {
    places: [u8; BATCH],
    addresses: [u32; BATCH],
    count: usize,
}

impl Leads {
    /// A new generation: everything is to be looked up again.
    pub(super) fn forget(&mut self) {
        self.known.fill(Known::default());
    }

    /// The lead of each address (at most a batch of them), as `flow::decide` resolves it.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        tables: &Tables<'_>,
        segment: SegmentIndex,
        addresses: &[u32],
        leads: &mut [Lead; BATCH],
    ) {
        let mut differ = 0;
        for (address, lead) in addresses.iter().zip(leads.iter_mut()) {
            let (key, place) = place_of(segment, *address);
            let known = &self.known[place];
            *lead = known.lead;
            differ |= known.key ^ key;
        }
        if differ != 0 {
            self.look_up(tables, segment, addresses, leads);
        }
    }

    /// Those that are not in the cache.
    fn missed(&self, segment: SegmentIndex, addresses: &[u32]) -> Missed {
        let mut missed = Missed {
            places: [0; BATCH],
            addresses: [0; BATCH],
            count: 0,
        };
        for (at, address) in addresses.iter().enumerate().take(BATCH) {
            let (key, place) = place_of(segment, *address);
            missed.places[missed.count % BATCH] = at as u8;
            missed.addresses[missed.count % BATCH] = *address;
            missed.count += usize::from(self.known[place].key != key);
        }
        missed
    }

    #[inline(never)]
    fn look_up(&mut self, tables: &Tables<'_>, segment: SegmentIndex, addresses: &[u32], leads: &mut [Lead; BATCH]) {
        let missed = self.missed(segment, addresses);
        let count = missed.count.min(BATCH);
        let addresses = &missed.addresses[..count];
        let mut hops = [0; BATCH];
        tables.routes4_batch(segment, addresses, &mut hops[..count]);
        let beyond = beyond(tables, addresses, &hops[..count]);
        for at in 0..count {
            let lead = match NextHop::from_bits(hops[at]) {
                NextHop::Segment(other) => {
                    let hop = match beyond {
                        Some((followed, hops)) if followed == other => hops[at],
                        Some(_) | None => tables.route4(other, addresses[at]).to_bits(),
                    };
                    let leads_on = matches!(NextHop::from_bits(hop), NextHop::Segment(_));
                    Lead {
                        egress: other,
                        hop: if leads_on { NextHop::Unreachable.to_bits() } else { hop },
                    }
                }
                NextHop::Unreachable
                | NextHop::Discard
                | NextHop::Neighbour(_)
                | NextHop::OnLink(_)
                | NextHop::Tunnel(_)
                | NextHop::Bundle(_)
                | NextHop::Local(_) => Lead {
                    egress: segment,
                    hop: hops[at],
                },
            };
            let (key, place) = place_of(segment, addresses[at]);
            self.known[place] = Known { key, lead };
            leads[usize::from(missed.places[at]) % BATCH] = lead;
        }
    }
}

/// What the segment that the first of these routes leads into says of all addresses: nearly always the only one that any of them leads into.
fn beyond(tables: &Tables<'_>, addresses: &[u32], hops: &[u32]) -> Option<(SegmentIndex, [u32; BATCH])> {
    let into = |hop: &u32| {
        if let NextHop::Segment(other) = NextHop::from_bits(*hop) {
            Some(other)
        } else {
            None
        }
    };
    let other = hops.iter().find_map(into)?;
    let mut found = [0; BATCH];
    tables.routes4_batch(other, addresses, &mut found[..addresses.len()]);
    Some((other, found))
}

/// The hop of one flow, whose key words these are: the tunnel that carries it where the hop is a bundle.
#[inline(always)]
pub(super) fn of_flow(tables: &Tables<'_>, hop: u32, key: [u64; 2]) -> u32 {
    let NextHop::Bundle(bundle) = NextHop::from_bits(hop) else {
        return hop;
    };
    // From where and into what it leads does not matter here.
    let flow = query(SegmentIndex(0), SegmentIndex(0), key);
    let ports = [flow.source_port, flow.destination_port];
    member(tables, bundle, &flow.addresses, ports).to_bits()
}

#[inline(always)]
fn place_of(segment: SegmentIndex, address: u32) -> (u64, usize) {
    let key = TAKEN | u64::from(segment.0) << 32 | u64::from(address);
    (
        key,
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % REMEMBERED,
    )
}
