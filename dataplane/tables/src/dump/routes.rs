//! The effective routes of every segment, read back from the tries.

use super::line::{Line, name, next_hop};
use crate::layout::{Address, NextHop, SegmentIndex};
use crate::view::Tables;
use core::net::Ipv4Addr;

/// Lookups that a segment's walk makes at most: more than any real table needs; broken bytes could ask for far more.
const STEPS_MAX: usize = 1 << 26;

/// Ranges of destinations with the same next hop; what is unreachable is left out.
pub(super) fn routes(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "routes");
    for (at, record) in tables.segments().iter().enumerate() {
        let segment = SegmentIndex(at as u16);
        let place = format!("{} {}", at, name(&record.name));
        let v4 = |from: u128| {
            let (next_hop, bits) = tables.stretch4(segment, from as u32);
            (next_hop, u128::from(u32::MAX.checked_shr(bits).unwrap_or(0)))
        };
        for (first, last, to) in ranges(v4, u32::MAX.into()) {
            let address = |bits: u128| Ipv4Addr::from(bits as u32).into();
            let length = host_bits(first, last).map(|bits| 32 - bits);
            range(text, &place, (address(first), address(last)), length, to);
        }
        let v6 = |from: u128| {
            let (next_hop, bits) = tables.stretch6(segment, from);
            (next_hop, u128::MAX.checked_shr(bits).unwrap_or(0))
        };
        for (first, last, to) in ranges(v6, u128::MAX) {
            let address = |bits: u128| Address(bits.to_be_bytes());
            let length = host_bits(first, last).map(|bits| 128 - bits);
            range(text, &place, (address(first), address(last)), length, to);
        }
    }
}

/// Steps from stretch to stretch: `look` tells a destination's next hop and how far it holds at least.
fn ranges(look: impl Fn(u128) -> (NextHop, u128), end: u128) -> Vec<(u128, u128, NextHop)> {
    let mut ranges = Vec::<(u128, u128, NextHop)>::new();
    let mut from = 0;
    for _ in 0..STEPS_MAX {
        let (to, host_mask) = look(from);
        let last = from | host_mask;
        match ranges.last_mut() {
            Some((_, until, same)) if *same == to => *until = last,
            _ => ranges.push((from, last, to)),
        }
        if last >= end {
            break;
        }
        from = last + 1;
    }
    ranges.retain(|(_, _, to)| *to != NextHop::Unreachable);
    ranges
}

/// The host bits of a range that is one prefix.
fn host_bits(first: u128, last: u128) -> Option<u32> {
    let differ = first ^ last;
    let is_prefix = differ & differ.wrapping_add(1) == 0 && first & differ == 0;
    is_prefix.then_some(u128::BITS - differ.leading_zeros())
}

fn range(text: &mut String, place: &str, (first, last): (Address, Address), length: Option<u32>, to: NextHop) {
    let destination = match length {
        Some(length) => format!("{first}/{length}"),
        None => format!("{first}-{last}"),
    };
    Line::new(text, place)
        .field("to", destination)
        .field("via", next_hop(to));
}
