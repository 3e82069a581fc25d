//! What the peer asks for.

use super::followup::Made;
use super::{Doing, Established, Met, Standing};
use crate::connection::Path;
use crate::sa::channel::Inside;
use crate::sa::child::{ChildSa, Stage, Workers};
use crate::sa::payloads::{associations, find_notify, nonces};
use crate::sa::pending_child::{Agreed, Material, Refusal, Request};
use crate::sa::step::{Step, What};
use crate::sa::{IkeSa, State};
use crate::wire::{Exchange, Header, Notify, Payload, notify, protocol};

/// Child SAs of one IKE SA at most, old and lingering ones included: a peer cannot fill our memory.
const CHILDREN_MAX: usize = 256;

/// What the peer asks for in vain is told of at most this often.
const REFUSALS_MS: u64 = 10_000;
/// What an operator reads of a child SA whose name here is not known.
pub(crate) const WANTED_BY_PEER: &str = "wanted by the peer";

impl Established {
    /// Answers a request, once, in its turn.
    pub(super) fn request(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        inside: Inside,
    ) -> State {
        let payloads = match inside.payloads() {
            Ok(payloads) => payloads,
            Err(error) => {
                // RFC 7296 §2.5, §2.21: authentic, but not understood.
                let answer = error.notify().map(Payload::Notify);
                self.reply(sa, step, path, header, answer.as_slice());
                return State::Established(self);
            }
        };
        match header.exchange {
            Exchange::Informational => return self.informational(sa, step, path, header, payloads),
            Exchange::CreateChildSa => self.create_child_sa(sa, step, path, header, payloads),
            Exchange::IkeFollowupKe => self.answer_followup(sa, step, path, header, payloads),
            Exchange::IkeSaInit | Exchange::IkeAuth | Exchange::IkeIntermediate | Exchange::Other(_) => {
                let syntax = Notify::new(notify::INVALID_SYNTAX, &[]);
                self.reply(sa, step, path, header, &[Payload::Notify(syntax)]);
            }
        }
        State::Established(self)
    }

    fn create_child_sa(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        payloads: &[Payload],
    ) {
        let mut proposals = associations(payloads).flatten();
        if proposals.any(|proposal| proposal.protocol == protocol::IKE) {
            return self.answer_rekey_ike(sa, step, path, header, payloads);
        }
        let answer = match find_notify(payloads, notify::REKEY_SA) {
            Some(rekeyed) => self.rekey_child(sa, step, rekeyed, payloads),
            None => self.new_child(sa, step, payloads),
        };
        match answer {
            Ok(answer) => self.reply(sa, step, path, header, &answer),
            Err(refusal) => {
                self.reply(sa, step, path, header, &[Payload::Notify(refusal.notify.clone())]);
                if refusal.is_news() && self.refusals_from <= step.now.monotonic {
                    self.refusals_from = step.now.monotonic.after(REFUSALS_MS);
                    let child = WANTED_BY_PEER.to_owned();
                    let why = refusal.why;
                    step.tell(Some(&self.connection), What::ChildFailed { child, why });
                }
            }
        }
    }

    /// Why no child SA can be made now, whatever it is (RFC 7296 §2.25.2).
    fn refuses_children(&self) -> Option<Refusal> {
        if matches!(self.doing, Some(Doing::RekeyIke(_) | Doing::DeleteIke)) || self.standing != Standing::Current {
            return Some(Refusal::temporary());
        }
        (self.children.len() + self.series.len() >= CHILDREN_MAX).then(Refusal::no_more)
    }

    fn new_child(&mut self, sa: &IkeSa, step: &mut Step<'_>, payloads: &[Payload]) -> Result<Vec<Payload>, Refusal> {
        if let Some(refusal) = self.refuses_children() {
            return Err(refusal);
        }
        let (mut agreed, answer) = self.answer_child(sa, step, payloads, None)?;
        let connection = step.connections.get(&self.connection).cloned();
        let info = find_notify(payloads, notify::SA_RESOURCE_INFO);
        let seat = connection.map(|connection| self.seat(&connection, &agreed.name, info, agreed.inbound));
        agreed.workers = seat.unwrap_or(Ok(Workers::All)).inspect_err(|_| {
            step.child_spis.remove(agreed.inbound);
        })?;
        self.child_agreed(step, agreed, None, answer)
    }

    fn rekey_child(
        &mut self,
        sa: &IkeSa,
        step: &mut Step<'_>,
        rekeyed: &Notify,
        payloads: &[Payload],
    ) -> Result<Vec<Payload>, Refusal> {
        if let Some(refusal) = self.refuses_children() {
            return Err(refusal);
        }
        // It names the SPI that it receives on: our outbound one.
        let old = self
            .children
            .iter()
            .find(|child| rekeyed.child_spi() == Some(child.outbound.spi));
        let (name, stage, workers, shares, old) = match old {
            Some(old) => (old.name.clone(), old.stage, old.workers, old.shares, old.inbound.spi),
            // It may be the one that we asked for: the peer has it, and its answer is still on its way.
            None if matches!(self.doing, Some(Doing::CreateChild(_) | Doing::RekeyChild { .. })) => {
                return Err(Refusal::temporary());
            }
            None => return Err(Refusal::no_such_child(rekeyed)),
        };
        match stage {
            Stage::Receiving { .. } | Stage::Active => {}
            // RFC 7296 §2.25.1: we are closing it, or about to.
            Stage::Replaced { .. } | Stage::Closing => return Err(Refusal::temporary()),
            Stage::Lingering { .. } => return Err(Refusal::no_such_child(rekeyed)),
        }
        // What the peer began for the same one before, it has given up.
        self.drop_series(step, |series| series.replaces(old));
        let (mut agreed, answer) = self.answer_child(sa, step, payloads, Some(&name))?;
        (agreed.workers, agreed.shares) = (workers, agreed.shares || shares);
        let (spi, lowest) = (agreed.inbound, agreed.lowest());
        if let Some(Doing::RekeyChild { old: ours, met, .. }) = &mut self.doing
            && *ours == old
        {
            *met = Some(Met { spi, lowest });
        }
        self.child_agreed(step, agreed, Some(old), answer)
    }

    /// A child SA that the peer asked for is made now, or after its additional key exchanges.
    fn child_agreed(
        &mut self,
        step: &mut Step<'_>,
        agreed: Agreed,
        old: Option<u32>,
        answer: Vec<Payload>,
    ) -> Result<Vec<Payload>, Refusal> {
        let mut answer = answer;
        if agreed.missing().is_some() {
            answer.push(self.begin_series(step, Made::Child { agreed, old }));
        } else {
            self.made_for_peer(step, agreed, old);
        }
        Ok(answer)
    }

    /// The child SA that the peer asked for, all key exchanges done.
    pub(super) fn made_for_peer(&mut self, step: &mut Step<'_>, agreed: Agreed, old: Option<u32>) {
        let now = step.now.monotonic;
        let stage = match old {
            Some(_) => ChildSa::receiving(now),
            None => Stage::Active,
        };
        let Some(child) = self.build_child(step, agreed, stage) else {
            return;
        };
        let (name, spi, workers) = (child.name.clone(), child.inbound.spi, child.workers);
        self.children.push(child);
        if old.is_some() {
            step.tell(Some(&self.connection), What::ChildRekeyed { child: name });
        } else {
            // The peer began anew: it does not use what it had.
            self.activate(now, spi, false);
            if workers == Workers::All {
                step.tell(Some(&self.connection), What::ChildUp { child: name });
            }
        }
    }

    /// A child SA from what was agreed on; none if the configuration has it no longer.
    pub(super) fn build_child(&self, step: &mut Step<'_>, agreed: Agreed, stage: Stage) -> Option<ChildSa> {
        let connection = step.connections.get(&self.connection).cloned();
        let wanted = connection
            .as_ref()
            .and_then(|c| c.children.iter().find(|child| child.name == agreed.name));
        let Some(wanted) = wanted else {
            step.child_spis.remove(agreed.inbound);
            return None;
        };
        let material = Material {
            prf: self.channel.suite.prf,
            keys: &self.channel.keys,
        };
        Some(agreed.build(step, wanted, &material, stage))
    }

    fn answer_child(
        &self,
        sa: &IkeSa,
        step: &mut Step<'_>,
        payloads: &[Payload],
        only: Option<&str>,
    ) -> Result<(Agreed, Vec<Payload>), Refusal> {
        let connection = step
            .connections
            .get(&self.connection)
            .cloned()
            .ok_or_else(Refusal::temporary)?;
        let theirs = nonces(payloads)
            .next()
            .ok_or_else(|| Refusal::syntax("a request for a child SA lacks a nonce"))?;
        let ours = step.nonce();
        let request = Request {
            children: &connection.children,
            only,
            payloads,
            with_exchange: true,
            shares: connection.shares(),
            nonces: [theirs, &ours],
        };
        let (agreed, mut answer) = request.answer(step, sa.id)?;
        answer.insert(1, Payload::Nonce(ours.clone()));
        Ok((agreed, answer))
    }
}
