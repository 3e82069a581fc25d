//! A batch: at most 64 packets on their journey, and what the gateway itself adds while they travel.

use tombolo_packet_io::{BATCH, Frame, PortSlot};
use tombolo_tables::fate::{DropReason, Fate, PuntReason};
use tombolo_tables::layout::{Address, NextHop, PortIndex, SegmentIndex, TunnelIndex};
use tombolo_wire::{Headers, edit::Rewrite};

/// Room for one received packet each, and for the ICMP errors and fragments that they may give rise to.
pub const PACKETS_MAX: usize = 4 * BATCH;

/// Where a packet came from, for the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Taken from a port.
    Received,
    /// Made here: an ICMP error or a further fragment.
    Originated,
    /// Sent by the gateway's own kernel through a port's TAP.
    Kernel,
    /// Handed over by another worker.
    TakenOver,
}

/// Where a packet is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Not known yet.
    Undecided,
    /// By a next hop; `target` is the address to resolve when the hop is a whole link.
    Hop { next_hop: NextHop, target: Address },
    /// Straight back to the station that sent the packet (ICMP errors).
    Station { port: PortIndex, mac: [u8; 6] },
}

/// What `rewrite` has to do.
#[derive(Clone, Copy, Debug, Default)]
pub enum Translation {
    /// Nothing but the TTL.
    #[default]
    None,
    /// Addresses and ports of the packet.
    Packet(Rewrite),
    /// An ICMP error: its own addresses, and the packet it quotes (read again when it is edited: errors are rare).
    Error {
        outer: tombolo_wire::Addresses,
        quoted_to: Rewrite,
    },
}

/// One packet: a frame and what is known of it.
pub struct Packet {
    /// Taken when the fate is settled.
    pub frame: Option<Frame>,
    /// Port where it came in: its drops are booked there.
    pub ingress: PortIndex,
    /// Slot of that port in the packet I/O.
    pub slot: PortSlot,
    /// How it came.
    pub entry: Entry,
    /// Segment it is in: of the port, or of the tunnel it came out of.
    pub segment: SegmentIndex,
    /// Tunnel it came out of.
    pub tunnel: Option<TunnelIndex>,
    /// MAC address of the station that sent the frame.
    pub station: [u8; 6],
    /// Headers of the packet to forward (the inner one after `open`).
    pub headers: Headers,
    /// Where it leaves.
    pub exit: Exit,
    /// How it is translated.
    pub translation: Translation,
    /// Ceiling for the TCP MSS in bytes, 0 = leave it.
    pub mss: u16,
    /// Set once; later stages pass over the packet.
    pub fate: Option<Fate>,
}

impl Packet {
    /// Ends the journey with a drop.
    #[inline]
    pub fn drop(&mut self, reason: DropReason) {
        self.fate = Some(Fate::Drop(reason));
    }

    /// Ends the journey at the kernel.
    #[inline]
    pub fn punt(&mut self, reason: PuntReason) {
        self.fate = Some(Fate::Punt(reason));
    }

    /// The bytes of the frame; empty when it has been settled.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.frame.as_ref().map_or(&[], Frame::packet)
    }

    /// The bytes of the frame, to change; empty when it has been settled.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.frame.as_mut().map_or(&mut [], Frame::packet_mut)
    }

    /// Length of the IP packet in bytes.
    #[inline]
    pub fn ip_length(&self) -> usize {
        usize::from(self.headers.end - self.headers.l3)
    }
}

/// The packets of one run of the journey, in order of arrival.
pub struct Batch {
    packets: Vec<Packet>,
}

impl Batch {
    /// An empty batch with room for [`PACKETS_MAX`].
    pub fn new() -> Self {
        Batch {
            packets: Vec::with_capacity(PACKETS_MAX),
        }
    }

    /// Adds a packet, or gives it back when there is no room.
    #[inline]
    #[allow(
        clippy::result_large_err,
        reason = "a batch that is full is the rare case, and the caller settles the packet"
    )]
    pub fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        if self.packets.len() == PACKETS_MAX {
            return Err(packet);
        }
        self.packets.push(packet);
        Ok(())
    }

    /// How many packets there are, settled ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// A packet by its place.
    #[inline]
    pub fn packet(&mut self, place: usize) -> &mut Packet {
        &mut self.packets[place]
    }

    /// Packets that still travel.
    #[inline]
    pub fn travelling(&mut self) -> impl Iterator<Item = &mut Packet> {
        self.packets.iter_mut().filter(|packet| packet.fate.is_none())
    }

    /// All packets, with their places.
    #[inline]
    pub fn all(&mut self) -> &mut [Packet] {
        &mut self.packets
    }

    /// Empties the batch, whose packets are all settled.
    #[inline]
    pub fn clear(&mut self) {
        self.packets.clear();
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
