//! The session table of one address family, shared by all workers.
//!
//! A session is one entry for both directions: the key of each, where each goes, and under which decision. The rewrite of one
//! direction is the other direction's key with source and destination exchanged. The index holds a slot for each key. Packet and
//! byte counters lie apart, one array for each direction, so that two workers that serve the two directions share no line.
//!
//! Keys come off the wire; everything else was decided by this gateway.

mod begin;
mod end;
mod entry;
mod insert;
mod lines;
mod lookup;
#[cfg(all(test, loom))]
mod models;
mod passes;
mod scrub;
#[cfg(all(test, not(loom)))]
mod tests;
mod touch;

pub use begin::{Beginning, Beginnings, Begun, BegunSession, Reserved};
pub use insert::Aim;
pub use lines::{ABREAST, Answers, Lines, Lookups};
pub use lookup::BATCH;
pub use passes::Candidate;

use crate::hash::HashKey;
use crate::index::Fill;
use crate::key::{Key, Key4, Key6};
use crate::local::WorkerLocal;
use crate::sync::AtomicU64;
use crate::table::{Geometry, Shape, StateError, Table, TableLocal};
use crate::tcp::{Direction, Phase};
use core::marker::PhantomData;

/// `NewSession::mapping` of a session whose source is not translated by a shared mapping.
pub const NO_MAPPING: u32 = u32::MAX;
/// `NewSession::rule` where no rule decided; larger rule numbers than this are not kept.
pub const NO_RULE: u32 = 0x00ff_ffff;

/// A decision for both directions of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSession<K> {
    /// The first packet as it arrived.
    pub forward: K,
    /// The reply as it will arrive: from the translated destination to the translated source, in the egress segment.
    pub reverse: K,
    /// `NextHop` bits of each direction.
    pub next_hop: [u32; 2],
    /// Decision epochs of `forward.segment` and `reverse.segment`.
    pub epochs: [u32; 2],
    /// The mapping whose reference this session takes over, or `NO_MAPPING`.
    pub mapping: u32,
    /// The policy rule that allowed it, or `NO_RULE`.
    pub rule: u32,
    /// The caller's own.
    pub flags: u8,
    /// TCP flags of the first packet; not read for other protocols.
    pub tcp_flags: u8,
    /// Accept a TCP packet that is no SYN as the first.
    pub adopt: bool,
}

impl<K: Key> NewSession<K> {
    /// Whether anything but the segment changes on the way.
    #[inline(always)]
    fn is_translated(&self) -> bool {
        let sent = self.reverse.swapped();
        sent.source() != self.forward.source() || sent.destination() != self.forward.destination()
    }
}

/// What a lookup gives: the whole decision for one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<K> {
    /// Entry of the session.
    pub session: u32,
    /// Which use of the entry.
    pub version: u32,
    /// Way of the packet.
    pub direction: Direction,
    /// What the packet must carry on its way out; `segment` is the segment it leaves into.
    pub rewrite_to: K,
    /// `NextHop` bits for this direction.
    pub next_hop: u32,
    /// Decision epochs in the packet's order of travel: of the segment it came from, of the segment it leaves into.
    pub epochs: [u32; 2],
    /// Whether `rewrite_to` differs from what came, segments aside.
    pub translated: bool,
    /// As given in `NewSession::flags`.
    pub flags: u8,
    /// As given in `NewSession::mapping`.
    pub mapping: u32,
}

/// How an insertion ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted<K> {
    /// The offered session is in the table.
    New(Hit<K>),
    /// Another worker was first: its session counts, seen from the offered forward key. The mapping reference that the offered session
    /// brought is still the caller's to release.
    Existing(Hit<K>),
}

/// Why a session was not inserted. The mapping reference is still the caller's to release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// No entry is free.
    TableFull,
    /// The reverse key is another session's.
    TupleTaken,
    /// TCP, and the first packet is no SYN.
    NotSyn,
    /// Forward and reverse key are the same: replies could not be told from first packets.
    KeysEqual,
}

impl core::fmt::Display for InsertError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            InsertError::TableFull => "the session table is full",
            InsertError::TupleTaken => "the reply's addresses and ports belong to another session",
            InsertError::NotSyn => "the first TCP packet of a session must be a SYN",
            InsertError::KeysEqual => "both directions of the session would look alike",
        })
    }
}

impl core::error::Error for InsertError {}

/// Packets and bytes of one direction. Exact while one worker serves the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets as they arrived.
    pub bytes: u64,
}

/// A session that left the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<K> {
    /// The entry it had.
    pub session: u32,
    /// Its keys.
    pub forward: K,
    /// See `forward`.
    pub reverse: K,
    /// Its mapping, to be released once, or `NO_MAPPING`.
    pub mapping: u32,
    /// Forward and reverse.
    pub counters: [Traffic; 2],
    /// How far it was.
    pub phase: Phase,
}

/// A copy of a live session, for `show sessions` and for re-decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView<K> {
    /// Which use of the entry.
    pub version: u32,
    /// Key of the first packet.
    pub forward: K,
    /// Key of replies.
    pub reverse: K,
    /// `NextHop` bits, forward and reverse.
    pub next_hop: [u32; 2],
    /// Epochs of `forward.segment` and `reverse.segment`.
    pub epochs: [u32; 2],
    /// Mapping or `NO_MAPPING`.
    pub mapping: u32,
    /// Rule or `NO_RULE`.
    pub rule: u32,
    /// The caller's own.
    pub flags: u8,
    /// How far it is.
    pub phase: Phase,
    /// Seconds, coarse.
    pub last_seen: u32,
    /// Forward and reverse.
    pub counters: [Traffic; 2],
}

/// A family's key, and where a worker keeps what it holds of that family's table.
pub trait SessionKey: Key {
    /// The worker's part.
    #[doc(hidden)]
    fn local(local: &mut WorkerLocal) -> Local<'_>;
}

/// A worker's part of one session table.
#[doc(hidden)]
pub struct Local<'l>(pub(crate) &'l mut TableLocal);

impl SessionKey for Key4 {
    fn local(local: &mut WorkerLocal) -> Local<'_> {
        Local(&mut local.sessions4)
    }
}

impl SessionKey for Key6 {
    fn local(local: &mut WorkerLocal) -> Local<'_> {
        Local(&mut local.sessions6)
    }
}

/// A handle on the session table of one family.
#[derive(Clone, Copy)]
pub struct Sessions<'a, K> {
    table: Table<'a>,
    /// Forward and reverse: packets and bytes of each entry.
    counters: [&'a [AtomicU64]; 2],
    hash_key: HashKey,
    family: PhantomData<K>,
}

const COUNTER_WORDS: usize = 2;

impl<'a, K: SessionKey> Sessions<'a, K> {
    const SHAPE: Shape = Shape {
        entry_words: K::ENTRY_WORDS,
        keys_per_entry: 2,
        fill: Fill::Half,
    };

    /// Words of a table that always holds `capacity` sessions (and a few more, which workers may hold back).
    pub const fn words(capacity: usize) -> usize {
        let geometry = Geometry::new(capacity, Self::SHAPE);
        geometry.words() + geometry.entries * COUNTER_WORDS * 2
    }

    /// Makes an empty table in a part that nobody uses.
    ///
    /// `seed` is random and secret: it keys the hash.
    ///
    /// # Errors
    /// The part is too small for the capacity, or the capacity is 0 or above 2²⁸.
    pub fn format(part: &'a [AtomicU64], capacity: usize, seed: [u64; 2]) -> Result<Self, StateError> {
        let needed = Self::words(capacity.min(1 << 28));
        if part.len() < needed {
            return Err(StateError::TooSmall {
                words: part.len(),
                needed,
            });
        }
        let (table, behind) = Table::format(part, capacity, Self::SHAPE, seed)?;
        Self::with(table, behind)
    }

    /// A table that is there already.
    ///
    /// # Errors
    /// The part was not formatted, or its capacity and size do not fit.
    pub fn open(part: &'a [AtomicU64]) -> Result<Self, StateError> {
        let (table, behind) = Table::open(part, Self::SHAPE)?;
        Self::with(table, behind)
    }

    fn with(table: Table<'a>, behind: &'a [AtomicU64]) -> Result<Self, StateError> {
        let each = table.entry_count() as usize * COUNTER_WORDS;
        let too_small = StateError::TooSmall {
            words: behind.len(),
            needed: each * 2,
        };
        let (forward, rest) = behind.split_at_checked(each).ok_or(too_small)?;
        let reverse = rest.get(..each).ok_or(too_small)?;
        Ok(Sessions {
            hash_key: HashKey::new(table.seed()),
            table,
            counters: [forward, reverse],
            family: PhantomData,
        })
    }

    pub(crate) fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// One more than the highest entry that `view` can find: spare entries included.
    pub fn entries(&self) -> u32 {
        self.table.used()
    }

    /// Index slots taken (two for each session), and the most buckets that a lookup may have to visit. Reads the whole index.
    pub fn occupancy(&self) -> (usize, usize) {
        self.table.index.occupancy()
    }

    #[inline(always)]
    fn hash(&self, key: &K::Words) -> u64 {
        self.hash_key.hash(key.as_ref())
    }

    #[inline(always)]
    fn counter(&self, direction: Direction, session: u32) -> &'a [AtomicU64] {
        let counters = self.counters[direction as usize];
        let first = (session as usize).min(self.table.entry_count() as usize - 1) * COUNTER_WORDS;
        &counters[first..first + COUNTER_WORDS]
    }

    /// Retired entries that this worker has not freed yet.
    pub fn limbo(&self, local: &mut WorkerLocal) -> u32 {
        K::local(local).0.limbo()
    }
}
