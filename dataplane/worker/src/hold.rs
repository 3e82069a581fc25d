//! Packets that are ready to go but wait for the MAC address of their next hop: bounded in number and in time.

use tombolo_packet_io::{Frame, PortSlot};
use tombolo_tables::layout::{Address, PortIndex};

/// Most frames a worker holds.
pub const HELD_MAX: usize = 256;
/// Most frames it holds for one next hop.
const HELD_PER_HOP_MAX: usize = 32;
/// How long a frame waits, in milliseconds: the kernel gives up after three probes of one second.
const HELD_MS_MAX: u64 = 3_500;

/// A frame without its link header's addresses.
pub struct Held {
    /// The frame, complete but for the MAC addresses.
    pub frame: Frame,
    /// Port where the packet came in, for the books.
    pub ingress: PortIndex,
    /// Slot of `ingress`.
    pub slot: PortSlot,
    /// Port it leaves by.
    pub port: PortIndex,
    /// Address to resolve.
    pub target: Address,
    /// When it is given up.
    pub deadline_ms: u64,
}

/// What waits in one worker, in order of arrival.
pub struct Waiting {
    held: Vec<Held>,
}

impl Waiting {
    /// Room for [`HELD_MAX`] frames.
    pub fn new() -> Self {
        Waiting {
            held: Vec::with_capacity(HELD_MAX),
        }
    }

    /// Takes a frame in, or gives it back when too many wait. `Ok(true)` is the first for its hop.
    pub fn hold(&mut self, mut held: Held, now_ms: u64) -> Result<bool, Held> {
        let same = self
            .held
            .iter()
            .filter(|other| other.port == held.port && other.target == held.target)
            .count();
        if self.held.len() == HELD_MAX || same >= HELD_PER_HOP_MAX {
            return Err(held);
        }
        held.deadline_ms = now_ms + HELD_MS_MAX;
        self.held.push(held);
        Ok(same == 0)
    }

    /// Whether anything waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes out the first frame for which `ready` has an answer or whose time is up (`None`), keeping the order.
    pub fn release<T>(&mut self, now_ms: u64, ready: impl Fn(&Held) -> Option<T>) -> Option<(Held, Option<T>)> {
        for place in 0..self.held.len() {
            if let Some(answer) = ready(&self.held[place]) {
                return Some((self.held.remove(place), Some(answer)));
            }
            if now_ms >= self.held[place].deadline_ms {
                return Some((self.held.remove(place), None));
            }
        }
        None
    }

    /// Takes everything out (the worker stops).
    pub fn drain(&mut self) -> impl Iterator<Item = Held> + '_ {
        self.held.drain(..)
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self::new()
    }
}
