//! `seal`: what leaves through a tunnel is encapsulated and encrypted, from its frame into another (the start of a frame
//! cannot move), and goes on as the outer packet.

use crate::address;
use crate::batch::{Batch, Exit, Packet};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use tombolo_packet_io::{Frame, PacketIo};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::{
    NextHop, SaIndex, SaRecord, TunnelIndex, TunnelRecord, encapsulation, sa_flag, tunnel_flag, wildcard,
};
use tombolo_tunnel::SaKeys;
use tombolo_tunnel::esp::{self, Label};
use tombolo_tunnel::outer::{self, DontFragment, Encapsulation, Inner, OuterTemplate};
use tombolo_wire::ecn::Dscp;

const LINK_LENGTH: usize = 14;
const OUTER_TTL: u8 = 64;

/// Seals packets.
#[derive(Default)]
pub struct Seal {
    /// Workers whose inboxes got packets of this batch, a bit each.
    rung: u64,
}

impl Seal {
    /// Seals every travelling packet whose next hop is a tunnel, or hands it to the worker that must.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, keys: &mut KeyCache, batch: &mut Batch) {
        for packet in batch.travelling() {
            let Exit::Hop {
                next_hop: NextHop::Tunnel(tunnel),
                ..
            } = packet.exit
            else {
                continue;
            };
            match sealer(gateway, tunnel) {
                Some(worker) => self.hand_over(gateway, packet, worker),
                None => {
                    if let Err(reason) = seal(gateway, keys, packet, tunnel) {
                        packet.drop(reason);
                    }
                }
            }
        }
        while self.rung != 0 {
            let worker = self.rung.trailing_zeros() as usize;
            self.rung &= self.rung - 1;
            if let Some(inbox) = gateway.state.inbox(worker) {
                inbox.ring();
            }
        }
    }

    fn hand_over<I: PacketIo>(&mut self, gateway: &Gateway<'_, I>, packet: &mut Packet, worker: usize) {
        let taken = gateway.state.inbox(worker).is_some_and(|inbox| inbox.put(packet));
        if taken {
            self.rung |= 1 << worker;
            packet.fate = Some(Fate::HandOver);
        } else {
            packet.drop(DropReason::HandOverFull);
        }
    }
}

/// The other worker that must seal for this tunnel, because its peer's replay window is narrow; none if this one may.
#[inline]
fn sealer<I: PacketIo>(gateway: &Gateway<'_, I>, tunnel: TunnelIndex) -> Option<usize> {
    let outbound = gateway.tables.tunnel(tunnel)?.outbound;
    let sa = gateway.tables.sa(SaIndex(outbound))?;
    if sa.flags & sa_flag::WIDE_PEER_WINDOW != 0 {
        return None;
    }
    let worker = usize::from(sa.sealing_worker) % gateway.state.workers().max(1);
    (worker != gateway.worker).then_some(worker)
}

fn seal<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    packet: &mut Packet,
    index: TunnelIndex,
) -> Result<(), DropReason> {
    let tunnel = gateway.tables.tunnel(index).ok_or(DropReason::TunnelDown)?;
    if tunnel.outbound == wildcard::NONE || tunnel.flags & tunnel_flag::ENABLED == 0 {
        return Err(DropReason::TunnelDown);
    }
    let sa_index = SaIndex(tunnel.outbound);
    let sa = gateway.tables.sa(sa_index).ok_or(DropReason::TunnelDown)?;
    let expanded = keys.expanded(sa_index, sa).ok_or(DropReason::TunnelDown)?;
    let mut sealed = gateway.io.allocate().ok_or(DropReason::NoFrame)?;
    let esn = sa.flags & sa_flag::ESN != 0;
    let written = match gateway.state.reserve_sequence(sa_index, esn) {
        Some(sequence) => write(tunnel, sa, expanded, sequence, packet, &mut sealed),
        None => Err(DropReason::SequenceExhausted),
    };
    match written {
        Ok(length) => {
            sealed.set_len(length);
            gateway
                .state
                .count_sa(gateway.worker, sa_index, packet.ip_length(), gateway.now);
            if let Some(plain) = packet.frame.replace(sealed) {
                gateway.io.release(plain);
            }
            packet.exit = Exit::Hop {
                next_hop: NextHop::from_bits(tunnel.underlay_next_hop),
                target: tunnel.remote,
            };
            Ok(())
        }
        Err(reason) => {
            gateway.io.release(sealed);
            Err(reason)
        }
    }
}

/// Writes the outer packet into `sealed`; returns the frame's length.
fn write(
    tunnel: &TunnelRecord,
    sa: &SaRecord,
    keys: &SaKeys,
    sequence: u64,
    packet: &mut Packet,
    sealed: &mut Frame,
) -> Result<usize, DropReason> {
    let template = template(tunnel);
    let headers = packet.headers;
    let plain = packet.frame.as_mut().ok_or(DropReason::IpMalformed)?;
    let source = plain.buffer_mut();
    let source = source
        .get_mut(usize::from(headers.l3)..)
        .ok_or(DropReason::IpMalformed)?;
    let next_header = if headers.addresses.is_v6() {
        esp::NEXT_HEADER_IPV6
    } else {
        esp::NEXT_HEADER_IPV4
    };
    let label = Label {
        spi: sa.spi,
        sequence,
        esn: sa.flags & sa_flag::ESN != 0,
        next_header,
    };
    let buffer = sealed.buffer_mut();
    let room = buffer
        .get_mut(LINK_LENGTH + template.header_length()..)
        .ok_or(DropReason::TooBig)?;
    let length = usize::from(headers.end - headers.l3);
    let esp_length = esp::seal_from(keys, label, source, length, room).map_err(|_| DropReason::TooBig)?;
    let shown = Inner {
        tos: headers.tos,
        dont_fragment: headers.dont_fragment,
    };
    outer::write_outer(buffer, LINK_LENGTH, &template, esp_length, shown, sequence as u16)
        .map_err(|_| DropReason::TooBig)
}

/// What the outer header is made of.
#[inline]
fn template(tunnel: &TunnelRecord) -> OuterTemplate {
    let dont_fragment = if tunnel.flags & tunnel_flag::DF_SET != 0 {
        DontFragment::Set
    } else if tunnel.flags & tunnel_flag::DF_COPY != 0 {
        DontFragment::Copy
    } else {
        DontFragment::Clear
    };
    let encapsulation = if tunnel.encapsulation == encapsulation::ESP_UDP {
        Encapsulation::Udp {
            source_port: tunnel.local_port,
            destination_port: tunnel.remote_port,
        }
    } else {
        Encapsulation::Ip
    };
    let dscp = if tunnel.flags & tunnel_flag::DSCP_COPY != 0 {
        Dscp::Copy
    } else {
        Dscp::Fixed(0)
    };
    let addresses = address::pair(tunnel.local, tunnel.remote);
    OuterTemplate {
        addresses,
        encapsulation,
        dscp,
        dont_fragment,
        ttl: OUTER_TTL,
    }
}
