//! `seal`: what leaves through a tunnel is encapsulated and encrypted, from its frame into another (the start of a frame
//! cannot move), and goes on as the outer packet.

use crate::address;
use crate::batch::{Batch, Exit, Packet};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::outbound::{Carries, Outbound};
use tombolo_packet_io::{Frame, PacketIo};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::{Address, NextHop, SaIndex, SaRecord, TunnelRecord, encapsulation, sa_flag, tunnel_flag};
use tombolo_tunnel::envelope::{BODY_AT, Envelope};
use tombolo_tunnel::esp::Label;
use tombolo_tunnel::outer::{self, DontFragment, Encapsulation, Inner, OuterTemplate};
use tombolo_tunnel::{SaKeys, esp};
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
            let sealed = match Outbound::of(gateway, tunnel, Carries::These(&packet.headers.addresses)) {
                Ok(outbound) => match outbound.sealer(gateway) {
                    Some(worker) => {
                        self.hand_over(gateway, packet, worker);
                        Ok(())
                    }
                    None => seal(gateway, keys, packet, &outbound),
                },
                Err(reason) => Err(reason),
            };
            if let Err(reason) = sealed {
                packet.drop(reason);
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

fn seal<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    packet: &mut Packet,
    outbound: &Outbound<'_>,
) -> Result<(), DropReason> {
    let to = SealTo::new(outbound, keys).ok_or(DropReason::TunnelDown)?;
    let mut sealed = gateway.io.allocate().ok_or(DropReason::NoFrame)?;
    let written = match gateway.state.reserve_sequences(to.sa_index, 1, to.esn()).next() {
        Some(sequence) => to.write_packet(sequence, packet, &mut sealed),
        None => Err(DropReason::SequenceExhausted),
    };
    match written {
        Ok(()) => {
            gateway
                .state
                .count_sa_packets(gateway.worker, to.sa_index, 1, packet.ip_length(), gateway.now);
            let (next_hop, target) = (NextHop::from_bits(to.underlay_hop()), to.remote);
            if let Some(plain) = packet.frame.replace(sealed) {
                gateway.io.release(plain);
            }
            packet.exit = Exit::Hop { next_hop, target };
            Ok(())
        }
        Err(reason) => {
            gateway.io.release(sealed);
            Err(reason)
        }
    }
}

/// A tunnel that packets can be sealed for, and what they all have in common.
pub(crate) struct SealTo<'a> {
    tunnel: &'a TunnelRecord,
    sa: &'a SaRecord,
    /// The outbound SA.
    pub(crate) sa_index: SaIndex,
    remote: Address,
    keys: &'a SaKeys,
    template: OuterTemplate,
}

impl<'a> SealTo<'a> {
    /// None if the key of the SA is no key.
    pub(crate) fn new(outbound: &Outbound<'a>, keys: &'a mut KeyCache) -> Option<Self> {
        let Outbound { tunnel, index, sa, .. } = *outbound;
        Some(SealTo {
            tunnel,
            sa,
            sa_index: index,
            remote: outbound.remote,
            keys: keys.expanded(index, sa)?,
            template: template(outbound),
        })
    }

    /// Whether sequence numbers have 64 bits.
    #[inline]
    pub(crate) fn esn(&self) -> bool {
        self.sa.flags & sa_flag::ESN != 0
    }

    /// `NextHop` bits of the way to the far end.
    #[inline]
    pub(crate) fn underlay_hop(&self) -> u32 {
        self.tunnel.underlay_next_hop
    }

    /// Whether the outer packet is IPv6.
    #[inline]
    pub(crate) fn is_v6(&self) -> bool {
        !self.remote.is_v4()
    }

    /// The far end's IPv4 address; 0 if it has an IPv6 one.
    #[inline]
    pub(crate) fn remote4(&self) -> u32 {
        if self.is_v6() {
            0
        } else {
            u32::from_be_bytes(self.remote.v4_bytes())
        }
    }

    /// What stands in front of its packets behind this link header; none where that is not IPv4 alone.
    #[inline]
    pub(crate) fn envelope(&self, link: &[u8; LINK_LENGTH]) -> Option<Envelope> {
        Envelope::new(link, &self.template)
    }

    /// Seals the plain IPv4 packet of `ip_length` bytes of a frame into `sealed`, link header and all.
    #[inline(always)]
    pub(crate) fn write_in(
        &self,
        envelope: &Envelope,
        sequence: u64,
        plain: &mut Frame,
        ip_length: u16,
        sealed: &mut Frame,
    ) -> Result<(), DropReason> {
        let label = self.label(sequence, esp::NEXT_HEADER_IPV4);
        let shown = shown(plain);
        let source = plain.buffer_mut().get_mut(LINK_LENGTH..).ok_or(DropReason::TooBig)?;
        let behind = sealed.buffer_mut().get_mut(BODY_AT..).ok_or(DropReason::TooBig)?;
        esp::seal_behind(self.keys, label, source, ip_length.into(), behind).map_err(|_| DropReason::TooBig)?;
        let end = envelope.write(sealed.head_mut(), label, ip_length.into(), shown);
        sealed.set_len(end.ok_or(DropReason::TooBig)?);
        Ok(())
    }

    /// Seals the plain IPv4 packet of `ip_length` bytes of a frame into `sealed`, all but its link header.
    #[inline]
    pub(crate) fn write(
        &self,
        sequence: u64,
        plain: &mut Frame,
        ip_length: u16,
        sealed: &mut Frame,
    ) -> Result<(), DropReason> {
        let shown = shown(plain);
        self.seal(sequence, esp::NEXT_HEADER_IPV4, shown, plain, ip_length.into(), sealed)
    }

    /// The same for any packet.
    fn write_packet(&self, sequence: u64, packet: &mut Packet, sealed: &mut Frame) -> Result<(), DropReason> {
        let next_header = if packet.headers.addresses.is_v6() {
            esp::NEXT_HEADER_IPV6
        } else {
            esp::NEXT_HEADER_IPV4
        };
        let shown = Inner {
            tos: packet.headers.tos,
            dont_fragment: packet.headers.dont_fragment,
        };
        let length = packet.ip_length();
        let frame = packet.frame.as_mut().ok_or(DropReason::IpMalformed)?;
        self.seal(sequence, next_header, shown, frame, length, sealed)
    }

    #[inline(always)]
    fn label(&self, sequence: u64, next_header: u8) -> Label {
        Label {
            spi: self.sa.spi,
            sequence,
            esn: self.esn(),
            next_header,
        }
    }

    #[inline]
    fn seal(
        &self,
        sequence: u64,
        next_header: u8,
        shown: Inner,
        plain: &mut Frame,
        length: usize,
        sealed: &mut Frame,
    ) -> Result<(), DropReason> {
        let label = self.label(sequence, next_header);
        let source = plain
            .buffer_mut()
            .get_mut(LINK_LENGTH..)
            .ok_or(DropReason::IpMalformed)?;
        let buffer = sealed.buffer_mut();
        let room = buffer
            .get_mut(LINK_LENGTH + self.template.header_length()..)
            .ok_or(DropReason::TooBig)?;
        let esp_length = esp::seal_from(self.keys, label, source, length, room).map_err(|_| DropReason::TooBig)?;
        let end = outer::write_outer(buffer, LINK_LENGTH, &self.template, esp_length, shown, sequence as u16)
            .map_err(|_| DropReason::TooBig)?;
        sealed.set_len(end);
        Ok(())
    }
}

/// What of a plain IPv4 packet shows outside.
#[inline(always)]
fn shown(plain: &Frame) -> Inner {
    let head = plain.head();
    Inner {
        tos: head[LINK_LENGTH + 1],
        dont_fragment: head[LINK_LENGTH + 6] & 0x40 != 0,
    }
}

/// What the outer header is made of.
#[inline]
fn template(outbound: &Outbound<'_>) -> OuterTemplate {
    let tunnel = outbound.tunnel;
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
            destination_port: outbound.remote_port,
        }
    } else {
        Encapsulation::Ip
    };
    let dscp = if tunnel.flags & tunnel_flag::DSCP_COPY != 0 {
        Dscp::Copy
    } else {
        Dscp::Fixed(0)
    };
    let addresses = address::pair(tunnel.local, outbound.remote);
    OuterTemplate {
        addresses,
        encapsulation,
        dscp,
        dont_fragment,
        ttl: OUTER_TTL,
    }
}
