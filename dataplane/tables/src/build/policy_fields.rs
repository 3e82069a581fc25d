//! The five fields of a chunk of policy rules, cut into intervals with the rules that match in each.

use crate::layout::{Address, PolicyRuleRecord, wildcard};
use crate::view::{has_ports, has_type};
use core::ops::RangeInclusive;
use std::collections::BTreeMap;

/// A bit per rule.
pub(super) type Row = Vec<u64>;

/// What one rule asks of each field. Addresses and ports are numbers in host order.
pub(super) struct Ranges {
    pub(super) from: RangeInclusive<u128>,
    pub(super) to: RangeInclusive<u128>,
    pub(super) source: RangeInclusive<u128>,
    pub(super) destination: RangeInclusive<u128>,
    pub(super) protocol: RangeInclusive<u128>,
    pub(super) source_port: RangeInclusive<u128>,
    pub(super) destination_port: RangeInclusive<u128>,
}

const ANY_PORT: RangeInclusive<u128> = 0..=u16::MAX as u128;

/// What the rule asks of packets of that family (4 or 6).
///
/// # Errors
/// The name of a field that no packet could match.
pub(super) fn ranges(rule: &PolicyRuleRecord, family: u32) -> Result<Ranges, &'static str> {
    if rule.source_port_first > rule.source_port_last {
        return Err("source port range");
    }
    if rule.destination_port_first > rule.destination_port_last {
        return Err("destination port range");
    }
    let any_protocol = rule.protocol == wildcard::PROTOCOL;
    let source_port_counts = any_protocol || has_ports(rule.protocol);
    let destination_port_counts = source_port_counts || has_type(rule.protocol);
    let ports = |counts: bool, first: u16, last: u16| if counts { first.into()..=last.into() } else { ANY_PORT };
    let segment = |number: u16| match number {
        wildcard::SEGMENT => ANY_PORT,
        one => one.into()..=one.into(),
    };
    Ok(Ranges {
        from: segment(rule.from),
        to: segment(rule.to),
        source: addresses(rule.source, rule.source_length, family).ok_or("source prefix")?,
        destination: addresses(rule.destination, rule.destination_length, family).ok_or("destination prefix")?,
        protocol: if any_protocol {
            0..=u8::MAX.into()
        } else {
            rule.protocol.into()..=rule.protocol.into()
        },
        source_port: ports(source_port_counts, rule.source_port_first, rule.source_port_last),
        destination_port: ports(
            destination_port_counts,
            rule.destination_port_first,
            rule.destination_port_last,
        ),
    })
}

/// The addresses of a prefix whose length counts in mapped form; IPv4 addresses as their 32 bits.
fn addresses(prefix: Address, length: u8, family: u32) -> Option<RangeInclusive<u128>> {
    let host_bits = 128u32.checked_sub(length.into())?;
    let host_mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |above| above - 1);
    let first = u128::from_be_bytes(prefix.0) & !host_mask;
    let (first, last) = (first, first | host_mask);
    match family {
        4 if length == 0 => Some(0..=u32::MAX.into()),
        4 => Some(u128::from(first as u32)..=u128::from(last as u32)),
        _ => Some(first..=last),
    }
}

/// A chunk's fields: for each the starts of its intervals, the first at 0, with the rules that match from there on.
pub(super) struct Fields {
    pub(super) from: Vec<(u128, Row)>,
    pub(super) to: Vec<(u128, Row)>,
    pub(super) source: Vec<(u128, Row)>,
    pub(super) destination: Vec<(u128, Row)>,
    pub(super) protocol: Vec<(u128, Row)>,
    pub(super) source_port: Vec<(u128, Row)>,
    pub(super) destination_port: Vec<(u128, Row)>,
    /// Rules that match packets without a source port.
    pub(super) no_source_port: Row,
    /// Rules that match packets without a destination port.
    pub(super) no_destination_port: Row,
}

impl Fields {
    /// Rule *n* of the slice is bit *n*.
    pub(super) fn new(rules: &[&Ranges]) -> Self {
        let cut =
            |field: fn(&Ranges) -> &RangeInclusive<u128>| intervals(rules.iter().map(|rule| field(rule)), rules.len());
        let any = |field: fn(&Ranges) -> &RangeInclusive<u128>| {
            let mut bits = vec![0; rules.len().div_ceil(64)];
            let matching = rules.iter().enumerate().filter(|(_, rule)| *field(rule) == ANY_PORT);
            matching.for_each(|(bit, _)| bits[bit / 64] |= 1 << (bit % 64));
            bits
        };
        Fields {
            from: cut(|rule| &rule.from),
            to: cut(|rule| &rule.to),
            source: cut(|rule| &rule.source),
            destination: cut(|rule| &rule.destination),
            protocol: cut(|rule| &rule.protocol),
            source_port: cut(|rule| &rule.source_port),
            destination_port: cut(|rule| &rule.destination_port),
            no_source_port: any(|rule| &rule.source_port),
            no_destination_port: any(|rule| &rule.destination_port),
        }
    }
}

/// Walks the values where rules begin or cease to match, in ascending order.
pub(super) fn intervals<'a>(ranges: impl Iterator<Item = &'a RangeInclusive<u128>>, rules: usize) -> Vec<(u128, Row)> {
    let mut flips = BTreeMap::<u128, Vec<usize>>::from([(0, Vec::new())]);
    for (bit, range) in ranges.enumerate() {
        flips.entry(*range.start()).or_default().push(bit);
        if let Some(behind) = range.end().checked_add(1) {
            flips.entry(behind).or_default().push(bit);
        }
    }
    let mut bits = vec![0u64; rules.div_ceil(64)];
    let mut intervals = Vec::<(u128, Row)>::with_capacity(flips.len());
    for (start, flipped) in flips {
        flipped.iter().for_each(|bit| bits[bit / 64] ^= 1 << (bit % 64));
        if intervals.last().is_none_or(|(_, before)| *before != bits) {
            intervals.push((start, bits.clone()));
        }
    }
    intervals
}
