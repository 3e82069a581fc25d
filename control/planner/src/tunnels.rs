//! Tunnels and their SAs. A tunnel without keys keeps its place and has no outbound SA: what is routed into it is dropped.

use crate::digest::Digest;
use crate::indices::Wanted;
use crate::{Action, Draft, links, padded, routes};
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_config::sa_file::{Cipher, SaKey, SaPair};
use tombolo_config::{DontFragment, Dscp, ESP_UDP_PORT, Encapsulation, Keying, Prefix, Selector, Tunnel};
use tombolo_tables::layout::{
    NextHop, SaIndex, SaRecord, SelectorRecord, TunnelIndex, TunnelRecord, cipher, encapsulation, sa_flag, tunnel_flag,
    wildcard,
};
use tombolo_wire::mtu::{AEAD, Outer, esp_inner_mtu, with_published};
use zerocopy::FromZeros;

/// From this window on the peer takes what several workers seal in any order.
const WIDE_WINDOW: u16 = 4096;
/// Smallest replay window in packets.
const WINDOW_MIN: u16 = 64;

/// Gives every tunnel its index. Comes before the routes, which name them.
pub(crate) fn assign(draft: &mut Draft<'_>) {
    let desired = draft.desired;
    let outer = |tunnel: &Tunnel| match &tunnel.keying {
        Keying::Manual(manual) => format!("{} {} {:?}", tunnel.local, manual.remote, manual.encapsulation),
        Keying::Ike(ike) => format!("{} {} ike", tunnel.local, ike.remote),
    };
    let wanted = |tunnel: &Tunnel| Wanted {
        name: tunnel.name.to_string(),
        detail: outer(tunnel),
    };
    let wanted: Vec<Wanted> = desired.tunnels.iter().map(wanted).collect();
    let given = draft
        .plan
        .indices
        .tunnels
        .assign(&wanted, desired.limits.tunnels as usize);
    for given in given {
        let given = given.expect("a configuration has no more tunnels than its limit");
        let tunnel = TunnelIndex(given.index);
        draft.tunnels.push(tunnel);
        if given.fresh {
            draft.plan.actions.push(Action::ResetTunnel { tunnel });
        }
    }
}

/// Fills the tables of tunnels, SAs and selectors.
pub(crate) fn fill(draft: &mut Draft<'_>) {
    let pairs = usable_keys(draft);
    let sas = assign_sas(draft, &pairs);
    draft.plan.world.tunnels = vec![TunnelRecord::new_zeroed(); draft.plan.indices.tunnels.used()];
    draft.plan.world.sas = vec![SaRecord::new_zeroed(); draft.plan.indices.sas.used()];
    for (tunnel, index) in draft.desired.tunnels.iter().zip(draft.tunnels.clone()) {
        let first = draft.plan.world.selectors.len() as u32;
        draft.plan.world.selectors.extend(tunnel.selectors.iter().map(selector));
        let mut outbound = wildcard::NONE;
        if let (Some(pair), Some(slots)) = (pairs.get(tunnel.name.as_str()), sas.get(tunnel.name.as_str())) {
            outbound = slots.outbound.0;
            for (slot, inbound) in [(slots.outbound, false), (slots.inbound, true)] {
                let key = if inbound { &pair.inbound } else { &pair.outbound };
                let mut record = sa_record(draft, tunnel, index, pair, key);
                record.flags |= if inbound { sa_flag::INBOUND } else { 0 };
                record.selector_first = first;
                record.selector_count = tunnel.selectors.len() as u32;
                record.key_version = slot.1;
                draft.plan.world.sas[slot.0 as usize] = record;
            }
        }
        draft.plan.world.tunnels[index.usize()] = tunnel_record(draft, tunnel, outbound);
    }
}

/// Keys that may be used: one nonce must never come twice, and one SPI must find one SA.
fn usable_keys<'a>(draft: &mut Draft<'a>) -> BTreeMap<&'a str, &'a SaPair> {
    let (desired, learned) = (draft.desired, draft.learned);
    let mut pairs = BTreeMap::new();
    let mut spis: BTreeSet<(u32, IpAddr)> = BTreeSet::new();
    let mut keys: BTreeSet<String> = BTreeSet::new();
    for tunnel in &desired.tunnels {
        let name = tunnel.name.as_str();
        if tunnel.ike().is_some() {
            draft.warn(format!(
                "tunnel {name} is down: no keys are agreed on with its peer yet"
            ));
            continue;
        }
        let Some(pair) = learned.sa_keys.get(name) else {
            draft.warn(format!("tunnel {name} is down: it has no keys"));
            continue;
        };
        if !keys.insert(fingerprint(pair.cipher, &pair.outbound)) {
            draft.warn(format!("tunnel {name} is down: another tunnel has the same keys"));
        } else if !spis.insert((pair.inbound.spi(), tunnel.local)) {
            draft.warn(format!(
                "tunnel {name} is down: another tunnel has its inbound SPI {:#x}",
                pair.inbound.spi()
            ));
        } else {
            pairs.insert(name, pair);
        }
    }
    pairs
}

/// Index and key version of both SAs of a tunnel.
struct SaSlots {
    outbound: (u32, u32),
    inbound: (u32, u32),
}

/// An SA keeps its index as long as its key; a new key gets a new index, since rows of state belong to keys.
fn assign_sas<'a>(draft: &mut Draft<'a>, pairs: &BTreeMap<&'a str, &'a SaPair>) -> BTreeMap<&'a str, SaSlots> {
    let mut wanted = Vec::new();
    for (tunnel, pair) in pairs {
        for (direction, key) in [("out", &pair.outbound), ("in", &pair.inbound)] {
            let fingerprint = fingerprint(pair.cipher, key);
            wanted.push(Wanted::name(format!(
                "{tunnel} {direction} {:08x} {fingerprint}",
                key.spi()
            )));
        }
    }
    let given = draft
        .plan
        .indices
        .sas
        .assign(&wanted, draft.desired.limits.sas as usize);
    let mut slots = BTreeMap::new();
    for (tunnel, given) in pairs.keys().zip(given.chunks_exact(2)) {
        let [Some(outbound), Some(inbound)] = given else {
            draft.warn(format!("tunnel {tunnel} is down: no free SA; raise limits.tunnels"));
            continue;
        };
        let name = (*tunnel).to_owned();
        if outbound.fresh {
            draft.plan.actions.push(Action::StartOutbound {
                sa: SaIndex(outbound.index),
                tunnel: name.clone(),
            });
        }
        if inbound.fresh {
            draft.plan.actions.push(Action::StartInbound {
                sa: SaIndex(inbound.index),
                tunnel: name,
            });
        }
        let slot = |given: &crate::indices::Given| (given.index, given.version);
        slots.insert(
            *tunnel,
            SaSlots {
                outbound: slot(outbound),
                inbound: slot(inbound),
            },
        );
    }
    slots
}

fn fingerprint(cipher: Cipher, key: &SaKey) -> String {
    let mut digest = Digest::new("tombolo sa 1");
    digest.add(cipher.name().as_bytes());
    digest.add(key.key());
    digest.add(&key.salt());
    digest.hex()
}

fn sa_record(draft: &Draft<'_>, tunnel: &Tunnel, index: TunnelIndex, pair: &SaPair, key: &SaKey) -> SaRecord {
    let mut room = [0; 32];
    for (place, byte) in room.iter_mut().zip(key.key()) {
        *place = *byte;
    }
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    SaRecord {
        key: room,
        salt: key.salt(),
        spi: key.spi(),
        tunnel: index.0,
        cipher: match pair.cipher {
            Cipher::Aes128Gcm => cipher::AES_128_GCM,
            Cipher::Aes256Gcm => cipher::AES_256_GCM,
            Cipher::ChaCha20Poly1305 => cipher::CHACHA20_POLY1305,
        },
        flags: flag(pair.esn, sa_flag::ESN)
            | flag(tunnel.replay_window == 0, sa_flag::NO_REPLAY_CHECK)
            | flag(tunnel.peer_window >= WIDE_WINDOW, sa_flag::WIDE_PEER_WINDOW),
        replay_window: tunnel.replay_window.max(WINDOW_MIN),
        // Spread, so that one worker does not seal for every narrow peer.
        sealing_worker: (index.0 % u32::from(draft.desired.workers.max(1))) as u16,
        ..SaRecord::new_zeroed()
    }
}

fn tunnel_record(draft: &Draft<'_>, tunnel: &Tunnel, outbound: u32) -> TunnelRecord {
    let hop = routes::tunnel_hop(draft.desired, &draft.reach, tunnel);
    let underlay_next_hop = hop
        .and_then(|host| draft.neighbours.get(&host))
        .map(|index| NextHop::Neighbour(*index));
    let egress = draft.desired.port(hop.map_or(tunnel.port, |(port, _)| port));
    let outer_mtu = links::mtu(egress, draft.learned.links.get(egress.device.as_str()));
    let (local_port, remote_port) = udp_ports(tunnel).unwrap_or_default();
    let udp = udp_ports(tunnel).is_some();
    let outer = Outer {
        mtu: tunnel
            .ike()
            .and_then(|ike| ike.outer_mtu_max)
            .map_or(outer_mtu, |most| outer_mtu.min(most)),
        v6: tunnel.local.is_ipv6(),
        udp,
    };
    let published = tunnel.ike().map(|ike| ike.published_mtu).unwrap_or_default();
    let published = if udp { published.udp } else { published.plain };
    let computed = with_published(esp_inner_mtu(outer, AEAD), published);
    let nowhere = Prefix::all(tunnel.local.is_ipv6()).address();
    TunnelRecord {
        name: padded(tunnel.name.as_str()),
        local: tunnel.local.into(),
        remote: tunnel.remote().unwrap_or(nowhere).into(),
        underlay_next_hop: underlay_next_hop.unwrap_or(NextHop::Unreachable).to_bits(),
        outbound,
        local_port,
        remote_port,
        segment: draft.segment(tunnel.segment).0,
        underlay_segment: draft.segment(draft.desired.port(tunnel.port).segment).0,
        mtu: tunnel.mtu.map_or(computed, |wanted| computed.min(wanted)),
        flags: flags(tunnel),
        encapsulation: if udp {
            encapsulation::ESP_UDP
        } else {
            encapsulation::ESP
        },
        reserved: [0; 3],
    }
}

/// Local and remote port of ESP in UDP; none for ESP straight in IP.
fn udp_ports(tunnel: &Tunnel) -> Option<(u16, u16)> {
    match &tunnel.keying {
        Keying::Manual(manual) => match manual.encapsulation {
            Encapsulation::None => None,
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => Some((local_port, remote_port)),
        },
        Keying::Ike(ike) if ike.force_udp || ike.start_on_4500 => Some((ESP_UDP_PORT, ESP_UDP_PORT)),
        Keying::Ike(_) => None,
    }
}

fn flags(tunnel: &Tunnel) -> u16 {
    let dont_fragment = match tunnel.dont_fragment {
        DontFragment::Set => tunnel_flag::DF_SET,
        DontFragment::Copy => tunnel_flag::DF_COPY,
        DontFragment::Clear => 0,
    };
    let dscp = match tunnel.dscp {
        Dscp::Copy => tunnel_flag::DSCP_COPY,
        Dscp::Zero => 0,
    };
    dont_fragment | dscp | tunnel_flag::ENABLED
}

fn selector(selector: &Selector) -> SelectorRecord {
    SelectorRecord {
        remote_first: selector.remote.address().into(),
        remote_last: selector.remote.last().into(),
        local_first: selector.local.address().into(),
        local_last: selector.local.last().into(),
    }
}
