//! The words of a session entry.
//!
//! Life (own bits: mapping) · forward key + flags · reverse key + `TRANSLATED` · next hops · epochs · … · activity.
//! Activity is the one word that packets change: last-seen seconds (32), phase (8), rule (24, constant).

use super::{Hit, NewSession, SessionKey, Sessions, Traffic};
use crate::sync::{Ordering, fence};
use crate::table::{Life, State, Table};
use crate::tcp::{Direction, Phase};

pub(super) const TRANSLATED: u64 = 1;

const fn next_hop_word(key_words: usize) -> usize {
    1 + 2 * key_words
}

/// Last-seen seconds, phase, rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Activity(pub(super) u64);

impl Activity {
    pub(super) fn new(last_seen: u32, phase: Phase, rule: u32) -> Self {
        Activity((u64::from(last_seen) << 32) | ((phase as u64) << 24) | u64::from(rule & 0x00ff_ffff))
    }

    #[inline(always)]
    pub(super) fn last_seen(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn phase(self) -> Phase {
        Phase::from_bits((self.0 >> 24) as u8)
    }

    #[inline(always)]
    pub(super) fn rule(self) -> u32 {
        self.0 as u32 & 0x00ff_ffff
    }
}

/// A consistent copy of an entry.
pub(super) struct Copied<K: SessionKey> {
    pub(super) life: Life,
    /// Forward and reverse, flag bytes still in.
    pub(super) keys: [K::Words; 2],
    pub(super) next_hop: u64,
    pub(super) epochs: u64,
    pub(super) activity: Activity,
}

impl<K: SessionKey> Copied<K> {
    /// Whether this entry has the key in that direction; `key` has a zero flag byte.
    #[inline(always)]
    pub(super) fn has_key(&self, reverse: bool, key: &K::Words) -> bool {
        same_key::<K>(&self.keys[usize::from(reverse)], key)
    }

    pub(super) fn forward(&self) -> K {
        K::from_words(&self.keys[0])
    }

    pub(super) fn reverse(&self) -> K {
        K::from_words(&self.keys[1])
    }

    pub(super) fn flags(&self) -> u8 {
        self.keys[0].as_ref()[K::KEY_WORDS - 1] as u8
    }

    pub(super) fn epochs(&self) -> [u32; 2] {
        [(self.epochs >> 32) as u32, self.epochs as u32]
    }

    pub(super) fn next_hops(&self) -> [u32; 2] {
        [(self.next_hop >> 32) as u32, self.next_hop as u32]
    }

    pub(super) fn mapping(&self) -> u32 {
        self.life.own() as u32
    }

    /// As a packet in this direction needs it.
    #[inline(always)]
    pub(super) fn hit(&self, session: u32, reverse: bool) -> Hit<K> {
        let other = &self.keys[usize::from(!reverse)];
        let turn = if reverse { 0 } else { 32 };
        let epochs = self.epochs.rotate_left(turn);
        Hit {
            session,
            version: self.life.version(),
            direction: if reverse {
                Direction::Reverse
            } else {
                Direction::Forward
            },
            rewrite_to: K::from_words(other).swapped(),
            next_hop: (self.next_hop >> turn) as u32,
            epochs: [epochs as u32, (epochs >> 32) as u32],
            translated: self.keys[1].as_ref()[K::KEY_WORDS - 1] & TRANSLATED != 0,
            flags: self.flags(),
            mapping: self.mapping(),
        }
    }
}

/// What is written of a new session.
pub(super) struct Draft<K: SessionKey> {
    /// Forward and reverse, flag bytes in.
    pub(super) keys: [K::Words; 2],
    pub(super) next_hops: u64,
    pub(super) epochs: u64,
    pub(super) mapping: u32,
    pub(super) activity: Activity,
}

impl<K: SessionKey> Draft<K> {
    #[inline(always)]
    pub(super) fn of(new: &NewSession<K>, activity: Activity) -> Self {
        let pair = |pair: [u32; 2]| (u64::from(pair[0]) << 32) | u64::from(pair[1]);
        Draft {
            keys: flagged::<K>(
                new.forward.to_words(),
                new.reverse.to_words(),
                new.flags,
                new.is_translated(),
            ),
            next_hops: pair(new.next_hop),
            epochs: pair(new.epochs),
            mapping: new.mapping,
            activity,
        }
    }
}

/// Both keys with the flag bytes that an entry keeps in them.
#[inline(always)]
pub(super) fn flagged<K: SessionKey>(
    mut forward: K::Words,
    mut reverse: K::Words,
    flags: u8,
    translated: bool,
) -> [K::Words; 2] {
    forward.as_mut()[K::KEY_WORDS - 1] |= u64::from(flags);
    reverse.as_mut()[K::KEY_WORDS - 1] |= if translated { TRANSLATED } else { 0 };
    [forward, reverse]
}

#[inline(always)]
pub(super) fn same_key<K: SessionKey>(stored: &K::Words, key: &K::Words) -> bool {
    let (stored, key) = (stored.as_ref(), key.as_ref());
    let mut difference = 0;
    for position in 0..K::KEY_WORDS - 1 {
        difference |= stored[position] ^ key[position];
    }
    difference | ((stored[K::KEY_WORDS - 1] ^ key[K::KEY_WORDS - 1]) & !0xff) == 0
}

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// A copy of an entry that nobody changed meanwhile and whose state `wanted` accepts.
    #[inline(always)]
    pub(super) fn copy(&self, session: u32, wanted: impl Fn(State) -> bool) -> Option<Copied<K>> {
        let entry = self.table.entry_of(session, K::ENTRY_WORDS);
        let life = Life(entry[0].load(Ordering::Acquire));
        if !wanted(life.state()) {
            return None;
        }
        let mut keys = [K::Words::default(); 2];
        for (number, key) in keys.iter_mut().enumerate() {
            for (position, word) in key.as_mut().iter_mut().enumerate() {
                *word = entry[1 + number * K::KEY_WORDS + position].load(Ordering::Relaxed);
            }
        }
        let copied = Copied {
            life,
            keys,
            next_hop: entry[next_hop_word(K::KEY_WORDS)].load(Ordering::Relaxed),
            epochs: entry[next_hop_word(K::KEY_WORDS) + 1].load(Ordering::Relaxed),
            activity: Activity(entry[K::ENTRY_WORDS - 1].load(Ordering::Relaxed)),
        };
        fence(Ordering::Acquire);
        (entry[0].load(Ordering::Relaxed) == life.0 && !Table::is_link(copied.activity.0)).then_some(copied)
    }

    /// Writes an entry that is the caller's alone, and leaves it `Ready`.
    #[inline(always)]
    pub(super) fn fill(&self, session: u32, draft: &Draft<K>, counters: [Traffic; 2]) -> Life {
        let entry = self.table.entry_of(session, K::ENTRY_WORDS);
        let free = Life(entry[0].load(Ordering::Relaxed));
        // Whoever sees one of the words below also sees that the entry's last life is over.
        fence(Ordering::Release);
        for (number, key) in draft.keys.iter().enumerate() {
            for position in 0..K::KEY_WORDS {
                entry[1 + number * K::KEY_WORDS + position].store(key.as_ref()[position], Ordering::Relaxed);
            }
        }
        entry[next_hop_word(K::KEY_WORDS)].store(draft.next_hops, Ordering::Relaxed);
        entry[next_hop_word(K::KEY_WORDS) + 1].store(draft.epochs, Ordering::Relaxed);
        entry[K::ENTRY_WORDS - 1].store(draft.activity.0, Ordering::Relaxed);
        for (direction, traffic) in [Direction::Forward, Direction::Reverse].into_iter().zip(counters) {
            let words = self.counter(direction, session);
            words[0].store(traffic.packets, Ordering::Relaxed);
            words[1].store(traffic.bytes, Ordering::Relaxed);
        }
        crate::sync::step();
        let ready = free.with_own(u64::from(draft.mapping)).with_state(State::Ready);
        entry[0].store(ready.0, Ordering::Release);
        ready
    }

    pub(super) fn traffic(&self, session: u32) -> [Traffic; 2] {
        [Direction::Forward, Direction::Reverse].map(|direction| {
            let words = self.counter(direction, session);
            Traffic {
                packets: words[0].load(Ordering::Relaxed),
                bytes: words[1].load(Ordering::Relaxed),
            }
        })
    }
}
