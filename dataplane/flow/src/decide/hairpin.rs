//! Hairpin (RFC 4787 REQ-9): a host inside talks to the outside address of a port forward whose host is inside too. The packet
//! goes out and in again in one step: every translation and every rule that it would meet on the way applies.

use super::{
    Egress, Forward, Question, admit, destination_nat, is_translatable, refuse_clear_text, resolve, reverse_hop,
    source_nat,
};
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{NextHop, PortIndex, SegmentIndex};
use tombolo_tables::view::{PolicyQuery, Tables};

/// The decision for a packet to an address of `port`, in the segment `outside`. None when it is no hairpin: the address is of
/// the packet's own segment, or forwards nothing.
pub(super) fn decide(
    tables: Tables<'_>,
    question: &Question,
    outside: SegmentIndex,
    port: PortIndex,
) -> Result<Option<Forward>, DropReason> {
    if outside == question.segment {
        return Ok(None);
    }
    let translated = destination_nat(tables, question, outside);
    if !translated.changed {
        return Ok(None);
    }
    if !is_translatable(question) {
        return Err(DropReason::NatUntranslatable);
    }
    let Egress {
        segment: egress,
        next_hop,
    } = resolve(tables, translated.segment, &translated.addresses);
    match next_hop {
        NextHop::Unreachable | NextHop::Segment(_) => return Err(DropReason::NoRoute),
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
