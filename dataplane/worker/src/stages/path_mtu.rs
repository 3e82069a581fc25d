//! Path MTU of tunnels: a router of the underlay says that our outer packet is too big. It is believed when it quotes a
//! packet of a live SA (RFC 4301 §8.2), and only down to a floor.

use crate::address;
use crate::batch::{Batch, Entry, Packet};
use crate::gateway::Gateway;
use crate::path;
use tombolo_packet_io::PacketIo;
use tombolo_tables::events::Event;
use tombolo_tables::fate::PuntReason;
use tombolo_tables::layout::{SaRecord, SegmentIndex, TunnelIndex, TunnelRecord, encapsulation};
use tombolo_tables::view::Tables;
use tombolo_wire::mtu::{AEAD, Outer, esp_inner_mtu};
use tombolo_wire::{Headers, L4, checksum, icmp};

/// No path is believed to be narrower: IPv6's least (RFC 8200 §5), and for IPv4 what every host must take (RFC 791 §3.2).
const OUTER_FLOOR_V6: u32 = 1280;
const OUTER_FLOOR_V4: u32 = 576;
const UDP_HEADER: usize = 8;

/// Lowers tunnels' MTUs.
#[derive(Default)]
pub struct PathMtu;

impl PathMtu {
    /// Takes packet-too-big and fragmentation-needed messages about our own outer packets.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch) {
        for packet in batch.travelling() {
            let outside = packet.entry == Entry::Received && packet.tunnel.is_none();
            if packet.headers.l4_kind != L4::IcmpError || !outside {
                continue;
            }
            if let Some((tunnel, inner_mtu)) = learned(gateway.tables, packet) {
                let lowers = inner_mtu < path::tunnel_mtu(gateway.tables, gateway.state, tunnel);
                if lowers && gateway.state.lower_tunnel_mtu(tunnel, inner_mtu) {
                    gateway.tell(Event::TunnelMtu { tunnel, mtu: inner_mtu });
                }
                packet.punt(PuntReason::Protocol);
            }
        }
    }
}

/// The tunnel that the message is about, and the largest inner packet that fits now.
fn learned(tables: &Tables<'_>, packet: &Packet) -> Option<(TunnelIndex, u16)> {
    let mtu = icmp::quoted_mtu(packet.bytes(), &packet.headers)?;
    let quoted = icmp::quoted(packet.bytes(), &packet.headers)?;
    if !checksum::transport_valid(packet.bytes(), &packet.headers) {
        return None;
    }
    let (_, told) = address::of(&packet.headers.addresses);
    let (local, remote) = address::of(&quoted.addresses);
    let seen = Seen::of(packet.bytes(), &quoted)?;
    let matches = |tunnel: &TunnelRecord| {
        tunnel.local == local
            && tunnel.remote == remote
            && told == local
            && SegmentIndex(tunnel.underlay_segment) == packet.segment
            && tables.outbound_sas(tunnel).any(|(_, sa)| seen.is_of(tunnel, sa))
    };
    let index = tables.tunnels().iter().position(matches)?;
    let v6 = quoted.addresses.is_v6();
    let floor = if v6 { OUTER_FLOOR_V6 } else { OUTER_FLOOR_V4 };
    let outer = u16::try_from(mtu.max(floor)).ok()?;
    let udp = tables.tunnels()[index].encapsulation == encapsulation::ESP_UDP;
    Some((
        TunnelIndex(index as u32),
        esp_inner_mtu(Outer { mtu: outer, v6, udp }, AEAD),
    ))
}

/// What a quote shows of one of our outer packets.
struct Seen {
    /// Outer UDP source and destination port.
    ports: Option<(u16, u16)>,
    /// A router need not quote more than 8 bytes behind the IP header (RFC 792): of UDP then the ports alone.
    spi: Option<u32>,
}

impl Seen {
    fn of(bytes: &[u8], quoted: &Headers) -> Option<Seen> {
        match quoted.l4_kind {
            L4::Esp { spi } => Some(Seen {
                ports: None,
                spi: Some(spi),
            }),
            L4::Udp => {
                let payload = bytes.get(usize::from(quoted.l4) + UDP_HEADER..usize::from(quoted.end));
                let spi = payload.and_then(|payload| payload.first_chunk::<4>());
                Some(Seen {
                    ports: Some((quoted.source_port, quoted.destination_port)),
                    spi: spi.map(|spi| u32::from_be_bytes(*spi)),
                })
            }
            L4::Tcp { .. } | L4::Echo { .. } | L4::IcmpError | L4::IcmpOther | L4::Other | L4::Unseen => None,
        }
    }

    fn is_of(&self, tunnel: &TunnelRecord, sa: &SaRecord) -> bool {
        let in_udp = tunnel.encapsulation == encapsulation::ESP_UDP;
        let ports = in_udp.then_some((tunnel.local_port, tunnel.remote_port));
        self.ports == ports && self.spi.is_none_or(|spi| spi == sa.spi)
    }
}
