//! What workers ask of control: records of 64 bytes in a ring per worker, written on the packet path, read by control.
//!
//! Control does not trust them: a record that says nothing sensible is counted and skipped. The ring does not wake anybody;
//! the worker writes control's eventfd when it sees fit.

use crate::layout::{Address, PoolIndex, PortIndex, SaIndex, SegmentIndex, TunnelIndex};
use crate::ring::{RING_HEADER_WORDS, Ring, share};
use crate::state::{State, StatePart};
use core::sync::atomic::{AtomicU64, Ordering};

/// Words of one record.
pub const EVENT_WORDS: usize = 8;
/// Records that a worker's ring holds.
pub const EVENT_CAPACITY: usize = 1022;

/// Words of the events part.
pub fn event_words(workers: usize) -> usize {
    workers.saturating_mul(RING_HEADER_WORDS + EVENT_CAPACITY * EVENT_WORDS)
}

/// Something that control should know or do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Packets wait for this neighbour, or it is in use and getting old.
    ResolveNeighbour {
        /// Port whose link it is on.
        port: PortIndex,
        /// Its address.
        address: Address,
    },
    /// The SA's lease of sequence numbers runs out.
    SequenceLow {
        /// Outbound SA.
        sa: SaIndex,
    },
    /// The SA has no sequence number left: packets are dropped.
    SequenceExhausted {
        /// Outbound SA.
        sa: SaIndex,
    },
    /// A router on the path said that the tunnel's packets are too big.
    TunnelMtu {
        /// The tunnel.
        tunnel: TunnelIndex,
        /// Largest outer packet in bytes, as the router said.
        mtu: u16,
    },
    /// A tunnel's peer now sends from elsewhere.
    EndpointMoved {
        /// The tunnel.
        tunnel: TunnelIndex,
        /// Its new outer source address.
        address: Address,
        /// Its new UDP port, 0 without UDP.
        port: u16,
    },
    /// A pool has no port left for some inside host.
    NatExhausted {
        /// The pool.
        pool: PoolIndex,
    },
    /// An inside host holds as many sessions as it may.
    HostQuota {
        /// Segment of the host.
        segment: SegmentIndex,
        /// The host.
        address: Address,
    },
    /// ESP came in with an SPI that is none of ours: its sender may have an SA that was lost here.
    UnknownSpi {
        /// The outer source.
        address: Address,
        /// The SPI, host order.
        spi: u32,
    },
    /// The session table is at its stated capacity.
    SessionsFull {
        /// The IPv6 table, else the IPv4 one.
        v6: bool,
    },
}

impl Event {
    /// As a record.
    pub fn to_words(self) -> [u64; EVENT_WORDS] {
        let mut words = [0; EVENT_WORDS];
        let (kind, first, address) = match self {
            Event::ResolveNeighbour { port, address } => (1, u64::from(port.0), Some(address)),
            Event::SequenceLow { sa } => (2, u64::from(sa.0), None),
            Event::SequenceExhausted { sa } => (3, u64::from(sa.0), None),
            Event::TunnelMtu { tunnel, mtu } => (4, u64::from(tunnel.0) | u64::from(mtu) << 32, None),
            Event::EndpointMoved { tunnel, address, port } => {
                (5, u64::from(tunnel.0) | u64::from(port) << 32, Some(address))
            }
            Event::NatExhausted { pool } => (6, u64::from(pool.0), None),
            Event::HostQuota { segment, address } => (7, u64::from(segment.0), Some(address)),
            Event::SessionsFull { v6 } => (8, u64::from(v6), None),
            Event::UnknownSpi { address, spi } => (9, u64::from(spi), Some(address)),
        };
        words[0] = kind;
        words[1] = first;
        let address = u128::from_be_bytes(address.unwrap_or_default().0);
        words[2] = (address >> 64) as u64;
        words[3] = address as u64;
        words
    }

    /// The inverse; `None` for what no worker writes.
    pub fn from_words(words: [u64; EVENT_WORDS]) -> Option<Event> {
        let event = Self::read(words)?;
        // A word that the kind does not use is zero.
        (event.to_words() == words).then_some(event)
    }

    fn read(words: [u64; EVENT_WORDS]) -> Option<Event> {
        let [kind, first, high, low, ..] = words;
        let address = Address((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        let index16 = || u16::try_from(first).ok();
        let index32 = || u32::try_from(first).ok();
        let (low32, upper16) = (first as u32, u16::try_from(first >> 32));
        match kind {
            1 => Some(Event::ResolveNeighbour {
                port: PortIndex(index16()?),
                address,
            }),
            2 => Some(Event::SequenceLow {
                sa: SaIndex(index32()?),
            }),
            3 => Some(Event::SequenceExhausted {
                sa: SaIndex(index32()?),
            }),
            4 => Some(Event::TunnelMtu {
                tunnel: TunnelIndex(low32),
                mtu: upper16.ok()?,
            }),
            5 => Some(Event::EndpointMoved {
                tunnel: TunnelIndex(low32),
                address,
                port: upper16.ok()?,
            }),
            6 => Some(Event::NatExhausted {
                pool: PoolIndex(index32()?),
            }),
            7 => Some(Event::HostQuota {
                segment: SegmentIndex(index16()?),
                address,
            }),
            8 if first <= 1 => Some(Event::SessionsFull { v6: first == 1 }),
            9 => Some(Event::UnknownSpi {
                address,
                spi: index32()?,
            }),
            _ => None,
        }
    }
}

/// A worker's end.
#[derive(Debug)]
pub struct EventWriter<'m> {
    ring: Ring<'m, AtomicU64>,
}

/// Control's end of one worker's ring.
#[derive(Debug)]
pub struct EventReader<'m> {
    ring: Ring<'m, AtomicU64>,
    invalid: &'m AtomicU64,
}

fn ring(state: &State, worker: usize) -> Option<Ring<'_, AtomicU64>> {
    let words = share(state.part(StatePart::Events), state.workers().count(), worker)?;
    Ring::new(words, EVENT_WORDS)
}

impl<'m> EventWriter<'m> {
    /// The ring of worker `worker`; `None` if there is none. One writer per worker.
    pub fn new(state: &'m State, worker: usize) -> Option<EventWriter<'m>> {
        ring(state, worker).map(|ring| EventWriter { ring })
    }

    /// Tells control. False, and counted as dropped, if the ring is full.
    #[inline]
    pub fn push(&mut self, event: Event) -> bool {
        let words = event.to_words();
        self.ring.push(|record| {
            for (word, value) in record.iter().zip(words) {
                word.store(value, Ordering::Relaxed);
            }
        })
    }
}

impl<'m> EventReader<'m> {
    /// The ring of worker `worker`; `None` if there is none. One reader per worker.
    pub fn new(state: &'m State, worker: usize) -> Option<EventReader<'m>> {
        let invalid = state.workers().slot(worker)?.invalid_events();
        ring(state, worker).map(|ring| EventReader { ring, invalid })
    }

    /// The oldest event. Skips (and counts) what says nothing sensible, at most a ring full of it.
    pub fn pop(&mut self) -> Option<Event> {
        for _ in 0..self.ring.capacity() {
            let words = self
                .ring
                .pop(|record| core::array::from_fn(|at| record[at].load(Ordering::Relaxed)))?;
            if let Some(event) = Event::from_words(words) {
                return Some(event);
            }
            self.invalid
                .store(self.invalid.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        None
    }

    /// Events that found no room since the region was made.
    pub fn dropped(&self) -> u64 {
        self.ring.dropped()
    }

    /// Records that said nothing sensible.
    pub fn invalid(&self) -> u64 {
        self.invalid.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::{HugePages, Region};
    use crate::state::{Limits, StateSpec};
    use proptest::prelude::*;

    fn state() -> State {
        let spec = StateSpec::new(Limits {
            workers: 2,
            ..Limits::default()
        });
        State::create(Region::create("state", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap()
    }

    fn all() -> Vec<Event> {
        let address = Address([0xfe; 16]);
        vec![
            Event::ResolveNeighbour {
                port: PortIndex(u16::MAX),
                address,
            },
            Event::SequenceLow { sa: SaIndex(u32::MAX) },
            Event::SequenceExhausted { sa: SaIndex(1) },
            Event::TunnelMtu {
                tunnel: TunnelIndex(u32::MAX),
                mtu: u16::MAX,
            },
            Event::EndpointMoved {
                tunnel: TunnelIndex(3),
                address,
                port: 4500,
            },
            Event::NatExhausted { pool: PoolIndex(7) },
            Event::HostQuota {
                segment: SegmentIndex(2),
                address,
            },
            Event::SessionsFull { v6: true },
            Event::SessionsFull { v6: false },
            Event::UnknownSpi {
                address,
                spi: 0xdead_beef,
            },
        ]
    }

    #[test]
    fn every_event_reaches_control_in_order_and_from_its_own_worker() {
        let state = state();
        let mut writer = EventWriter::new(&state, 1).unwrap();
        for event in all() {
            assert!(writer.push(event));
        }
        let mut reader = EventReader::new(&state, 1).unwrap();
        let received: Vec<_> = core::iter::from_fn(|| reader.pop()).collect();
        assert_eq!(received, all());
        assert_eq!(EventReader::new(&state, 0).unwrap().pop(), None);
        assert!(EventWriter::new(&state, 2).is_none());
        assert!(EventReader::new(&state, 2).is_none());
    }

    #[test]
    fn a_full_ring_drops_and_counts() {
        let state = state();
        let mut writer = EventWriter::new(&state, 0).unwrap();
        let event = Event::NatExhausted { pool: PoolIndex(0) };
        assert_eq!(
            (0..2 * EVENT_CAPACITY).filter(|_| writer.push(event)).count(),
            EVENT_CAPACITY
        );
        let mut reader = EventReader::new(&state, 0).unwrap();
        assert_eq!(reader.dropped(), EVENT_CAPACITY as u64);
        assert_eq!(core::iter::from_fn(|| reader.pop()).count(), EVENT_CAPACITY);
        assert!(writer.push(event));
    }

    #[test]
    fn a_word_that_the_kind_does_not_use_is_zero() {
        for at in 2..EVENT_WORDS {
            let mut words = Event::SequenceLow { sa: SaIndex(1) }.to_words();
            words[at] = 1;
            assert_eq!(Event::from_words(words), None, "word {at}");
        }
    }

    #[test]
    fn nonsense_is_skipped_and_counted() {
        let state = state();
        let mut writer = EventWriter::new(&state, 0).unwrap();
        writer.push(Event::SequenceLow { sa: SaIndex(1) });
        state.part(StatePart::Events)[RING_HEADER_WORDS].store(77, Ordering::Relaxed);
        writer.push(Event::SequenceLow { sa: SaIndex(2) });
        let mut reader = EventReader::new(&state, 0).unwrap();
        assert_eq!(reader.pop(), Some(Event::SequenceLow { sa: SaIndex(2) }));
        assert_eq!((reader.pop(), reader.invalid()), (None, 1));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_exactly_what_a_worker_writes(kind in 0u64..12, first: u64, narrow: bool, rest: [u64; 6]) {
            let first = if narrow { first & 0xff } else { first };
            let mut words = [kind, first, rest[0], rest[1], 0, 0, 0, 0];
            if rest[2] % 8 == 0 {
                words[4..].copy_from_slice(&rest[2..]);
            }
            if let Some(event) = Event::from_words(words) {
                let again = event.to_words();
                prop_assert_eq!(&again[..2], &words[..2]);
                prop_assert_eq!(Event::from_words(again), Some(event));
            }
        }
    }
}
