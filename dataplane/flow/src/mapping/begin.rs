//! IPv4 mappings that begin: [`bind`](super::bind) for a caller that has many of one protocol under way, where nearly every one is a new
//! endpoint of a host that has mappings.
//!
//! That case goes here, in words and without a call; everything else goes the general way, with nothing held.

use super::bind::{Aimed, Bound};
use super::entry::{REFERENCES_MAX, references, with_references};
use super::{Address, BindError, Inside, Mappings, PoolView};
use crate::index::{Index, Slot, Spot};
use crate::local::WorkerLocal;
use crate::ports::{PortRange, Ports, class_of};
use crate::sync::{AtomicU64, Ordering, fence, placed_before_looking, step, touch};
use crate::table::{Life, NONE, State};

const WORDS: usize = <u32 as Address>::ENTRY_WORDS;
/// In the last word: pool and row, and the pool alone.
const POOL_AND_ROW: u64 = u32::MAX as u64;
const POOL_SHIFT: u32 = 20;
const ROW: u32 = (1 << POOL_SHIFT) - 1;
/// What of the third word belongs to the inside key.
const INSIDE: u64 = 0xffff_ffff_0000_ffff;

/// The table, for as long as a batch takes.
#[derive(Clone, Copy)]
pub struct MappingBeginnings<'t, 'a> {
    mappings: &'t Mappings<'a, u32>,
    ports: &'t Ports<'a>,
    index: Index<'a>,
    entries: &'a [[AtomicU64; WORDS]],
    protocol: u8,
    class: usize,
}

/// An inside endpoint on its way to its mapping.
#[derive(Clone, Copy, Debug)]
pub struct Heading {
    aimed: Aimed<u32>,
    /// Slot of its host, 0 if the host's bucket does not show it.
    host: u64,
    /// The entry of a mapping that is to be made; none if there may be one.
    entry: u32,
    /// Its mapping, once it is bound, whose reference is held.
    mapping: u32,
    address: u32,
    port: u16,
    /// Whether the mapping is new, and the hash of its outside endpoint if it is.
    hidden: bool,
    outside_hash: u64,
}

impl Default for Heading {
    fn default() -> Self {
        Heading {
            aimed: Aimed::default(),
            host: 0,
            entry: NONE,
            mapping: NONE,
            address: 0,
            port: 0,
            hidden: false,
            outside_hash: 0,
        }
    }
}

impl Heading {
    /// The mapping that it is bound to.
    #[inline(always)]
    pub fn mapping(&self) -> u32 {
        self.mapping
    }

    /// The outside endpoint that it is bound to.
    #[inline(always)]
    pub fn outside(&self) -> (u32, u16) {
        (self.address, self.port)
    }
}

/// A live host as it was seen.
struct Host {
    entry: u32,
    life: Life,
    addresses: u64,
    pool_and_row: u32,
}

/// How far the usual case came.
enum Tried {
    Bound,
    /// Nothing is held but the reserved entry.
    Unusual,
    /// Nothing is held.
    Beaten,
}

impl<'a> Mappings<'a, u32> {
    /// The table for mappings of a protocol that begin. None if it has no ports.
    #[inline]
    pub fn beginnings<'t>(&'t self, ports: &'t Ports<'a>, protocol: u8) -> Option<MappingBeginnings<'t, 'a>> {
        Some(MappingBeginnings {
            mappings: self,
            ports,
            index: self.table.index,
            entries: self.table.entries().as_chunks().0,
            protocol,
            class: class_of(protocol)?,
        })
    }
}

impl MappingBeginnings<'_, '_> {
    /// First step: where the mapping of an inside endpoint belongs.
    #[inline(always)]
    pub fn aim(&self, heading: &mut Heading, segment: u16, address: u32, port: u16, pool: u32) {
        heading.aimed = self.mappings.aim(&Inside {
            segment,
            protocol: self.protocol,
            address,
            port,
            pool,
        });
    }

    /// Asks for the buckets that the next step reads, and does nothing else.
    #[inline(always)]
    pub fn ask(&self, heading: &Heading) {
        self.index.ask(heading.aimed.hash);
        self.index.ask(heading.aimed.host_hash);
    }

    /// Second step: an entry for the mapping, if it seems to be new, and the host; both are on their way.
    #[inline(always)]
    pub fn approach(&self, local: &mut WorkerLocal, heading: &mut Heading) {
        let slot = self.index.spot(heading.aimed.host_hash).first_match();
        heading.host = slot;
        if slot != 0 {
            self.touch(Slot(slot).entry());
        }
        let slot = self.index.spot(heading.aimed.hash).first_match();
        heading.entry = NONE;
        if slot != 0 {
            self.touch(Slot(slot).entry());
        } else if let Some(entry) = self.mappings.table.allocate(&mut local.mappings4) {
            self.touch(entry);
            heading.entry = entry;
        }
    }

    #[inline(always)]
    fn touch(&self, entry: u32) {
        if let Some(words) = self.entries.get(entry as usize) {
            touch(&words[0]);
        }
    }

    /// Third step: [`bind`](Mappings::bind), but for what [`show`](Self::show) does. `now` in seconds.
    ///
    /// # Errors
    /// See [`BindError`]; nothing is held then.
    #[inline(always)]
    pub fn bind(
        &self,
        local: &mut WorkerLocal,
        heading: &mut Heading,
        pool: &PoolView<u32>,
        now: u32,
    ) -> Result<(), BindError> {
        if heading.entry != NONE {
            match self.bind_usual(local, heading, pool, now) {
                Tried::Bound => return Ok(()),
                Tried::Unusual => self.give_back(local, heading),
                Tried::Beaten => {}
            }
        }
        self.bind_any(local, heading, pool, now)
    }

    /// The entry of a mapping that will not be made.
    #[cold]
    pub fn give_back(&self, local: &mut WorkerLocal, heading: &Heading) {
        if heading.entry != NONE {
            self.mappings.table.free(&mut local.mappings4, heading.entry);
        }
    }

    #[inline(never)]
    fn bind_any(
        &self,
        local: &mut WorkerLocal,
        heading: &mut Heading,
        pool: &PoolView<u32>,
        now: u32,
    ) -> Result<(), BindError> {
        let Bound { binding, hidden } = self.mappings.bind_aimed(self.ports, local, &heading.aimed, pool, now)?;
        (heading.mapping, heading.address, heading.port) = (binding.mapping, binding.address, binding.port);
        (heading.hidden, heading.outside_hash) = (hidden.is_some(), hidden.unwrap_or(0));
        Ok(())
    }

    #[inline(always)]
    fn bind_usual(&self, local: &mut WorkerLocal, heading: &mut Heading, pool: &PoolView<u32>, now: u32) -> Tried {
        let Aimed { inside, hash, .. } = heading.aimed;
        let spot = self.index.spot(hash);
        let (same, free) = spot.survey();
        if same != 0 || (spot.overflowed() && self.is_there(heading)) {
            return Tried::Unusual;
        }
        let Some(host) = self.host(heading) else {
            return Tried::Unusual;
        };
        let address = host.addresses as u32;
        let offset = address.wrapping_sub(pool.first);
        let row = host.pool_and_row & ROW;
        if (offset >= pool.count) | (pool.row.wrapping_add(offset) != row) {
            return Tried::Unusual;
        }
        let quota = u64::from(pool.sessions_per_host_max.wrapping_sub(1)).min(REFERENCES_MAX - 1);
        let held = references(host.life);
        let one_more = with_references(host.life, held + 1, now);
        if held > quota || !self.exchange(host.entry, host.life, one_more) {
            return Tried::Unusual;
        }
        step();
        let range = PortRange {
            first: pool.port_first,
            last: pool.port_last,
        };
        let Some(port) = self.ports.take_hinted(&mut local.ports, row, self.class, range) else {
            self.mappings.release_one(host.entry, now);
            return Tried::Unusual;
        };
        step();
        let ports = u64::from(inside.port) << 48 | u64::from(inside.segment) << 32;
        let words = [
            host.addresses,
            ports | u64::from(port) << 16 | u64::from(self.protocol),
            u64::from(host.entry) << 32 | u64::from(host.pool_and_row),
        ];
        let ready = self.write(heading.entry, words, now);
        step();
        let live = ready.with_state(State::Live);
        heading.outside_hash = self.mappings.outside_hash(self.protocol, address, port);
        if self.place(spot, free, heading) && self.exchange(heading.entry, ready, live) {
            step();
            (heading.mapping, heading.address, heading.port) = (heading.entry, address, port);
            heading.hidden = true;
            return Tried::Bound;
        }
        self.withdraw(local, heading, ready);
        self.ports.release(row, self.protocol, port);
        step();
        self.mappings.release_one(host.entry, now);
        Tried::Beaten
    }

    /// The host, if it is live.
    #[inline(always)]
    fn host(&self, heading: &Heading) -> Option<Host> {
        let Inside {
            segment, address, pool, ..
        } = heading.aimed.inside;
        if heading.host != 0 {
            let number = Slot(heading.host).entry();
            let entry = self.entries.get(number as usize)?;
            let before = Life(entry[0].load(Ordering::Acquire));
            let [addresses, ports, owner] = [1, 2, 3].map(|word: usize| entry[word].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            let life = Life(entry[0].load(Ordering::Relaxed));
            let same = (before.state() == State::Live)
                & (life.state() == State::Live)
                & (life.version() == before.version())
                & ((addresses >> 32) as u32 == address)
                & (ports & INSIDE == u64::from(segment) << 32)
                & (owner as u32 >> POOL_SHIFT == pool);
            if same {
                return Some(Host {
                    entry: number,
                    life,
                    addresses,
                    pool_and_row: (owner & POOL_AND_ROW) as u32,
                });
            }
        }
        self.host_far(heading)
    }

    /// A host whose slot is in an overflow bucket, or behind another one with its tag.
    #[cold]
    fn host_far(&self, heading: &Heading) -> Option<Host> {
        let aimed = &heading.aimed;
        let (entry, life, record) = self.mappings.find_inside(&aimed.host(), aimed.host_hash)?;
        Some(Host {
            entry,
            life,
            addresses: u64::from(record.inside.address) << 32 | u64::from(record.address),
            pool_and_row: record.inside.pool << POOL_SHIFT | record.row,
        })
    }

    #[inline(never)]
    fn is_there(&self, heading: &Heading) -> bool {
        let aimed = &heading.aimed;
        self.mappings.find_inside(&aimed.inside, aimed.hash).is_some()
    }

    #[inline(always)]
    fn exchange(&self, entry: u32, from: Life, to: Life) -> bool {
        let Some(entry) = self.entries.get(entry as usize) else {
            return false;
        };
        let exchanged = entry[0].compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::Acquire);
        exchanged.is_ok()
    }

    /// Writes an entry that is the caller's alone, with one reference, and leaves it `Ready`.
    #[inline(always)]
    fn write(&self, entry: u32, words: [u64; WORDS - 1], now: u32) -> Life {
        let Some(entry) = self.entries.get(entry as usize) else {
            return Life(0);
        };
        let free = Life(entry[0].load(Ordering::Relaxed));
        fence(Ordering::Release);
        for (place, word) in entry[1..].iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        step();
        let ready = with_references(free, 1, now).with_state(State::Ready);
        entry[0].store(ready.0, Ordering::Release);
        ready
    }

    /// Places the mapping's slot; whether no other entry wins over it.
    #[inline(always)]
    fn place(&self, spot: Spot<'_>, free: u32, heading: &Heading) -> bool {
        let Aimed { inside, hash, .. } = &heading.aimed;
        let slot = Slot::new(*hash, false, heading.entry);
        let placed = self.index.place_at(spot, free, slot).is_ok();
        placed_before_looking();
        step();
        placed && (spot.is_alone() || !self.mappings.is_beaten(heading.entry, *hash, inside))
    }

    #[cold]
    fn withdraw(&self, local: &mut WorkerLocal, heading: &Heading, ready: Life) {
        let hash = heading.aimed.hash;
        self.exchange(heading.entry, ready, ready.with_state(State::Retired));
        step();
        self.index.remove(hash, Slot::new(hash, false, heading.entry));
        self.mappings.table.retire(&mut local.mappings4, heading.entry);
    }

    /// Asks for the memory that [`show`](Self::show) writes.
    #[inline(always)]
    pub fn ask_shown(&self, heading: &Heading) {
        if heading.hidden {
            self.index.ask(heading.outside_hash);
        }
    }

    /// Last step: makes the mapping known by its outside endpoint, while the reference is held.
    #[inline(always)]
    pub fn show(&self, heading: &Heading) {
        if heading.hidden {
            let spot = self.index.spot(heading.outside_hash);
            let slot = Slot::new(heading.outside_hash, true, heading.mapping);
            let _ = self.index.place_at(spot, spot.free(), slot);
        }
    }
}
