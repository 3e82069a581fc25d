//! Hand-over: where a tunnel's peer has a narrow replay window, one worker seals for all, so that its packets leave in the
//! order of their sequence numbers. The others copy what they have decided into that worker's inbox.
//!
//! Parcels are made at start and go round; a full inbox is a counted drop. Frames stay where they are: each worker has its own.

use crate::batch::{Entry, Exit, Packet, Translation};
use crossbeam::queue::ArrayQueue;
use std::os::fd::OwnedFd;
use tombolo_packet_io::{FRAME_CAPACITY, Frame, PortSlot};
use tombolo_tables::layout::{PortIndex, SegmentIndex};
use tombolo_wire::Headers;

/// Parcels of one inbox: what two other workers put in while its worker goes round once under full load, and the few hundred milliseconds that a
/// kernel may keep a worker of a small tunnel from its core.
const PARCELS: usize = 1024;

/// A packet between two workers: decided and rewritten, not sealed.
pub struct Parcel {
    bytes: Box<[u8]>,
    length: usize,
    note: Option<Note>,
}

/// What travels with the bytes.
#[derive(Clone, Copy)]
pub struct Note {
    /// Port where the packet came in.
    pub ingress: PortIndex,
    /// Its slot.
    pub slot: PortSlot,
    /// Segment of the packet.
    pub segment: SegmentIndex,
    /// Its headers.
    pub headers: Headers,
    /// The tunnel.
    pub exit: Exit,
}

impl Parcel {
    /// The packet, link header included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// What was noted of it.
    pub fn note(&self) -> Option<Note> {
        self.note
    }
}

impl Note {
    /// A packet that another worker decided and rewrote, in a frame of this worker's.
    pub fn packet(&self, frame: Frame) -> Packet {
        Packet {
            frame: Some(frame),
            ingress: self.ingress,
            slot: self.slot,
            entry: Entry::TakenOver,
            segment: self.segment,
            tunnel: None,
            station: [0; 6],
            headers: self.headers,
            exit: self.exit,
            translation: Translation::None,
            mss: 0,
            fate: None,
        }
    }
}

/// Where other workers put packets for one worker.
pub struct Inbox {
    full: ArrayQueue<Parcel>,
    empty: ArrayQueue<Parcel>,
    wake: Option<OwnedFd>,
}

impl Inbox {
    /// An empty inbox; `wake` wakes its worker.
    pub fn new(wake: Option<OwnedFd>) -> Self {
        let empty = ArrayQueue::new(PARCELS);
        for _ in 0..PARCELS {
            let parcel = Parcel {
                bytes: vec![0; FRAME_CAPACITY].into_boxed_slice(),
                length: 0,
                note: None,
            };
            // The queue is as long as there are parcels.
            let _ = empty.push(parcel);
        }
        Inbox {
            full: ArrayQueue::new(PARCELS),
            empty,
            wake,
        }
    }

    /// Copies a packet in; false when the inbox is full or the packet does not fit.
    pub fn put(&self, packet: &Packet) -> bool {
        let Some(mut parcel) = self.empty.pop() else {
            return false;
        };
        let bytes = packet.bytes();
        let fits = bytes.len() <= parcel.bytes.len();
        if fits {
            parcel.bytes[..bytes.len()].copy_from_slice(bytes);
            parcel.length = bytes.len();
            parcel.note = Some(Note {
                ingress: packet.ingress,
                slot: packet.slot,
                segment: packet.segment,
                headers: packet.headers,
                exit: packet.exit,
            });
        }
        let queue = if fits { &self.full } else { &self.empty };
        // Neither queue can be full: together they hold all parcels.
        queue.push(parcel).is_ok() && fits
    }

    /// Takes the oldest packet out; give the parcel back with [`Inbox::give_back`].
    pub fn take(&self) -> Option<Parcel> {
        self.full.pop()
    }

    /// Returns an emptied parcel.
    pub fn give_back(&self, parcel: Parcel) {
        let _ = self.empty.push(parcel);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Wakes the worker if it sleeps.
    pub fn ring(&self) {
        if let Some(wake) = &self.wake {
            // Fails only if the counter is full: the worker is awake then.
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
    }
}
