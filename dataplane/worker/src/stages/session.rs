//! `session`: one lookup per packet. A hit of the current epochs carries the whole decision; a hit of older epochs, or none,
//! goes on to `decide`.

use crate::address;
use crate::batch::{Batch, Entry, Exit, Packet, Translation};
use crate::bind::Family;
use crate::gateway::Gateway;
use crate::path;
use crate::tuple::{self, Tuple};
use tombolo_flow::decide::{NO_PORTS, resolve};
use tombolo_flow::{Hit, Key4, Key6};
use tombolo_packet_io::{BATCH, PacketIo};
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{NextHop, PortRecord, SegmentIndex, port_flag, segment_flag};
use tombolo_tables::view::Tables;
use tombolo_wire::{Fragment, Headers, L4, checksum, icmp, mtu, tcp_flag};

/// In a session's flags, by direction: its packets come out of a tunnel, so that none is believed which comes in clear from
/// the underlay (where the underlay and the tunnel share a segment, the key alone would not tell).
pub(crate) const TUNNELLED: [u8; 2] = [1, 2];

/// A packet that `decide` has to look at.
#[derive(Clone, Copy)]
pub struct Miss {
    /// Its place in the batch.
    pub place: usize,
    /// Why it is one.
    pub why: Why,
}

/// Why a packet was not served by a session.
#[derive(Clone, Copy)]
pub enum Why {
    /// No session knows it.
    Unknown,
    /// A session of older epochs knows it.
    Stale4(Hit<Key4>),
    /// The same for IPv6.
    Stale6(Hit<Key6>),
    /// Its segment keeps no sessions.
    Stateless,
    /// A fragment: its ports cannot be seen.
    Fragment,
    /// An ICMP error about a packet that no session knows.
    UnknownError,
}

struct Lookup<K> {
    keys: Vec<Option<K>>,
    hits: Vec<Option<Hit<K>>>,
    any: bool,
}

impl<K: Tuple> Lookup<K> {
    fn new() -> Self {
        Lookup {
            keys: vec![None; BATCH],
            hits: vec![None; BATCH],
            any: false,
        }
    }
}

/// Looks sessions up.
pub struct Session {
    v4: Lookup<Key4>,
    v6: Lookup<Key6>,
    quoted: Vec<Option<Headers>>,
    misses: Vec<Miss>,
}

impl Session {
    /// Scratch for one batch.
    pub fn new() -> Self {
        Session {
            v4: Lookup::new(),
            v6: Lookup::new(),
            quoted: vec![None; BATCH],
            misses: Vec::with_capacity(BATCH),
        }
    }

    /// Serves what sessions know and returns the rest. The batch holds received packets only: at most 64.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch) -> &[Miss] {
        self.misses.clear();
        let packets = batch.all();
        let count = packets.len().min(BATCH);
        for (place, packet) in packets[..count].iter().enumerate() {
            self.v4.keys[place] = None;
            self.v6.keys[place] = None;
            if packet.fate.is_none() {
                self.key(gateway.tables, place, packet);
            }
        }
        if core::mem::take(&mut self.v4.any) {
            gateway
                .state
                .sessions4()
                .lookup_batch(&self.v4.keys[..count], &mut self.v4.hits[..count]);
        }
        if core::mem::take(&mut self.v6.any) {
            gateway
                .state
                .sessions6()
                .lookup_batch(&self.v6.keys[..count], &mut self.v6.hits[..count]);
        }
        for (place, packet) in packets[..count].iter_mut().enumerate() {
            let quoted = self.quoted[place].as_ref();
            let served = if self.v4.keys[place].is_some() {
                serve(gateway, packet, self.v4.hits[place].as_ref(), quoted, Why::Stale4)
            } else if self.v6.keys[place].is_some() {
                serve(gateway, packet, self.v6.hits[place].as_ref(), quoted, Why::Stale6)
            } else {
                Ok(())
            };
            if let Err(why) = served {
                self.misses.push(Miss { place, why });
            }
        }
        &self.misses
    }

    /// Finds the key that the packet is looked up by; packets without one are misses at once.
    #[inline]
    fn key(&mut self, tables: &Tables<'_>, place: usize, packet: &Packet) {
        self.quoted[place] = None;
        let headers = &packet.headers;
        if packet.entry == Entry::Kernel || is_stateless(tables, packet.segment) {
            return self.misses.push(Miss {
                place,
                why: Why::Stateless,
            });
        }
        if headers.fragment != Fragment::None {
            return self.misses.push(Miss {
                place,
                why: Why::Fragment,
            });
        }
        let key_headers = match headers.l4_kind {
            // RFC 5508 REQ-3: an error with a wrong checksum is not translated.
            L4::IcmpError if !checksum::transport_valid(packet.bytes(), headers) => {
                return self.misses.push(Miss {
                    place,
                    why: Why::UnknownError,
                });
            }
            L4::IcmpError => match icmp::quoted(packet.bytes(), headers) {
                Some(quoted) => {
                    self.quoted[place] = Some(quoted);
                    tuple::reversed(&quoted)
                }
                None => {
                    return self.misses.push(Miss {
                        place,
                        why: Why::UnknownError,
                    });
                }
            },
            L4::Tcp { .. } | L4::Udp | L4::Echo { .. } | L4::IcmpOther | L4::Esp { .. } | L4::Other | L4::Unseen => {
                *headers
            }
        };
        if let Some(key) = Key4::of(packet.segment, &key_headers) {
            self.v4.keys[place] = Some(key);
            self.v4.any = true;
        } else if let Some(key) = Key6::of(packet.segment, &key_headers) {
            self.v6.keys[place] = Some(key);
            self.v6.any = true;
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

/// Applies a hit, or says why it cannot serve.
#[inline]
fn serve<I: PacketIo, K: Family>(
    gateway: &Gateway<'_, I>,
    packet: &mut Packet,
    hit: Option<&Hit<K>>,
    quoted: Option<&Headers>,
    stale: impl Fn(Hit<K>) -> Why,
) -> Result<(), Why> {
    let Some(hit) = hit else {
        return Err(if quoted.is_some() {
            Why::UnknownError
        } else {
            Why::Unknown
        });
    };
    if hit.flags & TUNNELLED[hit.direction as usize] != 0 && is_clear_from_underlay(gateway.tables, packet) {
        packet.drop(DropReason::ClearFromUnderlay);
        return Ok(());
    }
    if !is_current(gateway.tables, packet.segment, hit) {
        // An error cannot decide for the flow that it is about; the flow's own next packet does.
        return Err(if quoted.is_some() {
            Why::UnknownError
        } else {
            stale(*hit)
        });
    }
    if let Some(quoted) = quoted {
        if claims_protected(gateway.tables, packet, hit) {
            packet.drop(DropReason::ClearFromUnderlay);
        } else {
            apply_error(packet, hit, quoted);
        }
        return Ok(());
    }
    apply(gateway, packet, hit);
    count(gateway, packet, hit);
    Ok(())
}

/// Books a packet on its session, and keeps the session alive.
#[inline]
pub(super) fn count<I: PacketIo, K: Family>(gateway: &Gateway<'_, I>, packet: &Packet, hit: &Hit<K>) {
    K::sessions(gateway.state).touch(
        hit,
        gateway.now.seconds(),
        flags(&packet.headers),
        packet.ip_length() as u32,
    );
}

/// Whether the packet came from the underlay, not out of a tunnel.
#[inline]
fn is_clear_from_underlay(tables: &Tables<'_>, packet: &Packet) -> bool {
    let underlay = |record: &PortRecord| record.flags & port_flag::UNDERLAY != 0;
    packet.tunnel.is_none() && tables.port(packet.ingress).is_some_and(underlay)
}

/// Whether an ICMP error came in clear from the underlay and claims a sender from behind a tunnel.
fn claims_protected<K: Tuple>(tables: &Tables<'_>, packet: &Packet, hit: &Hit<K>) -> bool {
    let egress = SegmentIndex(hit.rewrite_to.segment());
    let sender = || resolve(tables, egress, &packet.headers.addresses.reversed(), NO_PORTS);
    is_clear_from_underlay(tables, packet) && matches!(sender().next_hop, NextHop::Tunnel(_))
}

/// Whether the decision was taken under the present epochs of both segments.
#[inline]
fn is_current<K: Tuple>(tables: &Tables<'_>, segment: SegmentIndex, hit: &Hit<K>) -> bool {
    let epoch = |segment| tables.segment(segment).map_or(0, |record| record.epoch);
    hit.epochs == [epoch(segment), epoch(SegmentIndex(hit.rewrite_to.segment()))]
}

/// Writes a session's decision onto a packet of it.
#[inline]
pub(super) fn apply<I: PacketIo, K: Tuple>(gateway: &Gateway<'_, I>, packet: &mut Packet, hit: &Hit<K>) {
    let (_, target) = address::of(&hit.rewrite_to.addresses());
    packet.exit = Exit::Hop {
        next_hop: NextHop::from_bits(hit.next_hop),
        target,
    };
    if hit.translated {
        packet.translation = Translation::Packet(hit.rewrite_to.rewrite());
    }
    clamp(gateway, packet);
}

/// The first segments of a TCP connection carry the MSS; no other packet does.
#[inline]
pub(super) fn clamp<I: PacketIo>(gateway: &Gateway<'_, I>, packet: &mut Packet) {
    if flags(&packet.headers) & tcp_flag::SYN != 0 {
        packet.mss = mss(gateway, packet);
    }
}

/// An ICMP error goes where the reply to the packet it quotes would go, with the quote translated back (RFC 5508 §4).
fn apply_error<K: Tuple>(packet: &mut Packet, hit: &Hit<K>, quoted: &Headers) {
    let to = hit.rewrite_to.addresses();
    let (_, target) = address::of(&to);
    packet.exit = Exit::Hop {
        next_hop: NextHop::from_bits(hit.next_hop),
        target,
    };
    if !hit.translated {
        return;
    }
    let (sender, _) = address::of(&packet.headers.addresses);
    let (_, quoted_destination) = address::of(&quoted.addresses);
    let shown = address::of(&to).0;
    // Where the flow's source is translated on this way, nobody of that realm may show: not a router inside either.
    let source = if shown == quoted_destination { sender } else { shown };
    packet.translation = Translation::Error {
        outer: address::pair(source, target),
        quoted_to: hit.rewrite_to.swapped().rewrite(),
    };
}

/// TCP flags of a packet, 0 for anything else.
#[inline]
pub(super) fn flags(headers: &Headers) -> u8 {
    match headers.l4_kind {
        L4::Tcp { flags } => flags,
        L4::Udp | L4::Echo { .. } | L4::IcmpError | L4::IcmpOther | L4::Esp { .. } | L4::Other | L4::Unseen => 0,
    }
}

#[inline]
fn is_stateless(tables: &Tables<'_>, segment: SegmentIndex) -> bool {
    tables
        .segment(segment)
        .is_some_and(|record| record.flags & segment_flag::STATELESS != 0)
}

/// The MSS both ends may use: what fits through the narrower of the path in and the path out, within the segment's ceiling.
fn mss<I: PacketIo>(gateway: &Gateway<'_, I>, packet: &Packet) -> u16 {
    let tables = gateway.tables;
    let way_in = match packet.tunnel {
        Some(tunnel) => path::tunnel_mtu(tables, gateway.state, tunnel),
        None => path::port_mtu(tables, packet.ingress),
    };
    let way_out = path::mtu(tables, gateway.state, packet.exit);
    let fits = mtu::mss(way_in.min(way_out), packet.headers.addresses.is_v6());
    match tables.segment(packet.segment).map_or(0, |record| record.mss_max) {
        0 => fits,
        ceiling => fits.min(ceiling),
    }
}
