//! What the peer answers.

use super::collision::{lowest, ours_loses};
use super::tasks::Task;
use super::{Doing, Established, Met, Standing};
use crate::failure::Failure;
use crate::sa::child::ChildSa;
use crate::sa::offers;
use crate::sa::payloads::{asked_group, find_error, nonces};
use crate::sa::pending_child::{Material, PendingChild};
use crate::sa::step::{Step, What};
use crate::sa::{IkeSa, State};
use crate::transform::Group;
use crate::wire::{Nonce, Notify, Payload, notify};

impl Established {
    /// The answer to our request.
    pub(super) fn response(mut self: Box<Self>, sa: &mut IkeSa, step: &mut Step<'_>, payloads: &[Payload]) -> State {
        let now = step.now.monotonic;
        match self.doing.take() {
            Some(Doing::Liveness) | None => {}
            Some(Doing::DeleteIke) => {
                let why = match self.standing {
                    Standing::Replaced { .. } | Standing::Candidate { .. } => Failure::Superseded,
                    Standing::Current | Standing::Leaving | Standing::Closing => Failure::Ours,
                };
                return self.end(step, why);
            }
            Some(Doing::DeleteChildren(spis)) => {
                let closed = self
                    .children
                    .iter_mut()
                    .filter(|child| spis.contains(&child.inbound.spi));
                closed.for_each(|child| child.linger(now));
            }
            Some(Doing::RekeyIke(pending)) => self.rekeyed_ike(sa, step, *pending, payloads),
            Some(Doing::CreateChild(pending)) => self.created_child(sa, step, pending, payloads),
            Some(Doing::RekeyChild { old, pending, met }) => self.rekeyed_child(sa, step, old, pending, met, payloads),
        }
        State::Established(self)
    }

    fn created_child(&mut self, sa: &mut IkeSa, step: &mut Step<'_>, pending: PendingChild, payloads: &[Payload]) {
        match self.accept_child(step, &pending, payloads) {
            Ok((child, _)) => {
                let (name, spi) = (child.name.clone(), child.inbound.spi);
                self.children.push(child);
                self.activate(step.now.monotonic, spi, true);
                step.tell(Some(&self.connection), What::ChildUp { child: name });
            }
            Err(Trouble::OtherGroup(group)) => {
                self.begin(sa, step, Task::CreateChild(pending.name.clone(), Some(group)))
            }
            Err(Trouble::Later) => self.postpone(step, &pending.name, 1000),
            Err(Trouble::NoSuchChild) => self.postpone(step, &pending.name, 1000),
            Err(Trouble::Failed(why)) => self.child_failed(step, &pending.name, why),
        }
    }

    fn rekeyed_child(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        old: u32,
        pending: PendingChild,
        met: Option<Met>,
        payloads: &[Payload],
    ) {
        let now = step.now.monotonic;
        let old_lives = self
            .children
            .iter()
            .any(|child| child.inbound.spi == old && child.lives());
        match self.accept_child(step, &pending, payloads) {
            Ok((child, ours)) => {
                let (name, spi) = (child.name.clone(), child.inbound.spi);
                self.children.push(child);
                match met {
                    // Ours loses: we delete it; the peer deletes the old one, and from then on the peer's sends.
                    Some(met) if ours_loses(&ours, &met.lowest) => {
                        self.stage_of(spi, |child| child.replace(now, true));
                        if !old_lives {
                            self.activate(now, met.spi, true);
                        }
                    }
                    // Ours wins: we delete the old one, the peer deletes what it made.
                    Some(met) => {
                        self.activate(now, spi, true);
                        self.stage_of(met.spi, |child| child.replace(now, false));
                    }
                    None => self.activate(now, spi, true),
                }
                step.tell(Some(&self.connection), What::ChildRekeyed { child: name });
            }
            // The peer's own replacement stays.
            Err(_) if met.is_some() => {}
            Err(Trouble::OtherGroup(group)) => self.begin(sa, step, Task::RekeyChild(old, Some(group))),
            Err(Trouble::Later) => self.rekey_later(step, old, 1000),
            Err(Trouble::NoSuchChild) => self.stage_of(old, |child| child.linger(now)),
            Err(Trouble::Failed(why)) => {
                self.rekey_later(step, old, 10_000);
                let child = pending.name.clone();
                step.tell(Some(&self.connection), What::ChildFailed { child, why });
            }
        }
    }

    fn rekey_later(&mut self, step: &mut Step<'_>, spi: u32, least_ms: u64) {
        let at = step.soon(least_ms);
        self.stage_of(spi, |child| child.rekey_at = at);
    }

    fn stage_of(&mut self, spi: u32, change: impl FnOnce(&mut ChildSa)) {
        if let Some(child) = self.children.iter_mut().find(|child| child.inbound.spi == spi) {
            change(child);
        }
    }

    /// The child SA that the answer makes, and the lower of the exchange's nonces.
    fn accept_child(
        &self,
        step: &mut Step<'_>,
        pending: &PendingChild,
        payloads: &[Payload],
    ) -> Result<(ChildSa, Nonce), Trouble> {
        let connection = step.connections.get(&self.connection).cloned();
        let wanted = connection
            .as_ref()
            .and_then(|c| c.children.iter().find(|child| child.name == pending.name));
        let made = match (find_error(payloads), wanted, nonces(payloads).next()) {
            (Some(error), ..) => Err(Trouble::of(
                error,
                pending,
                wanted.map(|w| w.proposals.as_slice()).unwrap_or_default(),
            )),
            (None, None, _) => Err(Trouble::Failed(Failure::Ours)),
            (None, Some(_), None) => Err(Trouble::Failed(Failure::Misbehaved("its answer lacks a nonce"))),
            (None, Some(wanted), Some(theirs)) => {
                let material = Material {
                    prf: self.channel.suite.prf,
                    keys: &self.channel.keys,
                    nonce_i: pending.nonce.as_ref().map_or(&[], Nonce::bytes),
                    nonce_r: theirs.bytes(),
                };
                let made = pending
                    .accept(step, wanted, payloads, &material)
                    .map_err(Trouble::Failed);
                made.map(|child| (child, lowest(pending.nonce.as_ref().unwrap_or(theirs), theirs)))
            }
        };
        if made.is_err() {
            step.child_spis.remove(pending.spi);
        }
        made
    }
}

/// Why our request for a child SA made none.
enum Trouble {
    OtherGroup(Group),
    Later,
    NoSuchChild,
    Failed(Failure),
}

impl Trouble {
    fn of(error: &Notify, pending: &PendingChild, offered: &[crate::transform::EspProposal]) -> Trouble {
        let sent = pending.exchange.as_ref().map(|(private, _)| private.group());
        let asked = asked_group(error).filter(|group| Some(*group) != sent);
        match (error.kind, asked) {
            (notify::INVALID_KE_PAYLOAD, Some(group)) if offered.iter().any(|p| p.groups.contains(&Some(group))) => {
                Trouble::OtherGroup(group)
            }
            (notify::TEMPORARY_FAILURE, _) => Trouble::Later,
            (notify::CHILD_SA_NOT_FOUND, _) => Trouble::NoSuchChild,
            (kind, _) => Trouble::Failed(Failure::Refused {
                notify: kind,
                offered: offers::esp(offered),
            }),
        }
    }
}
