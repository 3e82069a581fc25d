//! What the peer answers.

use super::collision::ours_loses;
use super::followup;
use super::tasks::Task;
use super::{Doing, Established, Met, Standing};
use crate::crypto::exchange::PrivateValue;
use crate::failure::Failure;
use crate::sa::child::{ChildSa, Stage, Workers};
use crate::sa::offers;
use crate::sa::payloads::{asked_group, find_error, nonces};
use crate::sa::pending_child::PendingChild;
use crate::sa::step::{Step, What};
use crate::sa::{IkeSa, State};
use crate::transform::Group;
use crate::wire::{Exchange, Nonce, Notify, Payload, notify};

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
        let (name, workers) = (pending.name.clone(), pending.workers);
        match self.accept_child(step, pending, payloads) {
            Ok(Progress::More(pending, payloads, _)) => {
                self.ask(
                    sa,
                    step,
                    Exchange::IkeFollowupKe,
                    &payloads,
                    Doing::CreateChild(pending),
                );
            }
            Ok(Progress::Done(child, _)) => {
                let spi = child.inbound.spi;
                self.children.push(child);
                self.activate(step.now.monotonic, spi, true);
                if workers == Workers::All {
                    step.tell(Some(&self.connection), What::ChildUp { child: name });
                }
            }
            Err(Trouble::OtherGroup(group)) => self.begin(sa, step, Task::CreateChild(name, workers, Some(group))),
            Err(Trouble::Forgotten) => {
                self.state_forgotten();
                self.postpone(step, &name, workers, 1000);
            }
            Err(Trouble::Later | Trouble::NoSuchChild) => self.postpone(step, &name, workers, 1000),
            Err(Trouble::Failed(_)) if workers != Workers::All => {
                self.own_one_refused(step.now.monotonic, name, workers)
            }
            Err(Trouble::Failed(why)) => self.child_failed(step, &name, why),
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
        let wanted = pending.name.clone();
        let replaced = self.children.iter().find(|child| child.inbound.spi == old);
        let old_lives = replaced.is_some_and(ChildSa::lives);
        let shares = replaced.is_some_and(|child| child.shares);
        match self.accept_child(step, pending, payloads) {
            // Ours loses: it goes no further (RFC 9370 §2.2.4: there is nothing to delete yet). The peer's does, or has.
            Ok(Progress::More(pending, _, ours)) if met.as_ref().is_some_and(|met| ours_loses(&ours, &met.lowest)) => {
                step.child_spis.remove(pending.spi);
                if let Some(met) = met.filter(|_| !old_lives) {
                    self.activate(now, met.spi, true);
                }
            }
            Ok(Progress::More(pending, payloads, _)) => {
                let doing = Doing::RekeyChild { old, pending, met };
                self.ask(sa, step, Exchange::IkeFollowupKe, &payloads, doing);
            }
            Ok(Progress::Done(mut child, ours)) => {
                child.shares |= shares;
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
                        self.drop_series(step, |series| series.replaces(old));
                    }
                    None => self.activate(now, spi, true),
                }
                step.tell(Some(&self.connection), What::ChildRekeyed { child: name });
            }
            // The peer's own replacement stays.
            Err(_) if met.is_some() => {}
            Err(Trouble::OtherGroup(group)) => self.begin(sa, step, Task::RekeyChild(old, Some(group))),
            Err(Trouble::Later) => self.rekey_later(step, old, 1000),
            Err(Trouble::Forgotten) => {
                self.state_forgotten();
                self.rekey_later(step, old, 1000);
            }
            Err(Trouble::NoSuchChild) => self.stage_of(old, |child| child.linger(now)),
            Err(Trouble::Failed(why)) => {
                self.rekey_later(step, old, 10_000);
                let child = wanted;
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

    /// What the answer makes: the child SA, or the next additional key exchange.
    fn accept_child(
        &mut self,
        step: &mut Step<'_>,
        pending: PendingChild,
        payloads: &[Payload],
    ) -> Result<Progress, Trouble> {
        let spi = pending.spi;
        let progress = self.progress(step, pending, payloads);
        match &progress {
            Ok(Progress::Done(..)) => self.forgotten = 0,
            Ok(Progress::More(..)) => {}
            Err(_) => step.child_spis.remove(spi),
        }
        progress
    }

    fn progress(&self, step: &mut Step<'_>, pending: PendingChild, payloads: &[Payload]) -> Result<Progress, Trouble> {
        let misbehaved = |text| Trouble::Failed(Failure::Misbehaved(text));
        let connection = step.connections.get(&self.connection).cloned();
        let wanted = connection
            .as_ref()
            .and_then(|c| c.children.iter().find(|child| child.name == pending.name));
        if let Some(error) = find_error(payloads) {
            let offered = wanted.map(|w| w.proposals.as_slice()).unwrap_or_default();
            return Err(Trouble::of(error, &pending, offered));
        }
        let wanted = wanted.ok_or(Trouble::Failed(Failure::Ours))?;
        let mut pending = pending;
        let agreed = match pending.agreed.take() {
            Some(mut agreed) => {
                let shared = pending
                    .exchange
                    .as_ref()
                    .and_then(|(private, _)| followup::agree(private, payloads));
                agreed
                    .shared
                    .push(shared.ok_or_else(|| misbehaved(followup::NOT_VALID))?);
                agreed
            }
            None => {
                let theirs = nonces(payloads)
                    .next()
                    .ok_or_else(|| misbehaved("its answer lacks a nonce"))?;
                let ours = pending.nonce.as_ref().unwrap_or(theirs);
                Box::new(
                    pending
                        .agree(wanted, payloads, [ours, theirs])
                        .map_err(Trouble::Failed)?,
                )
            }
        };
        let Some(group) = agreed.missing() else {
            let lowest = agreed.lowest();
            let child = self.build_child(step, *agreed, Stage::Active);
            return Ok(Progress::Done(child.ok_or(Trouble::Failed(Failure::Ours))?, lowest));
        };
        let link = followup::link(payloads).ok_or_else(|| misbehaved(followup::NO_LINK))?;
        let (private, public) = PrivateValue::generate(group, step.random);
        let payloads = followup::request(group, &public, link);
        pending.exchange = Some((private, Vec::new()));
        let lowest = agreed.lowest();
        pending.agreed = Some(agreed);
        Ok(Progress::More(pending, payloads, lowest))
    }
}

/// What an answer leads to.
enum Progress {
    /// The child SA, and the lower of the nonces of its CREATE_CHILD_SA.
    Done(ChildSa, Nonce),
    /// IKE_FOLLOWUP_KE with these payloads; the same nonce.
    More(PendingChild, Vec<Payload>, Nonce),
}

/// Why our request for a child SA made none.
enum Trouble {
    OtherGroup(Group),
    Later,
    /// The peer does not know what our additional key exchange belongs to (RFC 9370 §2.2.4).
    Forgotten,
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
            (notify::STATE_NOT_FOUND, _) => Trouble::Forgotten,
            (notify::CHILD_SA_NOT_FOUND, _) => Trouble::NoSuchChild,
            (kind, _) => Trouble::Failed(Failure::Refused {
                notify: kind,
                offered: offers::esp(offered),
            }),
        }
    }
}
