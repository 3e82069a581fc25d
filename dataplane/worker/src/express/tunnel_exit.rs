//! Sealing in the lane: packets for tunnels are put together, then sealed; those for one tunnel that follow each other with one
//! reservation of sequence numbers.
//!
//! Whether a tunnel takes a packet is remembered for a generation. So the tunnel itself, its SA and its key are only touched
//! when packets are sealed, and asked for some packets ahead.

use super::exits::Exit;
use super::ingress::Ingress;
use super::outgoing::Departures;
use super::payload::{AHEAD_PAYLOAD, ask_payload};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::{Carries, Outbound, SealTo};
use core::ops::Range;
use tombolo_packet_io::{BATCH, Frame, FrameBatch, PacketIo};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::{NextHop, SaIndex, TunnelIndex};
use tombolo_tables::region_prefetch::prefetch_near;
use tombolo_wire::{ethertype, plain};

const LINK_LENGTH: usize = 14;
/// Tunnels whose verdicts are remembered: 256 KiB, of which few tunnels touch little.
const VERDICTS: usize = 1 << 15;
/// How many packets ahead of the one that is sealed the lines of its tunnel are asked for, and then those of its SA.
const AHEAD_TUNNEL: usize = 12;
const AHEAD_SA: usize = 6;
/// Bytes that a sealed packet may be longer: a frame that was sealed from is sealed into next.
const SEALED_MORE: usize = 64;

/// Packets for tunnels, edited and not yet sealed.
pub(super) struct TunnelExit {
    frames: FrameBatch,
    /// `NextHop` bits of the tunnel of each.
    hops: [u32; BATCH],
    /// They are not all the same.
    mixed: bool,
    verdicts: Verdicts,
    /// `NextHop` bits of the tunnel that was asked last in this batch; 0 is none.
    hop: u32,
    /// Largest inner packet, 0 where the lane must not seal for the tunnel.
    mtu: u16,
}

/// Largest inner packet by tunnel, as the tables say.
struct Verdicts {
    of: Box<[Verdict]>,
    generation: u16,
}

#[derive(Clone, Copy, Default)]
struct Verdict {
    hop: u32,
    generation: u16,
    mtu: u16,
}

impl Default for TunnelExit {
    fn default() -> Self {
        TunnelExit {
            frames: FrameBatch::new(),
            hops: [0; BATCH],
            mixed: false,
            verdicts: Verdicts {
                of: vec![Verdict::default(); VERDICTS].into_boxed_slice(),
                generation: 1,
            },
            hop: 0,
            mtu: 0,
        }
    }
}

impl TunnelExit {
    /// A new generation: what the last one said of tunnels is forgotten.
    pub(super) fn forget(&mut self) {
        let verdicts = &mut self.verdicts;
        verdicts.generation = verdicts.generation.wrapping_add(1);
        if verdicts.generation == 0 {
            verdicts.of.fill(Verdict::default());
            verdicts.generation = 1;
        }
    }

    /// Whether this worker may seal a packet of so many bytes for the tunnel, and all that takes is there.
    #[inline(always)]
    pub(super) fn takes<I: PacketIo>(
        &mut self,
        gateway: &Gateway<'_, I>,
        keys: &mut KeyCache,
        departures: &mut Departures,
        hop: u32,
        ip_length: u16,
    ) -> bool {
        if hop != self.hop {
            self.hop = hop;
            self.mtu = self.verdicts.mtu(gateway, keys, departures, hop);
        }
        ip_length <= self.mtu
    }

    /// Adds a packet that the tunnel asked last takes.
    #[inline(always)]
    pub(super) fn add(&mut self, frame: Frame) {
        self.hops[self.frames.len() % BATCH] = self.hop;
        self.mixed |= self.hops[0] != self.hop;
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
        let count = self.frames.len();
        let mixed = core::mem::take(&mut self.mixed);
        if mixed {
            for place in 0..AHEAD_TUNNEL {
                self.ask_tunnel(gateway, place);
            }
            for place in 0..AHEAD_SA {
                self.ask_sa(gateway, keys, place);
            }
        }
        for place in 0..AHEAD_PAYLOAD {
            ask_payload(&mut self.frames, place, SEALED_MORE);
        }
        let mut first = 0;
        while first < count {
            let hop = self.hops[first];
            let others = if mixed {
                self.hops[first..count].iter().position(|other| *other != hop)
            } else {
                None
            };
            let run = first..others.map_or(count, |others| first + others);
            if mixed {
                for place in run.clone() {
                    self.ask_tunnel(gateway, place + AHEAD_TUNNEL);
                    self.ask_sa(gateway, keys, place + AHEAD_SA);
                }
            }
            first = run.end;
            self.seal_for_one(gateway, keys, departures, ingress, hop, run);
        }
        self.frames.close_gaps();
    }

    /// Asks for a tunnel's record, if it is another than that of the packet before.
    #[inline(always)]
    fn ask_tunnel<I: PacketIo>(&self, gateway: &Gateway<'_, I>, place: usize) {
        if let Some(index) = self.other_tunnel(place)
            && let Some(tunnel) = gateway.tables.tunnels().get(index.usize())
        {
            prefetch_near(&tunnel.local);
            prefetch_near(&tunnel.flags);
        }
    }

    /// Asks for its SA, the SA's state and the key.
    #[inline(always)]
    fn ask_sa<I: PacketIo>(&self, gateway: &Gateway<'_, I>, keys: &KeyCache, place: usize) {
        if let Some(index) = self.other_tunnel(place)
            && let Some(tunnel) = gateway.tables.tunnels().get(index.usize())
            && let Some(sa) = gateway.tables.sas().get(tunnel.outbound as usize)
        {
            prefetch_near(&sa.spi);
            prefetch_near(&sa.flags);
            let index = SaIndex(tunnel.outbound);
            gateway.state.ask_outbound_sa(gateway.worker, index);
            keys.ask(index);
        }
    }

    #[inline(always)]
    fn other_tunnel(&self, place: usize) -> Option<TunnelIndex> {
        let other = (place < self.frames.len()) & (place > 0) && self.hops[place] != self.hops[place - 1];
        if other { tunnel_of(self.hops[place]) } else { None }
    }

    /// Seals the packets of a tunnel that follow each other: each into the frame that the one before it left.
    #[inline(always)]
    fn seal_for_one<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        departures: &mut Departures,
        ingress: &Ingress,
        hop: u32,
        mut run: Range<usize>,
    ) {
        let Departures { exits, sending } = departures;
        let tables = gateway.tables;
        let outbound = tunnel_of(hop).and_then(|index| Outbound::of(gateway, index, Carries::AnyIpv4).ok());
        let to = outbound.and_then(|outbound| SealTo::new(&outbound, keys));
        if let Some(to) = &to {
            gateway.state.ask_outbound_sa(gateway.worker, to.sa_index);
        }
        let exit = to
            .as_ref()
            .and_then(|to| exits.find(tables, gateway.ports, to.underlay_hop(), to.remote4()));
        let (Some(to), Some(exit)) = (to, exit) else {
            return self.drop_all(gateway, ingress, run, DropReason::TunnelDown);
        };
        let Some(mut empty) = self.frame_for(gateway, ingress, &mut run) else {
            return;
        };
        let link = link_header(exit, to.is_v6());
        let envelope = to.envelope(&link);
        let numbers = gateway.state.reserve_sequences(to.sa_index, run.len(), to.esn());
        let numbered = run.start..run.start + numbers.clone().count();
        let (mut packets, mut bytes) = (0, 0);
        for (place, sequence) in numbered.clone().zip(numbers) {
            ask_payload(&mut self.frames, place + AHEAD_PAYLOAD, SEALED_MORE);
            let Some(frame) = self.frames.get_mut(place) else {
                continue;
            };
            let ip_length = plain::ip_length(frame.head());
            let written = match &envelope {
                Some(envelope) => to.write_in(envelope, sequence, frame, ip_length, &mut empty),
                None => to.write(sequence, frame, ip_length, &mut empty),
            };
            match written {
                Ok(()) => {
                    packets += 1;
                    bytes += usize::from(ip_length);
                    core::mem::swap(frame, &mut empty);
                }
                Err(reason) => self.drop_all(gateway, ingress, place..place + 1, reason),
            }
        }
        gateway.io.release(empty);
        if numbered.end < run.end {
            self.drop_all(gateway, ingress, numbered.end..run.end, DropReason::SequenceExhausted);
        }
        for place in numbered {
            let Some(mut sealed) = self.frames.take(place) else {
                continue;
            };
            if envelope.is_none() {
                sealed.head_mut()[..LINK_LENGTH].copy_from_slice(&link);
            }
            sending.send(gateway, ingress, exit, sealed);
        }
        gateway
            .state
            .count_sa_packets(gateway.worker, to.sa_index, packets, bytes, gateway.now);
    }

    /// An empty frame for the first packet of a run. Where there is none, the packet is dropped for it, and its frame serves the next.
    #[inline(always)]
    fn frame_for<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        run: &mut Range<usize>,
    ) -> Option<Frame> {
        loop {
            if let Some(empty) = gateway.io.allocate() {
                return Some(empty);
            }
            let first = run.next()?;
            self.drop_all(gateway, ingress, first..first + 1, DropReason::NoFrame);
        }
    }

    #[cold]
    fn drop_all<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        run: Range<usize>,
        reason: DropReason,
    ) {
        for place in run {
            if let Some(frame) = self.frames.take(place) {
                gateway.settle_frame(frame, ingress.port, ingress.slot, Fate::Drop(reason));
            }
        }
    }
}

/// Link header of what leaves there.
#[inline(always)]
fn link_header(exit: &Exit, is_v6: bool) -> [u8; LINK_LENGTH] {
    let ethertype = if is_v6 { ethertype::IPV6 } else { ethertype::IPV4 };
    let mut head = [0; plain::HEAD];
    exit.stations.write(&mut head);
    let mut link = [0; LINK_LENGTH];
    link.copy_from_slice(&head[..LINK_LENGTH]);
    link[12..].copy_from_slice(&ethertype.to_be_bytes());
    link
}

impl Verdicts {
    /// Largest inner packet that this worker can seal for the tunnel now; 0 if none.
    #[inline(always)]
    fn mtu<I: PacketIo>(
        &mut self,
        gateway: &Gateway<'_, I>,
        keys: &mut KeyCache,
        departures: &mut Departures,
        hop: u32,
    ) -> u16 {
        let Some(index) = tunnel_of(hop) else { return 0 };
        let verdict = &mut self.of[index.usize() % VERDICTS];
        if (verdict.hop != hop) | (verdict.generation != self.generation) {
            *verdict = Verdict {
                hop,
                generation: self.generation,
                mtu: judge(gateway, keys, departures, index).unwrap_or(0),
            };
        }
        match gateway.state.tunnel_mtu(index) {
            0 => verdict.mtu,
            learned => verdict.mtu.min(learned),
        }
    }
}

/// The tunnel that a hop names.
#[inline(always)]
pub(super) fn tunnel_of(hop: u32) -> Option<TunnelIndex> {
    let index = hop ^ NextHop::Tunnel(TunnelIndex(0)).to_bits();
    (index < 1 << 28).then_some(TunnelIndex(index))
}

/// Largest inner packet, as configured, of a tunnel that this worker can seal for and reach the far end of.
#[cold]
fn judge<I: PacketIo>(
    gateway: &Gateway<'_, I>,
    keys: &mut KeyCache,
    departures: &mut Departures,
    index: TunnelIndex,
) -> Option<u16> {
    let outbound = Outbound::of(gateway, index, Carries::AnyIpv4).ok()?;
    if outbound.sealer(gateway).is_some() {
        return None;
    }
    let to = SealTo::new(&outbound, keys)?;
    let (hop, far_end) = (to.underlay_hop(), to.remote4());
    departures.exits.find(gateway.tables, gateway.ports, hop, far_end)?;
    gateway.tables.tunnel(index).map(|tunnel| tunnel.mtu)
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
