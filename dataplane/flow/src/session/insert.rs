//! Insertions: lock-free; workers that insert the same session at once agree on one.
//!
//! An offered session is written, becomes `Ready`, and gets the slots of both its keys. Only then does its worker look at all
//! other sessions under these keys: a live one wins over it; among two ready ones the lower entry number wins, and stops the other. What is
//! still `Ready` after that becomes `Live`. Both slots are there before either worker looks, so of two workers at least one sees the
//! other's, and the winner's step to `Live` and the other's attempt to stop it meet in one word: two live sessions never share a key.
//! The lowest ready entry can only lose to a live one, so some session always gets through.
//!
//! A re-decision is the same, except that live sessions with the same forward key and older epochs do not win: they are retired once the
//! new one is live, so that no lookup misses in between.

use super::entry::{Activity, Copied, Draft, same_key};
use super::{Ended, Hit, InsertError, Inserted, NewSession, SessionKey, Sessions, Traffic};
use crate::index::Slot;
use crate::local::WorkerLocal;
use crate::sync::{step, touch};
use crate::table::{Life, State, TableLocal};
use crate::tcp::{Direction, Phase};
use core::ops::ControlFlow;

/// Most sessions that one re-decision replaces: the one it knows of, and others that raced with it.
const REPLACED_MAX: usize = 4;

/// An offered session with all that is needed to place and to withdraw it.
pub(super) struct Offer<'d, K: SessionKey> {
    pub(super) session: u32,
    pub(super) ready: Life,
    pub(super) draft: &'d Draft<K>,
    pub(super) hashes: [u64; 2],
    pub(super) replaces: bool,
}

/// What became of an offer.
pub(super) enum Offered<K> {
    /// It is in the table.
    New { session: u32, version: u32 },
    /// Another session counts, seen from the forward key.
    Existing(Hit<K>),
}

/// Where a new session's keys belong: made by [`Sessions::aim_new`] for the same session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aim([u64; 2]);

/// What the look at other sessions came to.
enum Look {
    /// Nobody else, or only older decisions, to be retired afterwards.
    Clear,
    /// Somebody else has the forward key.
    Lost,
    /// Somebody else has the reverse key, for another flow.
    Taken,
}

/// Older decisions to retire.
struct Replaced {
    sessions: [(u32, Life); REPLACED_MAX],
    count: usize,
}

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// Inserts a new session.
    ///
    /// `now` is in seconds. The session takes over the reference on its mapping only when the answer is `New`.
    ///
    /// # Errors
    /// See [`InsertError`]; nothing was inserted.
    pub fn insert(&self, local: &mut WorkerLocal, new: &NewSession<K>, now: u32) -> Result<Inserted<K>, InsertError> {
        self.insert_aimed(local, new, self.aim_new(new), now)
    }

    /// The first half of an insertion, for a caller that has several under way.
    #[inline(always)]
    pub fn aim_new(&self, new: &NewSession<K>) -> Aim {
        Aim([self.hash(&new.forward.to_words()), self.hash(&new.reverse.to_words())])
    }

    /// Asks for the memory that [`insert_aimed`](Self::insert_aimed) reads.
    #[inline(always)]
    pub fn ask_new(&self, aim: &Aim) {
        self.table.index.ask(aim.0[0]);
        self.table.index.ask(aim.0[1]);
    }

    /// [`insert`](Self::insert) of what was aimed.
    ///
    /// # Errors
    /// See [`InsertError`]; nothing was inserted.
    #[inline]
    pub fn insert_aimed(
        &self,
        local: &mut WorkerLocal,
        new: &NewSession<K>,
        aim: Aim,
        now: u32,
    ) -> Result<Inserted<K>, InsertError> {
        let candidate = self.candidate(aim.0[0]);
        if let Some(hit) = self.verify(&new.forward.to_words(), aim.0[0], candidate) {
            return Ok(Inserted::Existing(hit));
        }
        let phase = Phase::first(new.forward.protocol(), new.tcp_flags, new.adopt).ok_or(InsertError::NotSyn)?;
        let draft = Draft::of(new, Activity::new(now, phase, new.rule));
        let counters = [Traffic::default(); 2];
        let offered = self.offer(K::local(local).0, &draft, aim.0, None, counters, &mut |_| {})?;
        Ok(inserted(new, offered))
    }

    /// Replaces a session by a newer decision in the initiator's direction: `new.forward` is the old session's forward key.
    ///
    /// Timer, phase and counters go on. `ended` gets every session that was replaced. `Existing` is another worker's decision; if its
    /// epochs are older than the caller's, call again with it.
    ///
    /// # Errors
    /// See [`InsertError`]; the old session is then still there.
    pub fn supersede(
        &self,
        local: &mut WorkerLocal,
        old: &Hit<K>,
        new: &NewSession<K>,
        now: u32,
        mut ended: impl FnMut(Ended<K>),
    ) -> Result<Inserted<K>, InsertError> {
        let before = self
            .copy(old.session, |state| state == State::Live)
            .filter(|entry| entry.life.version() == old.version && entry.forward() == new.forward);
        let Some(before) = before else {
            return self.insert(local, &NewSession { adopt: true, ..*new }, now);
        };
        let draft = Draft::of(new, Activity::new(now, before.activity.phase(), new.rule));
        let (hashes, counters) = (self.aim_new(new).0, self.traffic(old.session));
        let local = K::local(local).0;
        let offered = self.offer(local, &draft, hashes, Some(old.session), counters, &mut ended)?;
        Ok(inserted(new, offered))
    }

    /// Puts the drafted session into the table, in the place of `old` if there is one.
    #[inline(always)]
    pub(super) fn offer(
        &self,
        local: &mut TableLocal,
        draft: &Draft<K>,
        hashes: [u64; 2],
        old: Option<u32>,
        counters: [Traffic; 2],
        ended: &mut impl FnMut(Ended<K>),
    ) -> Result<Offered<K>, InsertError> {
        if same_key::<K>(&draft.keys[0], &draft.keys[1]) {
            return Err(InsertError::KeysEqual);
        }
        loop {
            let session = self.table.allocate(local).ok_or(InsertError::TableFull)?;
            self.ask_entry(local.upcoming());
            step();
            let ready = self.fill(session, draft, counters);
            step();
            let offer = Offer {
                session,
                ready,
                draft,
                hashes,
                replaces: old.is_some(),
            };
            let placed = self.place(&offer);
            if let Some(settled) = self.settle(local, &offer, placed, ended)? {
                return Ok(settled);
            }
        }
    }

    /// What becomes of an offer whose slots are in the index, if they are `placed`. None: it is withdrawn, and whoever was in its way
    /// is gone, too.
    #[inline]
    pub(super) fn settle(
        &self,
        local: &mut TableLocal,
        offer: &Offer<'_, K>,
        placed: bool,
        ended: &mut impl FnMut(Ended<K>),
    ) -> Result<Option<Offered<K>>, InsertError> {
        let Offer {
            session, ready, hashes, ..
        } = *offer;
        if !placed {
            self.withdraw(local, offer);
            return Err(InsertError::TableFull);
        }
        let mut replaced = Replaced {
            sessions: [(0, ready); REPLACED_MAX],
            count: 0,
        };
        let index = &self.table.index;
        let look = if hashes.into_iter().all(|hash| index.spot(hash).is_alone()) {
            Look::Clear
        } else {
            self.look(offer, &mut replaced)
        };
        step();
        match look {
            Look::Clear if self.table.change(session, ready, ready.with_state(State::Live)) => {
                step();
                if replaced.count > 0 {
                    self.retire_replaced(local, &replaced, ended);
                }
                let version = ready.version();
                return Ok(Some(Offered::New { session, version }));
            }
            Look::Clear | Look::Lost => self.withdraw(local, offer),
            Look::Taken => {
                self.withdraw(local, offer);
                return Err(InsertError::TupleTaken);
            }
        }
        let present = |state| state == State::Live || state == State::Ready;
        let found = self.find(&offer.draft.keys[0], hashes[0], present);
        Ok(found.map(|(session, reverse, entry)| Offered::Existing(entry.hit(session, reverse))))
    }

    /// The next session's entry and counters, which are written.
    fn ask_entry(&self, session: u32) {
        let entry = self.table.entry(session);
        touch(&entry[0]);
        if K::ENTRY_WORDS > 8 {
            touch(&entry[K::ENTRY_WORDS - 1]);
        }
        touch(&self.counter(Direction::Forward, session)[0]);
        touch(&self.counter(Direction::Reverse, session)[0]);
    }

    /// Both slots; `false` if the index had no room for one.
    #[inline(always)]
    fn place(&self, offer: &Offer<'_, K>) -> bool {
        let placed = [false, true].into_iter().all(|reverse| {
            let hash = offer.hashes[usize::from(reverse)];
            let done = self
                .table
                .index
                .place(hash, Slot::new(hash, reverse, offer.session))
                .is_ok();
            step();
            done
        });
        crate::sync::placed_before_looking();
        placed
    }

    #[inline(never)]
    fn look(&self, offer: &Offer<'_, K>, replaced: &mut Replaced) -> Look {
        for (key, hash) in offer.draft.keys.iter().zip(offer.hashes) {
            let beaten = self.table.index.visit(hash, |slot| {
                if slot.entry() == offer.session {
                    return ControlFlow::Continue(());
                }
                match self.compare(offer, slot, key, replaced) {
                    Look::Clear => ControlFlow::Continue(()),
                    lost @ (Look::Lost | Look::Taken) => ControlFlow::Break(lost),
                }
            });
            if let Some(lost) = beaten {
                return lost;
            }
        }
        Look::Clear
    }

    /// Whether the session in this slot has the key and wins over the offer. One that loses is stopped, or noted for its retirement.
    fn compare(&self, offer: &Offer<'_, K>, slot: Slot, key: &K::Words, replaced: &mut Replaced) -> Look {
        let present = |state| state == State::Live || state == State::Ready;
        loop {
            let life = self.table.life(slot.entry());
            if !present(life.state()) {
                return Look::Clear;
            }
            let Some(other) = self.copy(slot.entry(), present) else {
                // It changed while we looked: either it is gone or it became live.
                continue;
            };
            if !other.has_key(slot.is_reverse(), key) {
                return Look::Clear;
            }
            let live = other.life.state() == State::Live;
            if live && self.is_replaced(offer, slot.entry(), &other, replaced) {
                return Look::Clear;
            }
            if live || slot.entry() < offer.session {
                // A twin that came between our look at the one key and the other is met under the reverse key first.
                let twin = other.has_key(false, &offer.draft.keys[0]) || other.has_key(true, &offer.draft.keys[0]);
                return if twin { Look::Lost } else { Look::Taken };
            }
            if self
                .table
                .change(slot.entry(), other.life, other.life.with_state(State::Retired))
            {
                return Look::Clear;
            }
        }
    }

    fn is_replaced(&self, offer: &Offer<'_, K>, session: u32, other: &Copied<K>, replaced: &mut Replaced) -> bool {
        if !offer.replaces || !other.has_key(false, &offer.draft.keys[0]) || !older(other, offer) {
            return false;
        }
        let known = replaced.sessions[..replaced.count]
            .iter()
            .any(|(known, _)| *known == session);
        if !known {
            if replaced.count == REPLACED_MAX {
                return false;
            }
            replaced.sessions[replaced.count] = (session, other.life);
            replaced.count += 1;
        }
        true
    }

    #[cold]
    fn retire_replaced(&self, local: &mut TableLocal, replaced: &Replaced, ended: &mut impl FnMut(Ended<K>)) {
        for (session, life) in &replaced.sessions[..replaced.count] {
            if let Some(gone) = self.end(local, *session, *life) {
                ended(gone);
            }
        }
    }

    /// Takes an offer back. Whoever stopped it only changed its life; slots and entry are still ours.
    #[cold]
    fn withdraw(&self, local: &mut TableLocal, offer: &Offer<'_, K>) {
        // Stopped or not, from here on nobody finds it.
        self.table
            .change(offer.session, offer.ready, offer.ready.with_state(State::Retired));
        step();
        for (hash, reverse) in offer.hashes.into_iter().zip([false, true]) {
            self.table.index.remove(hash, Slot::new(hash, reverse, offer.session));
            step();
        }
        self.table.retire(local, offer.session);
    }
}

#[inline(always)]
fn inserted<K: SessionKey>(new: &NewSession<K>, offered: Offered<K>) -> Inserted<K> {
    match offered {
        Offered::Existing(hit) => Inserted::Existing(hit),
        Offered::New { session, version } => Inserted::New(Hit {
            session,
            version,
            direction: Direction::Forward,
            rewrite_to: new.reverse.swapped(),
            next_hop: new.next_hop[0],
            epochs: new.epochs,
            translated: new.is_translated(),
            flags: new.flags,
            mapping: new.mapping,
        }),
    }
}

/// Whether a decision is older than the offer in a segment that both went through, and newer in none.
fn older<K: SessionKey>(other: &Copied<K>, offer: &Offer<'_, K>) -> bool {
    let of = |keys: &[K::Words; 2], epochs: u64| {
        let [forward, reverse] = [K::from_words(&keys[0]), K::from_words(&keys[1])];
        [
            (forward.segment(), (epochs >> 32) as u32),
            (reverse.segment(), epochs as u32),
        ]
    };
    let theirs = of(&other.keys, other.epochs);
    let ours_both = of(&offer.draft.keys, offer.draft.epochs);
    let mut some_older = false;
    for (segment, epoch) in theirs {
        for (ours, our_epoch) in ours_both {
            if ours == segment {
                // Epochs wrap: the difference has a sign.
                match (our_epoch.wrapping_sub(epoch) as i32).signum() {
                    -1 => return false,
                    1 => some_older = true,
                    _ => {}
                }
            }
        }
    }
    some_older
}
