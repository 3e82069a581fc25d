//! The lines of all tables but routes.

use super::line::{Line, index, mac, name, named, next_hop, ports as port_range, prefix, protocol, segment};
use crate::layout::{
    NextHop, PortRecord, SaIndex, TunnelIndex, cipher, encapsulation, nat_kind, neighbour_state, port_flag,
    rule_action, sa_flag, segment_flag, tunnel_flag, wildcard,
};
use crate::view::Tables;
use std::collections::BTreeMap;

pub(super) fn ports(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "ports");
    let flags = [
        (port_flag::UNDERLAY, "underlay"),
        (port_flag::UP, "up"),
        (port_flag::GENERIC, "generic"),
    ];
    for (at, port) in tables.ports().iter().enumerate() {
        let PortRecord {
            ifindex,
            tap_ifindex,
            mtu,
            vlan,
            queues,
            ..
        } = *port;
        Line::new(text, format_args!("{at} {}", name(&port.name)))
            .field("device", name(&port.device))
            .field("ifindex", ifindex)
            .field("tap", tap_ifindex)
            .field("mac", mac(&port.mac[..6]))
            .field("mtu", mtu)
            .field("segment", port.segment)
            .field("vlan", vlan)
            .field("queues", queues)
            .field(
                "nat-ports",
                format_args!("{}-{}", port.nat_port_first, port.nat_port_last),
            )
            .flags(port.flags, &flags);
    }
}

pub(super) fn own_addresses(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "own addresses");
    for own in tables.own_addresses() {
        Line::new(text, format_args!("{}/{}", own.address, own.prefix_length)).field("port", own.port);
    }
}

pub(super) fn segments(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "segments");
    for (at, record) in tables.segments().iter().enumerate() {
        Line::new(text, format_args!("{at} {}", name(&record.name)))
            .field("epoch", record.epoch)
            .field("mss-max", record.mss_max)
            .flags(record.flags, &[(segment_flag::STATELESS, "stateless")]);
    }
}

pub(super) fn neighbours(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "neighbours");
    let states = [
        (neighbour_state::UNRESOLVED, "unresolved"),
        (neighbour_state::REACHABLE, "reachable"),
        (neighbour_state::FAILED, "failed"),
    ];
    for (at, neighbour) in tables.neighbours().iter().enumerate() {
        if neighbour.state != neighbour_state::FREE {
            Line::new(text, at)
                .field("address", neighbour.address)
                .field("port", neighbour.port)
                .field("mac", mac(&neighbour.mac))
                .field("state", named(neighbour.state, &states));
        }
    }
}

pub(super) fn policy(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "policy");
    let actions = [
        (rule_action::ALLOW, "allow"),
        (rule_action::DENY, "deny"),
        (rule_action::REJECT, "reject"),
    ];
    for (at, rule) in tables.policy_rules().iter().enumerate() {
        Line::new(text, format_args!("{at} {}", named(rule.action, &actions)))
            .field("from", segment(rule.from))
            .field("to", segment(rule.to))
            .field("family", named(rule.family, &[(0, "any"), (4, "4"), (6, "6")]))
            .field("source", prefix(rule.source, rule.source_length))
            .field("destination", prefix(rule.destination, rule.destination_length))
            .field("protocol", protocol(rule.protocol))
            .field(
                "source-ports",
                port_range(rule.source_port_first, rule.source_port_last),
            )
            .field(
                "destination-ports",
                port_range(rule.destination_port_first, rule.destination_port_last),
            );
    }
}

pub(super) fn nat(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "nat");
    let kinds = [
        (nat_kind::SOURCE_POOL, "source-pool"),
        (nat_kind::SOURCE_PORT_ADDRESS, "source-port-address"),
        (nat_kind::DESTINATION, "destination"),
        (nat_kind::EXEMPT, "exempt"),
    ];
    for (at, rule) in tables.nat_rules().iter().enumerate() {
        let line = Line::new(text, format_args!("{at} {}", named(rule.kind, &kinds)))
            .field("from", segment(rule.from))
            .field("to", segment(rule.to))
            .field("family", rule.family)
            .field("source", prefix(rule.match_source, rule.match_source_length))
            .field(
                "destination",
                prefix(rule.match_destination, rule.match_destination_length),
            )
            .field("protocol", protocol(rule.protocol))
            .field("ports", port_range(rule.match_port_first, rule.match_port_last))
            .field("pool", index(rule.pool));
        if rule.kind == nat_kind::DESTINATION {
            line.field("to-address", rule.to_address)
                .field("to-port", rule.to_port_first);
        }
    }
}

pub(super) fn pools(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "pools");
    for (at, pool) in tables.pools().iter().enumerate() {
        let port = if pool.port == u16::MAX {
            wildcard::NONE
        } else {
            pool.port.into()
        };
        Line::new(text, at)
            .field("first", pool.first)
            .field("count", pool.count)
            .field("ports", format_args!("{}-{}", pool.port_first, pool.port_last))
            .field("sessions-per-host-max", pool.sessions_per_host_max)
            .field("port", index(port))
            .field("row", pool.row);
    }
}

pub(super) fn tunnels(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "tunnels");
    let encapsulations = [(encapsulation::ESP, "esp"), (encapsulation::ESP_UDP, "esp-udp")];
    let flags = [
        (tunnel_flag::DF_SET, "df-set"),
        (tunnel_flag::DF_COPY, "df-copy"),
        (tunnel_flag::DSCP_COPY, "dscp-copy"),
        (tunnel_flag::CHOOSES, "chooses"),
        (tunnel_flag::FOLLOWS, "follows"),
        (tunnel_flag::BUNDLED, "bundled"),
    ];
    for at in 0..tables.tunnels().len() {
        let Some(tunnel) = tables.tunnel(TunnelIndex(at as u32)) else {
            continue;
        };
        Line::new(text, format_args!("{at} {}", name(&tunnel.name)))
            .field("encapsulation", named(tunnel.encapsulation, &encapsulations))
            .field("local", tunnel.local)
            .field("remote", tunnel.remote)
            .field("local-port", tunnel.local_port)
            .field("remote-port", tunnel.remote_port)
            .field("segment", tunnel.segment)
            .field("underlay-segment", tunnel.underlay_segment)
            .field("via", next_hop(NextHop::from_bits(tunnel.underlay_next_hop)))
            .field("mtu", tunnel.mtu)
            .field("outbound", index(tunnel.outbound))
            .flags(tunnel.flags, &flags);
    }
}

/// Each bundle, and how many shares of it each tunnel carries.
pub(super) fn bundles(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "bundles");
    for (at, bundle) in tables.bundles().iter().enumerate() {
        let mut shares = BTreeMap::new();
        for tunnel in bundle.shares {
            *shares.entry(tunnel).or_insert(0) += 1;
        }
        let shares: Vec<String> = shares
            .iter()
            .map(|(tunnel, count)| format!("{tunnel}:{count}"))
            .collect();
        Line::new(text, format_args!("{at} {}", name(&bundle.name))).field("shares", shares.join(","));
    }
}

/// Each SA, its selectors below it.
pub(super) fn sas(text: &mut String, tables: &Tables<'_>) {
    Line::heading(text, "sas");
    let ciphers = [
        (cipher::AES_128_GCM, "aes-128-gcm"),
        (cipher::AES_256_GCM, "aes-256-gcm"),
        (cipher::CHACHA20_POLY1305, "chacha20-poly1305"),
    ];
    let flags = [
        (sa_flag::ESN, "esn"),
        (sa_flag::INBOUND, "inbound"),
        (sa_flag::NO_REPLAY_CHECK, "no-replay-check"),
        (sa_flag::WIDE_PEER_WINDOW, "wide-peer-window"),
        (sa_flag::NEGOTIATED, "negotiated"),
        (sa_flag::OWN_WORKER, "own-worker"),
    ]
    .map(|(flag, name)| (u16::from(flag), name));
    for at in 0..tables.sas().len() {
        let Some(sa) = tables.sa(SaIndex(at as u32)) else {
            continue;
        };
        Line::new(text, at)
            .field("spi", format_args!("{:#010x}", sa.spi))
            .field("tunnel", sa.tunnel)
            .field("cipher", named(sa.cipher, &ciphers))
            .field("key", "[hidden]")
            .field("key-version", sa.key_version)
            .field("replay-window", sa.replay_window)
            .field("sealing-worker", sa.sealing_worker)
            .flags(sa.flags.into(), &flags);
        for selector in tables.selectors(sa) {
            Line::new(text, "  selector")
                .field(
                    "remote",
                    format_args!("{}-{}", selector.remote_first, selector.remote_last),
                )
                .field(
                    "local",
                    format_args!("{}-{}", selector.local_first, selector.local_last),
                );
        }
    }
}
