//! Endpoint-independent mappings (RFC 4787 REQ-1): one inside address and port has one outside address and port, whatever it talks to.
//!
//! One table for an address family and all workers. A mapping is in the table before anything uses it, so workers that map the
//! same inside endpoint at once agree on one, and the loser gives its port back. Each session holds a reference. After the last
//! one a mapping lingers, and its port is handed out again only after that.
//!
//! Every inside host has a *host entry* in the same table (protocol 0, port 0): the outside address that all its mappings
//! share (RFC 4787 REQ-2, paired pooling), and the number of its sessions, which the quota bounds. The table's capacity
//! counts mappings and hosts.
//!
//! A pool's addresses stay what they are while a mapping names it; the planner sees to that. Should a mapping of other
//! addresses be found under a pool's index all the same, nobody joins it, and a host with such an address gets another.
//!
//! Inside addresses and ports come off the wire; pools come from the tables.

mod begin;
mod bind;
mod binder;
mod entry;
mod outside;
mod release;
mod scrub;
#[cfg(all(test, not(loom)))]
mod tests;

pub use begin::{Heading, MappingBeginnings};
pub use bind::{Aimed, Bound};

use crate::hash::HashKey;
use crate::index::Fill;
use crate::local::WorkerLocal;
use crate::ports::PortsError;
use crate::sync::AtomicU64;
use crate::table::{Geometry, Shape, StateError, Table, TableLocal};
use core::fmt::{self, Debug};
use core::hash::Hash;
use core::marker::PhantomData;

/// Pools whose index a mapping can name.
pub const POOLS_MAX: u32 = 1 << 12;
/// Pool addresses, over all pools, that a mapping can name.
pub const POOL_ADDRESSES_MAX: u32 = 1 << 20;

/// An address of one family, as mappings store it: `u32` in host order for IPv4, 16 bytes in network order for IPv6.
pub trait Address: Copy + Eq + Ord + Hash + Debug + Default + 'static {
    /// Words of one mapping entry: 32 bytes for IPv4, 64 for IPv6.
    const ENTRY_WORDS: usize;
    /// The address in the low bits.
    fn to_bits(self) -> u128;
    /// The inverse of [`to_bits`](Self::to_bits).
    fn from_bits(bits: u128) -> Self;
    /// The worker's part of this family's table.
    #[doc(hidden)]
    fn local(local: &mut WorkerLocal) -> Local<'_>;

    /// The address `offset` further on.
    fn plus(self, offset: u32) -> Self {
        Self::from_bits(self.to_bits().wrapping_add(u128::from(offset)))
    }
}

/// A worker's part of one mapping table.
#[doc(hidden)]
pub struct Local<'l>(
    pub(crate) &'l mut TableLocal,
    pub(crate) &'l mut crate::ports::PortLocal,
);

impl Address for u32 {
    const ENTRY_WORDS: usize = 4;

    fn to_bits(self) -> u128 {
        u128::from(self)
    }

    fn from_bits(bits: u128) -> Self {
        bits as u32
    }

    fn local(local: &mut WorkerLocal) -> Local<'_> {
        Local(&mut local.mappings4, &mut local.ports)
    }
}

impl Address for [u8; 16] {
    const ENTRY_WORDS: usize = 8;

    fn to_bits(self) -> u128 {
        u128::from_be_bytes(self)
    }

    fn from_bits(bits: u128) -> Self {
        bits.to_be_bytes()
    }

    fn local(local: &mut WorkerLocal) -> Local<'_> {
        Local(&mut local.mappings6, &mut local.ports)
    }
}

/// What is mapped: an endpoint inside, towards a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inside<A> {
    /// `SegmentIndex` of the inside host.
    pub segment: u16,
    /// TCP, UDP, ICMP or ICMPv6.
    pub protocol: u8,
    /// Source address of the first packet.
    pub address: A,
    /// Source port or ICMP identifier.
    pub port: u16,
    /// `PoolIndex`.
    pub pool: u32,
}

/// A pool as its `PoolRecord` describes it, for one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolView<A> {
    /// First outside address.
    pub first: A,
    /// Addresses that follow on from it, itself included.
    pub count: u32,
    /// First and last port handed out, inclusive; ICMP identifiers alike.
    pub port_first: u16,
    /// See `port_first`.
    pub port_last: u16,
    /// Most sessions of one inside host, 0 = no limit.
    pub sessions_per_host_max: u32,
    /// Row of the first address in the port state; an address has the same row in all pools and generations.
    pub row: u32,
}

impl<A: Address> PoolView<A> {
    /// The row of an address; `None` if it is not the pool's.
    pub fn row_of(&self, address: A) -> Option<u32> {
        let offset = address.to_bits().checked_sub(self.first.to_bits())?;
        let offset = u32::try_from(offset).ok().filter(|offset| *offset < self.count)?;
        self.row.checked_add(offset)
    }
}

/// A reference on a mapping, to be taken over by one session or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a binding holds a reference: give it to a session or release it"]
pub struct Binding<A> {
    /// For `NewSession::mapping` and [`Mappings::release`].
    pub mapping: u32,
    /// Outside address.
    pub address: A,
    /// Outside port or ICMP identifier.
    pub port: u16,
}

/// A copy of a mapping, for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingView<A> {
    /// What is mapped; protocol 0 is a host entry.
    pub inside: Inside<A>,
    /// Outside address.
    pub address: A,
    /// Outside port or identifier.
    pub port: u16,
    /// Row of the outside address in the port state.
    pub row: u32,
    /// Sessions that use it.
    pub sessions: u32,
}

/// Why an endpoint could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// No port is free on the host's outside address, or, for a host without one, on any.
    PoolExhausted,
    /// The host has as many sessions as it may.
    HostQuota,
    /// The mapping table is full.
    TableFull,
    /// The protocol has no ports that could be translated.
    Untranslatable,
    /// The pool is empty, or lies outside of the port state.
    PoolInvalid,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BindError::PoolExhausted => "no outside port is free",
            BindError::HostQuota => "the inside host has as many sessions as it may",
            BindError::TableFull => "the mapping table is full",
            BindError::Untranslatable => "the protocol has no ports to translate",
            BindError::PoolInvalid => "the pool has no addresses, or none in the port state",
        })
    }
}

impl core::error::Error for BindError {}

impl From<PortsError> for BindError {
    fn from(error: PortsError) -> Self {
        match error {
            PortsError::Exhausted => BindError::PoolExhausted,
            PortsError::Untranslatable => BindError::Untranslatable,
            PortsError::RowInvalid => BindError::PoolInvalid,
        }
    }
}

/// A handle on the mapping table of one family.
#[derive(Clone, Copy)]
pub struct Mappings<'a, A> {
    table: Table<'a>,
    hash_key: HashKey,
    family: PhantomData<A>,
}

impl<'a, A: Address> Mappings<'a, A> {
    /// Keys: the inside and the outside endpoint.
    const SHAPE: Shape = Shape {
        entry_words: A::ENTRY_WORDS,
        keys_per_entry: 2,
        fill: Fill::Full,
    };

    /// Words of a table for `capacity` mappings and hosts together.
    pub const fn words(capacity: usize) -> usize {
        Geometry::new(capacity, Self::SHAPE).words()
    }

    /// Makes an empty table in a part that nobody uses; `seed` is random and secret.
    ///
    /// # Errors
    /// The part is too small for the capacity, or the capacity is 0 or above 2²⁸.
    pub fn format(part: &'a [AtomicU64], capacity: usize, seed: [u64; 2]) -> Result<Self, StateError> {
        Ok(Self::with(Table::format(part, capacity, Self::SHAPE, seed)?.0))
    }

    /// A table that is there already.
    ///
    /// # Errors
    /// The part was not formatted, or its capacity and size do not fit.
    pub fn open(part: &'a [AtomicU64]) -> Result<Self, StateError> {
        Ok(Self::with(Table::open(part, Self::SHAPE)?.0))
    }

    fn with(table: Table<'a>) -> Self {
        Mappings {
            hash_key: HashKey::new(table.seed()),
            table,
            family: PhantomData,
        }
    }

    pub(crate) fn table(&self) -> &Table<'a> {
        &self.table
    }

    /// One more than the highest entry that `view` can find.
    pub fn entries(&self) -> u32 {
        self.table.used()
    }

    #[inline(always)]
    fn hash(&self, inside: &Inside<A>) -> u64 {
        let rest = (u64::from(inside.port) << 16) | u64::from(inside.segment);
        self.hash_of(
            inside.address,
            rest,
            (u64::from(inside.pool) << 8) | u64::from(inside.protocol),
        )
    }

    /// Of an address and what else names an endpoint; `rest` has at most 32 bits.
    #[inline(always)]
    fn hash_of(&self, address: A, rest: u64, more: u64) -> u64 {
        let address = address.to_bits();
        if A::ENTRY_WORDS == 4 {
            self.hash_key.hash(&[((address as u64) << 32) | rest, more])
        } else {
            self.hash_key
                .hash(&[(address >> 64) as u64, address as u64, rest, more])
        }
    }
}
