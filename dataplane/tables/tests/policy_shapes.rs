//! Compiled policy of many rules, in the shapes that rules have and in those that are worst, against a search rule by rule.

mod common;

use common::rules::first_match;
use common::{policy_rule, tables, world};
use std::net::{Ipv4Addr, Ipv6Addr};
use tombolo_tables::build::World;
use tombolo_tables::layout::*;
use tombolo_tables::view::{PolicyQuery, PolicyVerdict};
use tombolo_wire::Addresses;

/// A xorshift sequence: the same rules in every run.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 11) as usize % end
    }
}

/// A prefix with its bits left-aligned, and their number.
type Prefix = (u128, u8);

const ANY: Prefix = (0, 0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Networks inside networks, services, wildcards in every field.
    Nested,
    /// No addresses at all.
    Wildcards,
    /// One source, one destination, many ports.
    OnePair,
    /// Every prefix of one address.
    Chain,
    /// Each network of some to each.
    Matrix,
    /// A host each, from or to anywhere.
    Hosts,
    /// Few networks, wide ranges of ports.
    Ranges,
    /// Some segments, or any.
    Segments,
}

const SHAPES: [Shape; 8] = [
    Shape::Nested,
    Shape::Wildcards,
    Shape::OnePair,
    Shape::Chain,
    Shape::Matrix,
    Shape::Hosts,
    Shape::Ranges,
    Shape::Segments,
];

struct Maker {
    v6: bool,
    networks: Vec<Prefix>,
    random: Random,
}

impl Maker {
    fn new(v6: bool, count: usize, seed: u64) -> Self {
        let mut random = Random(seed | 1);
        let most = if v6 { 128 } else { 32 };
        let mut networks = vec![(10 << 120, 8), (0x2a << 120, 8)];
        while networks.len() < 2 + count / 3 {
            let (whole, length) = networks[random.below(networks.len())];
            let longer = (length + 1 + random.below(most as usize / 5) as u8).min(most);
            let any = u128::from(random.bits()) << 64 | u128::from(random.bits());
            networks.push((cut(whole | any.checked_shr(length.into()).unwrap_or(0), longer), longer));
        }
        Maker { v6, networks, random }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    fn network(&mut self) -> Prefix {
        let at = self.below(self.networks.len());
        self.networks[at]
    }

    /// Network `number` of those of one size that lie side by side.
    fn beside(&mut self, number: usize, length: u8) -> Prefix {
        (10 << 120 | (number as u128) << (128 - length), length)
    }

    fn range(&mut self, width: usize) -> (u16, u16) {
        let first = self.below(1 << 16) as u16;
        (first, first.saturating_add(self.below(width) as u16))
    }

    fn rule(&mut self, shape: Shape, at: usize, count: usize) -> PolicyRuleRecord {
        let most = if self.v6 { 128 } else { 32 };
        let mut rule = policy_rule([rule_action::ALLOW, rule_action::DENY, rule_action::REJECT][self.below(3)]);
        rule.family = if self.v6 { 6 } else { 4 };
        rule.protocol = [6, 6, 17, 1, 58, 50, wildcard::PROTOCOL][self.below(7)];
        let (source, destination, source_width, width) = match shape {
            Shape::Nested | Shape::Segments => {
                let source = if self.below(5) == 0 { ANY } else { self.network() };
                let destination = if self.below(8) == 0 { ANY } else { self.network() };
                (source, destination, self.below(2) * 70_000, self.below(3) * 4000)
            }
            Shape::Wildcards => (ANY, ANY, 1, 200),
            Shape::OnePair => (self.networks[0], self.networks[1], 1, 3),
            Shape::Chain => {
                let length = |all: &mut Maker| all.below(usize::from(most) + 1) as u8;
                let (one, other) = (length(self), length(self));
                ((cut(10 << 120, one), one), (cut(0x2a << 120, other), other), 1, 30)
            }
            Shape::Matrix => {
                let side = (count as f64).sqrt() as usize + 1;
                (self.beside(at % side, most - 8), self.beside(at / side, most - 8), 0, 0)
            }
            Shape::Hosts => match self.below(2) {
                0 => (self.beside(at * 3, most), ANY, 0, 0),
                _ => (ANY, self.beside(at * 3, most), 0, 0),
            },
            Shape::Ranges => (self.beside(at % 3, 16), self.beside(at % 5, 16), 30_000, 30_000),
        };
        (rule.source, rule.source_length) = self.address(source);
        (rule.destination, rule.destination_length) = self.address(destination);
        if source_width > 0 && self.below(3) == 0 {
            (rule.source_port_first, rule.source_port_last) = self.range(source_width);
        }
        if width > 0 {
            (rule.destination_port_first, rule.destination_port_last) = self.range(width);
        }
        if shape == Shape::Segments {
            let one = |all: &mut Maker| [0, 1, 2, wildcard::SEGMENT][all.below(4)];
            (rule.from, rule.to) = (one(self), one(self));
        }
        rule
    }

    fn address(&self, (bits, length): Prefix) -> (Address, u8) {
        match self.v6 {
            _ if length == 0 => (Ipv6Addr::UNSPECIFIED.into(), 0),
            true => (Ipv6Addr::from(bits).into(), length),
            false => (Ipv4Addr::from((bits >> 96) as u32).into(), 96 + length),
        }
    }

    /// A flow at the edge of a rule or inside, or, now and then, of addresses of another.
    fn flow(&mut self, rules: &[PolicyRuleRecord]) -> PolicyQuery {
        let rule = rules[self.below(rules.len())];
        let other = if self.below(4) == 0 {
            rules[self.below(rules.len())]
        } else {
            rule
        };
        let source = self.inside(rule.source, rule.source_length);
        let destination = self.inside(other.destination, other.destination_length);
        let addresses = match self.v6 {
            true => Addresses::V6 {
                source: source.to_be_bytes(),
                destination: destination.to_be_bytes(),
            },
            false => Addresses::V4 {
                source: source as u32,
                destination: destination as u32,
            },
        };
        let segment = |all: &mut Maker, named: u16| match named {
            wildcard::SEGMENT => SegmentIndex(all.below(4) as u16),
            named => SegmentIndex(named),
        };
        PolicyQuery {
            from: segment(self, rule.from),
            to: segment(self, rule.to),
            addresses,
            protocol: match rule.protocol {
                wildcard::PROTOCOL => [6, 17, 1, 50, 99][self.below(5)],
                named => named,
            },
            source_port: self.port(rule.source_port_first, rule.source_port_last),
            destination_port: self.port(rule.destination_port_first, rule.destination_port_last),
        }
    }

    fn inside(&mut self, prefix: Address, length: u8) -> u128 {
        let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
        let first = u128::from_be_bytes(prefix.0) & !host;
        match self.below(8) {
            0 => first,
            1 => first | host,
            2 => first.wrapping_sub(1),
            3 => (first | host).wrapping_add(1),
            _ => first | (u128::from(self.random.bits()) << 64 | u128::from(self.random.bits())) & host,
        }
    }

    fn port(&mut self, first: u16, last: u16) -> u16 {
        match self.below(6) {
            0 => first,
            1 => last,
            2 => first.wrapping_sub(1),
            3 => last.wrapping_add(1),
            _ => first + self.below(usize::from(last - first) + 1) as u16,
        }
    }
}

fn cut(bits: u128, length: u8) -> u128 {
    bits & !u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

/// Bytes that so many rules may take, however they are made: `decisions/0014`.
fn bytes_max(rules: usize) -> usize {
    rules * 2200 + (66 << 20)
}

fn check(shape: Shape, v6: bool, count: usize, flows: usize) {
    let mut maker = Maker::new(v6, count, 0x9e37_79b9_7f4a_7c15 ^ (count as u64) << 8 ^ shape as u64);
    let rules: Vec<_> = (0..count).map(|at| maker.rule(shape, at, count)).collect();
    let flows: Vec<_> = (0..flows).map(|_| maker.flow(&rules)).collect();
    let world = World {
        policy_rules: rules,
        ..world(3)
    };
    let sections = world.build().unwrap();
    let bytes = sections.get(SectionId::PolicyIndex).len();
    assert!(bytes <= bytes_max(count), "{shape:?} {count}: {bytes} bytes");
    let tables = tables(&sections);
    let mut verdicts = vec![PolicyVerdict::Deny { rule: u32::MAX }; flows.len()];
    tables.policy_batch(&flows, &mut verdicts);
    let mut decided = 0;
    for (flow, verdict) in flows.iter().zip(verdicts) {
        assert_eq!(
            verdict,
            first_match(&world.policy_rules, flow),
            "{shape:?}, {count} rules, {flow:?}"
        );
        assert_eq!(tables.policy(flow), verdict, "{shape:?}, {count} rules, {flow:?}");
        decided += usize::from(verdict != PolicyVerdict::Default);
    }
    assert!(
        decided * 5 > flows.len(),
        "{shape:?} {count}: only {decided} flows are decided"
    );
}

#[test]
fn few_rules_of_every_shape_match_the_reference() {
    for shape in SHAPES {
        for v6 in [false, true] {
            for count in [1, 10, 31, 32, 33, 34, 100, 300] {
                check(shape, v6, count, 400);
            }
        }
    }
}

#[test]
fn thousands_of_rules_of_every_shape_match_the_reference() {
    for shape in SHAPES {
        for v6 in [false, true] {
            for count in [1000, 1025, 5000] {
                check(shape, v6, count, 400);
            }
        }
    }
}

#[test]
fn a_hundred_thousand_rules_of_every_shape_match_the_reference_within_the_bound_of_memory() {
    for shape in SHAPES {
        for v6 in [false, true] {
            check(shape, v6, 100_000, 100);
        }
    }
}
