//! Path MTU of tunnels: a router of the underlay says that our outer packet is too big. It is believed when it quotes a
//! packet of a live SA (RFC 4301 §8.2), and only down to a floor.

use crate::address;
use crate::batch::{Batch, Packet};
use crate::gateway::Gateway;
use tombolo_packet_io::PacketIo;
use tombolo_tables::events::Event;
use tombolo_tables::fate::PuntReason;
use tombolo_tables::layout::{SaIndex, TunnelIndex, TunnelRecord, encapsulation, wildcard};
use tombolo_tables::view::Tables;
use tombolo_wire::mtu::{AEAD, Outer, esp_inner_mtu};
use tombolo_wire::{Headers, L4, icmp};

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
            if packet.headers.l4_kind != L4::IcmpError || packet.tunnel.is_some() {
                continue;
            }
            if let Some((tunnel, inner_mtu)) = learned(gateway.tables, packet) {
                if gateway.state.lower_tunnel_mtu(tunnel, inner_mtu) {
                    gateway.tell(Event::TunnelMtu { tunnel, mtu: inner_mtu });
                }
                packet.punt(PuntReason::Protocol);
            }
        }
    }
}

/// The tunnel that the message is about, and the largest inner packet that fits now.
fn learned(tables: Tables<'_>, packet: &Packet) -> Option<(TunnelIndex, u16)> {
    let quoted = icmp::quoted(packet.bytes(), &packet.headers)?;
    let mtu = icmp::quoted_mtu(packet.bytes(), &packet.headers)?;
    let (local, remote) = address::of(&quoted.addresses);
    let spi = quoted_spi(packet.bytes(), &quoted)?;
    let matches = |tunnel: &TunnelRecord| {
        tunnel.local == local
            && tunnel.remote == remote
            && tunnel.outbound != wildcard::NONE
            && tables.sa(SaIndex(tunnel.outbound)).is_some_and(|sa| sa.spi == spi)
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

fn quoted_spi(bytes: &[u8], quoted: &Headers) -> Option<u32> {
    match quoted.l4_kind {
        L4::Esp { spi } => Some(spi),
        L4::Udp => {
            let at = usize::from(quoted.l4) + UDP_HEADER;
            let spi = bytes.get(at..at + 4)?.first_chunk::<4>()?;
            Some(u32::from_be_bytes(*spi))
        }
        L4::Tcp { .. } | L4::Echo { .. } | L4::IcmpError | L4::IcmpOther | L4::Other | L4::Unseen => None,
    }
}
