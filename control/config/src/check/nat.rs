//! NAT rules.

use super::{NOWHERE, Scope, family, ports_need_protocol};
use crate::model::{DestinationNat, Gateway, Port, SegmentId, SourceAddress, SourceNat};
use crate::problem::{Place, Problems};
use crate::raw::{RawDestinationNat, RawGateway, RawSourceNat};
use crate::reader::At;
use crate::scalars::SourceAddressWord;
use crate::value::{AddressRange, PortRange, Prefix, Protocol, special};
use core::net::IpAddr;

/// Outside ports of a pool unless it says otherwise.
const POOL_PORTS: PortRange = PortRange::new(1024, u16::MAX);

pub(super) fn resolve_source(raw: &RawGateway, scope: &Scope<'_>, problems: &mut Problems) -> Vec<SourceNat> {
    source_rules(raw)
        .map(|rule| source_rule(rule, scope, problems))
        .collect()
}

fn source_rules(raw: &RawGateway) -> impl Iterator<Item = &RawSourceNat> {
    raw.nat.iter().filter_map(|nat| nat.source.as_ref()).flatten()
}

fn destination_rules(raw: &RawGateway) -> impl Iterator<Item = &RawDestinationNat> {
    raw.nat.iter().filter_map(|nat| nat.destination.as_ref()).flatten()
}

fn prefix_family(at: &At<Prefix>) -> (Place, bool) {
    (at.place, at.value.is_v6())
}

fn source_rule(raw: &RawSourceNat, scope: &Scope<'_>, problems: &mut Problems) -> SourceNat {
    let outside = match raw.address.value {
        SourceAddressWord::Range(range) => Some((raw.address.place, range.first().is_ipv6())),
        SourceAddressWord::Port | SourceAddressWord::Keep => None,
    };
    let parts = [
        raw.source.as_ref().map(prefix_family),
        raw.destination.as_ref().map(prefix_family),
        outside,
    ];
    family(&parts, raw.protocol.as_ref(), problems);
    ports_need_protocol(raw.port.as_ref().map(|at| at.place), raw.protocol.as_ref(), problems);
    if !matches!(raw.address.value, SourceAddressWord::Keep) {
        translatable(raw.protocol.as_ref(), problems);
    }
    if let (Some(ports), None) = (&raw.ports, outside) {
        problems.hint(
            ports.place,
            "'ports' goes with an address or a range",
            "a port's own range is its nat-ports",
        );
    }
    SourceNat {
        from: scope.segment(&raw.from, problems),
        to: scope.segment(&raw.to, problems),
        source: raw.source.as_ref().map(|at| at.value),
        destination: raw.destination.as_ref().map(|at| at.value),
        protocol: raw.protocol.as_ref().map(|at| at.value),
        ports: raw.port.as_ref().map_or(PortRange::ANY, |at| at.value),
        address: match raw.address.value {
            SourceAddressWord::Port => SourceAddress::Port,
            SourceAddressWord::Keep => SourceAddress::Keep,
            SourceAddressWord::Range(addresses) => SourceAddress::Range {
                addresses,
                ports: raw.ports.as_ref().map_or(POOL_PORTS, |at| at.value),
            },
        },
    }
}

fn translatable(protocol: Option<&At<Protocol>>, problems: &mut Problems) {
    if let Some(protocol) = protocol {
        let value = protocol.value;
        if !value.has_ports() && value != Protocol::ICMP && value != Protocol::ICMPV6 {
            let hint = "tcp, udp, icmp and icmpv6 can; other protocols are dropped rather than leak an inside address";
            problems.hint(protocol.place, format!("{value} cannot be translated"), hint);
        }
    }
}

pub(super) fn resolve_destination(
    raw: &RawGateway,
    scope: &Scope<'_>,
    ports: &[Port],
    problems: &mut Problems,
) -> Vec<DestinationNat> {
    destination_rules(raw)
        .map(|rule| destination_rule(rule, scope, ports, problems))
        .collect()
}

fn destination_rule(
    raw: &RawDestinationNat,
    scope: &Scope<'_>,
    ports: &[Port],
    problems: &mut Problems,
) -> DestinationNat {
    let address = |at: &At<IpAddr>| (at.place, at.value.is_ipv6());
    let parts = [
        Some(address(&raw.to)),
        raw.source.as_ref().map(prefix_family),
        Some(address(&raw.to_address)),
    ];
    family(&parts, raw.protocol.as_ref(), problems);
    for end in [&raw.to, &raw.to_address] {
        if let Some(what) = special(end.value) {
            problems.add(end.place, format!("{} cannot be translated: it is {what}", end.value));
        }
    }
    ports_need_protocol(raw.port.as_ref().map(|at| at.place), raw.protocol.as_ref(), problems);
    translatable(raw.protocol.as_ref(), problems);
    let matched = raw.port.as_ref().map_or(PortRange::ANY, |at| at.value);
    if let Some(to_port) = &raw.to_port {
        if raw.port.is_none() {
            problems.hint(
                to_port.place,
                "'to-port' without 'port'",
                "say which port is forwarded: `port: 8080`",
            );
        } else if to_port.value.0 + u32::from(matched.last() - matched.first()) > u32::from(u16::MAX) {
            problems.add(
                to_port.place,
                format!("{matched} does not fit between {} and 65535", to_port.value.0),
            );
        }
    }
    DestinationNat {
        from: scope.segment(&raw.from, problems),
        source: raw.source.as_ref().map(|at| at.value),
        to: raw.to.value,
        protocol: raw.protocol.as_ref().map(|at| at.value),
        ports: matched,
        to_address: raw.to_address.value,
        to_segment: to_segment(raw, scope, ports, problems),
        to_port: raw.to_port.as_ref().map(|at| at.value.u16()),
    }
}

fn to_segment(raw: &RawDestinationNat, scope: &Scope<'_>, ports: &[Port], problems: &mut Problems) -> SegmentId {
    if let Some(segment) = &raw.to_segment {
        return scope.segment(segment, problems);
    }
    let holds = |port: &&Port| {
        port.addresses
            .iter()
            .any(|own| own.prefix().contains(raw.to_address.value))
    };
    let mut segments: Vec<SegmentId> = ports.iter().filter(holds).map(|port| port.segment).collect();
    segments.dedup();
    if let [segment] = segments.as_slice() {
        return *segment;
    }
    if !ports.iter().any(|port| port.segment.0 == NOWHERE) {
        let which = if segments.is_empty() {
            "no port's network"
        } else {
            "networks of several segments"
        };
        let message = format!("{} is in {which}", raw.to_address.value);
        problems.hint(raw.to_address.place, message, "say where it is: `to-segment: NAME`");
    }
    SegmentId(NOWHERE)
}

pub(super) fn relate(raw: &RawGateway, gateway: &Gateway, problems: &mut Problems) {
    for (statement, rule) in source_rules(raw).zip(&gateway.source_nat) {
        for (segment, place) in [(rule.from, statement.from.place), (rule.to, statement.to.place)] {
            stateless(gateway, segment, place, problems);
        }
        match rule.address {
            SourceAddress::Port => own_address(gateway, rule.to, statement.address.place, problems),
            SourceAddress::Range { addresses, .. } => {
                foreign_range(gateway, addresses, statement.address.place, problems)
            }
            SourceAddress::Keep => {}
        }
    }
    for (statement, rule) in destination_rules(raw).zip(&gateway.destination_nat) {
        stateless(gateway, rule.from, statement.from.place, problems);
        let place = statement
            .to_segment
            .as_ref()
            .map_or(statement.to_address.place, |at| at.place);
        stateless(gateway, rule.to_segment, place, problems);
        destination(gateway, statement, rule, problems);
    }
    pools(raw, gateway, problems);
}

fn stateless(gateway: &Gateway, segment: SegmentId, place: Place, problems: &mut Problems) {
    let segment = gateway.segment(segment);
    if segment.stateless {
        let message = format!("segment '{}' is stateless, and NAT needs state", segment.name);
        problems.hint(place, message, "remove `stateless: true` or the rule");
    }
}

/// `address: port` must find a range wherever the packet may leave.
fn own_address(gateway: &Gateway, to: SegmentId, place: Place, problems: &mut Problems) {
    let ports: Vec<&Port> = gateway.ports.iter().filter(|port| port.segment == to).collect();
    if ports.is_empty() {
        problems.add(place, format!("segment '{}' has no port", gateway.segment(to).name));
    }
    for port in ports.iter().filter(|port| port.nat_ports.is_none()) {
        let message = format!(
            "port '{}' in segment '{}' has no nat-ports",
            port.name,
            gateway.segment(to).name
        );
        problems.hint(place, message, "add for example `nat-ports: 20000-29999` to that port");
    }
}

fn foreign_range(gateway: &Gateway, addresses: AddressRange, place: Place, problems: &mut Problems) {
    for port in &gateway.ports {
        if let Some(own) = port.addresses.iter().find(|own| addresses.contains(own.address())) {
            let message = format!("{} is the gateway's own address on port '{}'", own.address(), port.name);
            problems.hint(
                place,
                message,
                "use `address: port`, which keeps to the port's nat-ports",
            );
        }
    }
}

fn destination(gateway: &Gateway, raw: &RawDestinationNat, rule: &DestinationNat, problems: &mut Problems) {
    let place = raw.port.as_ref().map_or(raw.to.place, |at| at.place);
    let port_place = place;
    for port in gateway.ports.iter().filter(|port| port.segment == rule.from) {
        if !port.addresses.iter().any(|own| own.address() == rule.to) {
            continue;
        }
        if raw.port.is_none() {
            let hint = "add `protocol` and `port`; the rest stays with the gateway";
            problems.hint(raw.to.place, format!("{} is the gateway's own address", rule.to), hint);
        } else if let Some(range) = port.nat_ports.filter(|range| range.overlaps(rule.ports)) {
            let message = format!("{} overlaps nat-ports {range} of port '{}'", rule.ports, port.name);
            problems.add(port_place, message);
        }
    }
    for tunnel in &gateway.tunnels {
        if tunnel.local != rule.to || rule.protocol != Some(Protocol::UDP) {
            continue;
        }
        for port in tunnel.udp_ports().into_iter().filter(|port| rule.ports.contains(*port)) {
            problems.add(
                port_place,
                format!("UDP port {port} of {} is tunnel '{}'", rule.to, tunnel.name),
            );
        }
    }
    for source in &gateway.source_nat {
        if let SourceAddress::Range { addresses, ports } = source.address
            && source.to == rule.from
            && addresses.contains(rule.to)
            && ports.overlaps(rule.ports)
        {
            let message = format!("source NAT hands out ports {ports} of {}", rule.to);
            problems.hint(
                port_place,
                message,
                "leave the forwarded ports out of that rule's `ports`",
            );
        }
    }
}

/// Rules share a pool or keep apart: an outside tuple has one owner.
fn pools(raw: &RawGateway, gateway: &Gateway, problems: &mut Problems) {
    let own = gateway
        .ports
        .iter()
        .filter(|port| port.nat_ports.is_some())
        .map(|port| {
            let has = |v6: bool| port.addresses.iter().any(|own| own.address().is_ipv6() == v6);
            u64::from(has(false)) + u64::from(has(true))
        });
    let mut addresses_used: u64 = own.sum();
    let mut seen: Vec<(AddressRange, PortRange)> = Vec::new();
    for (statement, rule) in source_rules(raw).zip(&gateway.source_nat) {
        let (addresses, ports) = match rule.address {
            SourceAddress::Range { addresses, ports } => (addresses, ports),
            SourceAddress::Port => {
                enough_addresses(gateway, addresses_used, statement.address.place, problems);
                continue;
            }
            SourceAddress::Keep => continue,
        };
        if seen.contains(&(addresses, ports)) {
            continue;
        }
        if let Some((other, other_ports)) = seen.iter().find(|(a, p)| a.overlaps(addresses) && p.overlaps(ports)) {
            let message = format!("{addresses} ports {ports} overlap {other} ports {other_ports} of another rule");
            problems.hint(
                statement.address.place,
                message,
                "use the same range in both rules, or ranges apart",
            );
        }
        addresses_used += u64::from(addresses.count());
        enough_addresses(gateway, addresses_used, statement.address.place, problems);
        seen.push((addresses, ports));
    }
}

fn enough_addresses(gateway: &Gateway, used: u64, place: Place, problems: &mut Problems) {
    let most = gateway.limits.pool_addresses;
    if used > u64::from(most) {
        let message = format!("{used} outside addresses, the most is {most}");
        problems.hint(place, message, "raise `limits: { pool-addresses: … }`");
    }
}
