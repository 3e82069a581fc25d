//! Hairpin (RFC 4787 REQ-9): a host inside talks to the outside address of another host inside, which a port forward or the
//! other's own mapping gives it. The packet goes out and in again in one step: every translation and every rule that it would
//! meet on the way applies.

use super::{
    Egress, FindMapped, Forward, Question, Translated, admit, destination_nat, is_translatable, refuse_clear_text,
    resolve, reverse_hop, source_nat, with_destination,
};
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{Address, NextHop, PortIndex, SegmentIndex};
use tombolo_tables::view::{PolicyQuery, Tables};
use tombolo_wire::{Addresses, protocol};

/// The decision for a packet to an address of `port`, in the segment `outside`. None when it is no hairpin: the address is of
/// the packet's own segment, or nobody is behind it.
pub(super) fn decide(
    tables: &Tables<'_>,
    question: &Question,
    outside: SegmentIndex,
    port: PortIndex,
    find: FindMapped<'_>,
) -> Result<Option<Forward>, DropReason> {
    if outside == question.segment {
        return Ok(None);
    }
    let forwarded = destination_nat(tables, question, outside);
    let translated = if forwarded.changed {
        forwarded
    } else {
        match to_mapped(tables, question, port, find) {
            Some(translated) => translated,
            None => return Ok(None),
        }
    };
    if !is_translatable(question) {
        return Err(DropReason::NatUntranslatable);
    }
    let Egress {
        segment: egress,
        next_hop,
    } = resolve(tables, translated.segment, &translated.addresses, question.ports());
    match next_hop {
        NextHop::Unreachable | NextHop::Segment(_) | NextHop::Bundle(_) => return Err(DropReason::NoRoute),
        NextHop::Discard => return Err(DropReason::RouteDiscard),
        NextHop::Local(_) => return Err(DropReason::NatUntranslatable),
        NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_) => {}
    }
    refuse_clear_text(tables, question, egress, next_hop)?;
    let out = question.query(outside, question.addresses, question.destination_port);
    admit(tables, &out)?;
    // Without an outside source the answer would go straight to the asker, from an address it never spoke to.
    let pool = source_nat(tables, &out, NextHop::Local(port))?.ok_or(DropReason::NatUntranslatable)?;
    let back = PolicyQuery {
        from: outside,
        ..question.query(egress, translated.addresses, translated.destination_port)
    };
    let rule = admit(tables, &back)?;
    Ok(Some(Forward {
        egress,
        next_hop,
        reverse_next_hop: reverse_hop(tables, question)?,
        addresses: translated.addresses,
        destination_port: translated.destination_port,
        source_pool: Some(pool),
        destination_translated: true,
        rule,
    }))
}

/// The packet to the host whose mapping's outside endpoint is the destination, an address of `port`. An echo request is the
/// gateway's own: its identifier is the asker's, and names no mapping.
fn to_mapped(tables: &Tables<'_>, question: &Question, port: PortIndex, find: FindMapped<'_>) -> Option<Translated> {
    if !matches!(question.protocol, protocol::TCP | protocol::UDP) {
        return None;
    }
    let outside = match question.addresses {
        Addresses::V4 { destination, .. } => core::net::Ipv4Addr::from(destination).into(),
        Addresses::V6 { destination, .. } => Address(destination),
    };
    let mapped = find(question.protocol, outside, question.destination_port)?;
    // Another segment may have the same address.
    let pool = tables.pools().get(mapped.pool.usize())?;
    if pool.port != port.0 {
        return None;
    }
    Some(Translated {
        segment: mapped.segment,
        addresses: with_destination(question.addresses, mapped.address)?,
        destination_port: mapped.port,
        changed: true,
    })
}
