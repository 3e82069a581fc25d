//! INFORMATIONAL: what the peer deletes, and what it tells (RFC 7296 §1.4, §2.25).

use super::{Doing, Established, Standing};
use crate::connection::Path;
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::sa::child::{ChildSa, Stage, Workers};
use crate::sa::payloads::{deletes, find_notify};
use crate::sa::step::Step;
use crate::sa::{IkeSa, State};
use crate::wire::{Delete, Header, Payload, notify};

/// A child SA that is younger may not be there on the other side yet.
const FRESH_MS: u64 = 10_000;

impl Established {
    /// Deletes, errors, signs of life.
    pub(super) fn informational(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        payloads: &[Payload],
    ) -> State {
        if deletes(payloads).any(|delete| *delete == Delete::Ike) {
            self.reply(sa, step, path, header, &[]);
            self.forget_rekeying(step);
            // RFC 7296 §2.25.2: also while ours is under way.
            let why = match self.standing {
                Standing::Leaving | Standing::Closing => Failure::Ours,
                Standing::Current | Standing::Candidate { .. } | Standing::Replaced { .. } => Failure::Deleted,
            };
            return self.end(step, why);
        }
        if find_notify(payloads, notify::AUTHENTICATION_FAILED).is_some() {
            self.reply(sa, step, path, header, &[]);
            let why = Failure::Refused {
                notify: notify::AUTHENTICATION_FAILED,
                offered: "our proof in IKE_AUTH".into(),
            };
            return self.end(step, why);
        }
        self.peer_lacks(step.now.monotonic, payloads);
        let spis: Vec<u32> = deletes(payloads).flat_map(esp_spis).copied().collect();
        let deleted = self.deleted(step.now.monotonic, &spis);
        let answer = (!deleted.is_empty()).then_some(Payload::Delete(Delete::Esp(deleted)));
        self.reply(sa, step, path, header, answer.as_slice());
        State::Established(self)
    }

    /// The peer does not know an SPI of our packets (RFC 7296 §1.5): that child SA is replaced. A fresh one may be unknown for a moment.
    fn peer_lacks(&mut self, now: Milliseconds, payloads: &[Payload]) {
        let told = find_notify(payloads, notify::INVALID_SPI);
        let spi = told.and_then(|told| <[u8; 4]>::try_from(&told.data[..]).ok().map(u32::from_be_bytes));
        let lost = |child: &&mut ChildSa| Some(child.outbound.spi) == spi && child.sends();
        for child in self.children.iter_mut().filter(lost) {
            if now.since(child.created) >= FRESH_MS {
                child.rekey_at = child.rekey_at.min(now);
            }
        }
    }

    /// The peer deleted these (its inbound SPIs). Returns ours, for the answer.
    fn deleted(&mut self, now: Milliseconds, spis: &[u32]) -> Vec<u32> {
        let mut answered = Vec::new();
        for spi in spis {
            let Some(child) = self.children.iter_mut().find(|child| child.outbound.spi == *spi) else {
                continue;
            };
            match child.stage {
                // RFC 7296 §2.25.1: our own Delete of it is under way, so the answer does not name it.
                Stage::Closing | Stage::Lingering { .. } => child.linger(now),
                Stage::Receiving { .. } | Stage::Active | Stage::Replaced { .. } => {
                    answered.push(child.inbound.spi);
                    let (name, workers, sent) = (child.name.clone(), child.workers, child.stage == Stage::Active);
                    child.linger(now);
                    if sent {
                        self.next_of(now, &name, workers);
                    }
                    self.deleted_by_peer(now, name, workers);
                }
            }
        }
        answered
    }

    /// The youngest that is left takes over.
    pub(super) fn next_of(&mut self, now: Milliseconds, name: &str, workers: Workers) {
        let met = match &self.doing {
            Some(Doing::RekeyChild { met: Some(met), .. }) => Some(met.spi),
            _ => None,
        };
        let mut left = self
            .children
            .iter()
            .filter(|child| child.name == name && child.workers == workers && child.may_send());
        let heir = left
            .clone()
            .find(|child| Some(child.inbound.spi) == met)
            .or(left.next_back());
        if let Some(spi) = heir.map(|child| child.inbound.spi) {
            self.activate(now, spi, false);
        }
    }
}

fn esp_spis(delete: &Delete) -> &[u32] {
    match delete {
        Delete::Esp(spis) => spis,
        Delete::Ike | Delete::Ah(_) => &[],
    }
}
