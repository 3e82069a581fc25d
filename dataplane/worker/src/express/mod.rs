//! The express lane: what nearly every packet needs and nothing else.
//!
//! ```text
//! (open) → read (wire::plain) ··· session candidate ··· session → edit, link header → (seal) → transmit
//! ```
//! Packets are read and edited sixteen at a time ([`plain::columns`](tombolo_wire::plain::columns)). Where memory must be waited for
//! (the dots), the next sixteen take their step meanwhile.
//!
//! The lane takes a frame only when every question has its usual answer: a plain packet, a live session of the present epochs (or
//! one that may begin), a next hop that is known, room within the MTU. Until then it changes nothing, so that whatever it leaves
//! in the batch goes on the general [journey](crate::journey) as it came, to the same end.

mod begin;
mod epochs;
mod exits;
mod ingress;
mod join;
mod leads;
mod outgoing;
mod payload;
mod query;
mod riders;
mod sending;
mod sessionless;
mod stateless;
mod translations;
mod tunnel_entry;
mod tunnel_exit;
mod vectors;

use crate::batch::Batch;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::ports::PortMap;
use begin::Begin;
use ingress::{Ingress, Ingresses};
use outgoing::Outgoing;
use riders::Riders;
use sessionless::Sessionless;
use stateless::{From, Stateless};
use tombolo_packet_io::{BATCH, Frame, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::layout::SegmentIndex;
use tombolo_tables::region_prefetch::prefetch;
use tombolo_tables::view::Tables;
use tombolo_wire::plain::columns::{Columns, LANES};
use tunnel_entry::TunnelEntry;

/// The lane of one worker.
pub struct Express {
    riders: Riders,
    ingresses: Ingresses,
    outgoing: Outgoing,
    tunnel_entry: TunnelEntry,
    stateless: Stateless,
    sessionless: Sessionless,
    begin: Begin,
}

impl Express {
    /// An empty lane.
    pub fn new() -> Self {
        Express {
            riders: Riders::default(),
            ingresses: Ingresses::default(),
            outgoing: Outgoing::new(),
            tunnel_entry: TunnelEntry::default(),
            stateless: Stateless::default(),
            sessionless: Sessionless::default(),
            begin: Begin::default(),
        }
    }

    /// Learns a new generation: nothing of the last one is used again.
    pub fn renew(&mut self, tables: &Tables<'_>, ports: &PortMap) {
        self.ingresses.renew(tables, ports);
        self.riders.renew(tables);
        self.sessionless.renew(tables);
        self.outgoing.forget();
        self.begin.renew(tables);
    }

    /// Sends the frames of `frames`, received on `slot`, that need nothing unusual; the others stay in it, in their order. What was
    /// opened and needs something unusual goes into `batch`.
    pub fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        slot: PortSlot,
        frames: &mut FrameBatch,
        batch: &mut Batch,
    ) {
        let Some(ingress) = self.ingresses.of(slot) else {
            return;
        };
        frames.sixteen(0).iter().for_each(|frame| ask(frame.as_ref()));
        if ingress.ends_tunnels {
            self.tunnel_entry
                .open(gateway, keys, &mut self.outgoing.departures.sending, &ingress, frames);
        }
        if ingress.stateless {
            let from = From {
                segment: SegmentIndex(ingress.segment),
                opened: None,
            };
            self.stateless
                .run(gateway, keys, &mut self.outgoing, &ingress, from, frames);
        } else if !self.run_sessionless(gateway, keys, &ingress, frames) {
            let Express {
                riders,
                outgoing,
                tunnel_entry,
                begin,
                ..
            } = self;
            riders.run(gateway, keys, outgoing, tunnel_entry, begin, &ingress, frames);
            if !begin.is_empty() {
                begin.run(gateway, keys, outgoing, &ingress, frames);
            }
        }
        gateway.io.ask_ahead(slot);
        self.outgoing
            .finish(gateway, keys, &ingress, frames, self.tunnel_entry.places());
        self.tunnel_entry.leave(gateway, &ingress, frames, batch);
        frames.close_gaps();
    }
}

impl Express {
    /// Sends what was opened for segments without sessions. Whether that was the whole batch.
    #[inline(always)]
    fn run_sessionless<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        ingress: &Ingress,
        frames: &mut FrameBatch,
    ) -> bool {
        if !(self.sessionless.any() && self.tunnel_entry.any()) {
            return false;
        }
        let all = self.tunnel_entry.places_of(|segment| self.sessionless.holds(segment));
        let mut left = all;
        while let Some(opened) = self.tunnel_entry.at(left.trailing_zeros() as usize) {
            let segment = opened.segment;
            let same = left & self.tunnel_entry.places_of(|other| other == segment);
            let from = From {
                segment,
                opened: Some(same),
            };
            self.stateless
                .run(gateway, keys, &mut self.outgoing, ingress, from, frames);
            left &= !same;
        }
        all.count_ones() as usize == frames.len()
    }
}

impl Default for Express {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts a frame of the batch, as it came, into its lane of its sixteen; the one sixteen places behind it is asked for.
#[inline(always)]
fn load(columns: &mut Columns, frames: &FrameBatch, group: usize, lane: usize) {
    if group + 1 < BATCH / LANES {
        ask(frames.sixteen(group + 1)[lane].as_ref());
    }
    match &frames.sixteen(group)[lane] {
        Some(frame) => columns.load(lane, frame.head(), frame.len()),
        None => columns.leave_out(lane),
    }
}

#[inline(always)]
fn ask(frame: Option<&Frame>) {
    if let Some(frame) = frame {
        prefetch(frame.head());
    }
}
