//! Sealing in the lane: packets for one tunnel are put together, then sealed with one reservation of sequence numbers.

use super::exits::Exits;
use super::ingress::Ingress;
use super::outgoing::Departures;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::path;
use crate::stages::{SealTo, sealer};
use tombolo_packet_io::{Frame, FrameBatch, PacketIo};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::{NextHop, TunnelIndex};
use tombolo_tables::region_prefetch::prefetch;
use tombolo_wire::{ethertype, plain};

const LINK_LENGTH: usize = 14;
const CACHE_LINE: usize = 64;

/// Packets for one tunnel, edited and not yet sealed.
pub(super) struct TunnelExit {
    frames: FrameBatch,
    /// `NextHop` bits of the tunnel that was looked at last in this batch; 0 is none.
    hop: u32,
    /// Largest inner packet, 0 where the lane must not seal for the tunnel.
    mtu: u16,
}

impl Default for TunnelExit {
    fn default() -> Self {
        TunnelExit {
            frames: FrameBatch::new(),
            hop: 0,
            mtu: 0,
        }
    }
}

impl TunnelExit {
    /// Whether this worker may seal a packet of so many bytes for the tunnel, and all that takes is there.
    #[inline(always)]
    pub(super) fn takes<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        departures: &mut Departures,
        ingress: &Ingress,
        hop: u32,
        ip_length: u16,
    ) -> bool {
        if hop != self.hop {
            self.finish(gateway, keys, departures, ingress);
            self.hop = hop;
            self.mtu = mtu(gateway, keys, &mut departures.exits, hop).unwrap_or(0);
        }
        ip_length <= self.mtu
    }

    /// Adds a packet that the tunnel takes.
    #[inline(always)]
    pub(super) fn add(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// Seals what is there, hands it on to be sent, and forgets the tunnel.
    #[inline(always)]
    pub(super) fn finish<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        departures: &mut Departures,
        ingress: &Ingress,
    ) {
        if !self.frames.is_empty() {
            self.seal(gateway, keys, departures, ingress);
        }
        self.hop = 0;
    }

    #[inline(never)]
    fn seal<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        departures: &mut Departures,
        ingress: &Ingress,
    ) {
        let Departures { exits, sending } = departures;
        let tables = gateway.tables;
        let to = tunnel_of(self.hop).and_then(|index| SealTo::new(tables, keys, index));
        let exit = to
            .as_ref()
            .and_then(|to| exits.find(tables, gateway.ports, to.underlay_hop(), to.remote4()));
        let (Some(to), Some(exit)) = (to, exit) else {
            return self.drop_rest(gateway, ingress, DropReason::TunnelDown);
        };
        let ethertype = if to.is_v6() { ethertype::IPV6 } else { ethertype::IPV4 };
        let mut numbers = gateway
            .state
            .reserve_sequences(to.sa_index, self.frames.len(), to.esn());
        let (mut packets, mut bytes) = (0, 0);
        for place in 0..self.frames.len() {
            if let Some(next) = self.frames.get(place + 1) {
                for line in next.packet().chunks(CACHE_LINE) {
                    prefetch(&line[0]);
                }
            }
            let Some(mut plain_frame) = self.frames.take(place) else {
                continue;
            };
            let ip_length = plain::ip_length(plain_frame.head());
            let sealed = match (numbers.next(), gateway.io.allocate()) {
                (Some(sequence), Some(mut sealed)) => {
                    match to.write(sequence, &mut plain_frame, ip_length, &mut sealed) {
                        Ok(()) => Ok(sealed),
                        Err(reason) => {
                            gateway.io.release(sealed);
                            Err(reason)
                        }
                    }
                }
                (Some(_), None) => Err(DropReason::NoFrame),
                (None, sealed) => {
                    if let Some(sealed) = sealed {
                        gateway.io.release(sealed);
                    }
                    Err(DropReason::SequenceExhausted)
                }
            };
            match sealed {
                Ok(mut sealed) => {
                    packets += 1;
                    bytes += usize::from(ip_length);
                    let head = sealed.head_mut();
                    exit.stations.write(head);
                    head[12..LINK_LENGTH].copy_from_slice(&ethertype.to_be_bytes());
                    sending.send(gateway, ingress, exit, sealed);
                    gateway.io.release(plain_frame);
                }
                Err(reason) => gateway.settle_frame(plain_frame, ingress.port, ingress.slot, Fate::Drop(reason)),
            }
        }
        self.frames.close_gaps();
        gateway
            .state
            .count_sa_packets(gateway.worker, to.sa_index, packets, bytes, gateway.now);
    }

    #[cold]
    fn drop_rest<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, ingress: &Ingress, reason: DropReason) {
        for frame in self.frames.drain() {
            gateway.settle_frame(frame, ingress.port, ingress.slot, Fate::Drop(reason));
        }
    }
}

/// The tunnel that a hop names.
#[inline(always)]
pub(super) fn tunnel_of(hop: u32) -> Option<TunnelIndex> {
    let index = hop ^ NextHop::Tunnel(TunnelIndex(0)).to_bits();
    (index < 1 << 28).then_some(TunnelIndex(index))
}

/// Largest inner packet of a tunnel that this worker can seal for and reach the far end of.
fn mtu<I: PacketIo>(gateway: &Gateway<'_, I>, keys: &mut KeyCache, exits: &mut Exits, hop: u32) -> Option<u16> {
    let index = tunnel_of(hop)?;
    if sealer(gateway, index).is_some() {
        return None;
    }
    let to = SealTo::new(gateway.tables, keys, index)?;
    exits.find(gateway.tables, gateway.ports, to.underlay_hop(), to.remote4())?;
    Some(path::tunnel_mtu(gateway.tables, gateway.state, index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_tables::layout::{NeighbourIndex, PortIndex};

    #[test]
    fn only_a_tunnel_is_one() {
        assert_eq!(
            tunnel_of(NextHop::Tunnel(TunnelIndex(60_000)).to_bits()),
            Some(TunnelIndex(60_000))
        );
        for hop in [
            NextHop::Unreachable,
            NextHop::Discard,
            NextHop::Neighbour(NeighbourIndex(7)),
            NextHop::OnLink(PortIndex(u16::MAX)),
            NextHop::Local(PortIndex(3)),
        ] {
            assert_eq!(tunnel_of(hop.to_bits()), None, "{hop:?}");
        }
    }
}
