//! Insertion in words, for a caller that has keys as words and knows that nothing is unusual about the flow.

use super::entry::{Activity, Draft, flagged};
use super::insert::Offered;
use super::touch::add_traffic;
use super::{InsertError, SessionKey, Sessions, Traffic};
use crate::local::WorkerLocal;
use crate::tcp::{Direction, Phase};

/// A [`NewSession`](super::NewSession) in words, of a protocol without connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beginning<W> {
    /// Key of the first packet, flag byte zero.
    pub forward: W,
    /// Key of its reply, flag byte zero.
    pub reverse: W,
    /// `NextHop` bits, forward in the upper half.
    pub next_hops: u64,
    /// Decision epochs, forward in the upper half.
    pub epochs: u64,
    /// As in `NewSession`.
    pub mapping: u32,
    /// As in `NewSession`.
    pub rule: u32,
    /// As in `NewSession`.
    pub flags: u8,
    /// Whether anything but the segment changes on the way.
    pub translated: bool,
}

/// What became of a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A session of its own.
    New(BegunSession),
    /// There is one, or may be. The mapping reference is still the caller's to release.
    Known,
}

/// The entry of a session that was made just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunSession(u32);

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// The hash of a key, for [`begin`](Self::begin).
    #[inline(always)]
    pub fn hash_of(&self, key: &K::Words) -> u64 {
        self.hash(key)
    }

    /// Asks for a bucket that [`begin`](Self::begin) will read.
    #[inline(always)]
    pub fn ask(&self, hash: u64) {
        self.table.index.ask(hash);
    }

    /// [`insert`](Sessions::insert) of what was aimed at both keys' hashes. `now` in seconds.
    ///
    /// # Errors
    /// See [`InsertError`]; nothing was inserted.
    #[inline(always)]
    pub fn begin(
        &self,
        local: &mut WorkerLocal,
        new: &Beginning<K::Words>,
        hashes: [u64; 2],
        now: u32,
    ) -> Result<Begun, InsertError> {
        if !self.table.index.has_none(hashes[0]) && self.is_known(&new.forward, hashes[0]) {
            return Ok(Begun::Known);
        }
        let draft = Draft {
            keys: flagged::<K>(new.forward, new.reverse, new.flags, new.translated),
            next_hops: new.next_hops,
            epochs: new.epochs,
            mapping: new.mapping,
            activity: Activity::new(now, Phase::Unreplied, new.rule),
        };
        let counters = [Traffic::default(); 2];
        match self.offer(K::local(local).0, &draft, hashes, None, counters, &mut |_| {})? {
            Offered::New { session, .. } => Ok(Begun::New(BegunSession(session))),
            Offered::Existing(_) => Ok(Begun::Known),
        }
    }

    #[inline(never)]
    fn is_known(&self, key: &K::Words, hash: u64) -> bool {
        self.search(key, hash).is_some()
    }

    /// Books the packet of `bytes` bytes that began it.
    #[inline(always)]
    pub fn book_first(&self, session: BegunSession, bytes: u32) {
        if let Some(counter) = self.counter(Direction::Forward, session.0).first_chunk() {
            add_traffic(counter, bytes);
        }
    }
}
