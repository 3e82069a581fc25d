//! Ports and own addresses.

use crate::learned::{Learned, Link, Tap};
use crate::{Draft, padded};
use core::net::Ipv6Addr;
use tombolo_config::Port;
use tombolo_tables::layout::{
    OwnAddressRecord, PortIndex, PortRecord, SegmentIndex, SegmentRecord, port_flag, segment_flag, tap_name,
    vlan_link_name,
};
use zerocopy::FromZeros;

/// Largest IP packet in bytes that a frame has room for.
const MTU_MAX: u32 = 3498;
/// MTU of a port whose device is not there.
const MTU_DEFAULT: u32 = 1500;
/// Prefix length of link-local addresses (RFC 4291 §2.5.6).
const LINK_LOCAL_LENGTH: u8 = 64;

pub(crate) fn fill(draft: &mut Draft<'_>) {
    let (desired, learned) = (draft.desired, draft.learned);
    draft.plan.world.segments = vec![SegmentRecord::new_zeroed(); draft.plan.indices.segments.len()];
    for (segment, index) in desired.segments.iter().zip(draft.segments.clone()) {
        draft.plan.world.segments[index.usize()] = SegmentRecord {
            name: padded(segment.name.as_str()),
            flags: if segment.stateless { segment_flag::STATELESS } else { 0 },
            mss_max: segment.mss_max.unwrap_or(0),
            ..SegmentRecord::new_zeroed()
        };
    }
    // Free slots in between name no device and are not served.
    draft.plan.world.ports = vec![PortRecord::new_zeroed(); draft.plan.indices.ports.used()];
    for (port, index) in desired.ports.iter().zip(draft.ports.clone()) {
        let link = learned.links.get(port.device.as_str());
        if link.is_none() {
            draft.warn(format!("port {}: there is no device {}", port.name, port.device));
        }
        let tap_ifindex = tap(learned, port, index).map_or(0, |tap| tap.ifindex);
        let segment = draft.segment(port.segment);
        draft.plan.world.ports[index.usize()] = port_record(port, link, segment, tap_ifindex);
        own_addresses(draft, port, index);
        if learned.capture.contains(port.name.as_str()) {
            draft.plan.world.capture |= 1u64.checked_shl(index.0.into()).unwrap_or(0);
        }
    }
}

/// The kernel's device of a port, which bears its addresses: of a VLAN port, the TAP that is its link to the kernel.
pub(crate) fn device(port: &Port, index: PortIndex) -> String {
    match port.vlan {
        Some(vlan) => vlan_link_name(index, vlan),
        None => port.device.to_string(),
    }
}

/// The link-local address that the kernel gave the port.
pub(crate) fn link_local(learned: &Learned, port: &Port, index: PortIndex) -> Option<Ipv6Addr> {
    learned.links.get(&device(port, index))?.link_local
}

/// The port's TAP, once it exists.
pub(crate) fn tap(learned: &Learned, port: &Port, index: PortIndex) -> Option<Tap> {
    let named = learned.taps.get(port.name.as_str()).cloned();
    named.or_else(|| {
        let device = tap_name(index);
        learned.links.get(&device).map(|link| Tap {
            ifindex: link.ifindex,
            device,
        })
    })
}

fn port_record(port: &Port, link: Option<&Link>, segment: SegmentIndex, tap_ifindex: u32) -> PortRecord {
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let mac = link.map_or([0; 6], |link| link.mac);
    PortRecord {
        name: padded(port.name.as_str()),
        device: padded(port.device.as_str()),
        ifindex: link.map_or(0, |link| link.ifindex),
        tap_ifindex,
        mac: [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0],
        mtu: mtu(port, link),
        segment: segment.0,
        flags: flag(port.underlay, port_flag::UNDERLAY)
            | flag(link.is_some_and(|link| link.up), port_flag::UP)
            | flag(port.generic, port_flag::GENERIC),
        vlan: port.vlan.unwrap_or(0),
        queues: link.map_or(0, |link| link.queues),
        nat_port_first: port.nat_ports.map_or(0, |range| range.first()),
        nat_port_last: port.nat_ports.map_or(0, |range| range.last()),
        reserved: 0,
    }
}

/// Largest IP packet of a port: never more than the device or a frame takes.
pub(crate) fn mtu(port: &Port, link: Option<&Link>) -> u16 {
    let device = link.map_or(MTU_DEFAULT, |link| link.mtu).min(MTU_MAX);
    port.mtu.map_or(device, |wanted| device.min(wanted.into())) as u16
}

fn own_addresses(draft: &mut Draft<'_>, port: &Port, index: PortIndex) {
    let record = |address, prefix_length| OwnAddressRecord {
        address,
        port: index.0,
        prefix_length,
        reserved: [0; 5],
    };
    let own = port
        .addresses
        .iter()
        .map(|own| record(own.address().into(), own.length()));
    draft.plan.world.own_addresses.extend(own);
    if let Some(address) = link_local(draft.learned, port, index) {
        draft
            .plan
            .world
            .own_addresses
            .push(record(address.into(), LINK_LOCAL_LENGTH));
    }
}
