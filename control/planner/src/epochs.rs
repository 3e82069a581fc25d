//! Epochs: sessions are decided again when, and only when, what decided them changed.
//!
//! A segment's inputs are its routes, the policy and NAT rules that can touch it, the pools those draw on, and whether its
//! ports face the underlay. Neighbours, SAs, links and other segments are none of them. The inputs are compared by digest,
//! which the indices carry from plan to plan.

use crate::Draft;
use crate::digest::Digest;
use crate::indices::SegmentEpoch;
use tombolo_tables::build::{Route, World};
use tombolo_tables::layout::{NextHop, PoolRecord, SegmentIndex, nat_kind, port_flag, wildcard};
use zerocopy::IntoBytes;

pub(crate) fn fill(draft: &mut Draft<'_>) {
    let count = draft.plan.indices.segments.len();
    draft.plan.indices.epochs.resize(count, SegmentEpoch::default());
    for index in draft.segments.clone() {
        let inputs = inputs(&draft.plan.world, index);
        let slot = &mut draft.plan.indices.epochs[index.usize()];
        // A slot's epoch goes on over owners, so that no session of an earlier segment fits a later one.
        if slot.inputs != inputs {
            *slot = SegmentEpoch {
                epoch: slot.epoch.wrapping_add(1),
                inputs,
            };
        }
        draft.plan.world.segments[index.usize()].epoch = slot.epoch;
    }
}

fn inputs(world: &World, segment: SegmentIndex) -> String {
    let mut digest = Digest::new("tombolo epoch 1");
    let record = &world.segments[segment.usize()];
    digest.add(&record.name);
    digest.add(&record.flags.to_le_bytes());
    for (index, port) in world
        .ports
        .iter()
        .enumerate()
        .filter(|(_, port)| port.segment == segment.0 && port.name != [0; 16])
    {
        digest.add(&(index as u64).to_le_bytes());
        digest.add(&(port.flags & port_flag::UNDERLAY).to_le_bytes());
    }
    for route in world
        .routes
        .iter()
        .filter(|route| route.segment == segment && !is_learned(route))
    {
        add_route(&mut digest, world, route);
    }
    let touches = |from: u16, to: u16| {
        [from, to]
            .iter()
            .any(|name| *name == segment.0 || *name == wildcard::SEGMENT)
    };
    for rule in world.policy_rules.iter().filter(|rule| touches(rule.from, rule.to)) {
        digest.add(rule.as_bytes());
    }
    for rule in world.nat_rules.iter().filter(|rule| touches(rule.from, rule.to)) {
        digest.add(rule.as_bytes());
        let drawn = |(index, pool): &(usize, &PoolRecord)| match rule.kind {
            nat_kind::SOURCE_POOL => *index == rule.pool as usize,
            nat_kind::SOURCE_PORT_ADDRESS => world
                .ports
                .get(usize::from(pool.port))
                .is_some_and(|port| port.segment == rule.to),
            _ => false,
        };
        for (index, pool) in world.pools.iter().enumerate().filter(drawn) {
            digest.add(&(index as u64).to_le_bytes());
            digest.add(pool.as_bytes());
        }
    }
    digest.hex()
}

/// A link-local address of our own appears when a link comes up; no session depends on it.
fn is_learned(route: &Route) -> bool {
    let link_local = route.prefix.0[0] == 0xfe && route.prefix.0[1] & 0xc0 == 0x80;
    route.v6 && link_local && matches!(route.next_hop, NextHop::Local(_))
}

fn add_route(digest: &mut Digest, world: &World, route: &Route) {
    digest.add(&route.prefix.0);
    digest.add(&[route.length, u8::from(route.v6)]);
    digest.add(&route.next_hop.to_bits().to_le_bytes());
    // An index that got another owner is another next hop.
    if let NextHop::Neighbour(index) = route.next_hop
        && let Some(neighbour) = world.neighbours.get(index.usize())
    {
        digest.add(&neighbour.address.0);
        digest.add(&neighbour.port.to_le_bytes());
    }
    if let NextHop::Tunnel(index) = route.next_hop
        && let Some(tunnel) = world.tunnels.get(index.usize())
    {
        digest.add(&tunnel.name);
    }
    if let NextHop::Bundle(index) = route.next_hop
        && let Some(bundle) = world.bundles.get(index.usize())
    {
        digest.add(bundle.as_bytes());
    }
}
