//! What the peer asks for.

use super::collision::lowest;
use super::{Doing, Established, Met, Standing};
use crate::connection::Path;
use crate::sa::channel::Inside;
use crate::sa::child::{ChildSa, Stage};
use crate::sa::payloads::{associations, find_notify, nonces};
use crate::sa::pending_child::{Material, Refusal, Request};
use crate::sa::step::{Step, What};
use crate::sa::{IkeSa, State};
use crate::wire::{Exchange, Header, Nonce, Notify, Payload, notify, protocol};

/// Child SAs of one IKE SA at most, old and lingering ones included: a peer cannot fill our memory.
const CHILDREN_MAX: usize = 256;

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
            Exchange::IkeSaInit
            | Exchange::IkeAuth
            | Exchange::IkeIntermediate
            | Exchange::IkeFollowupKe
            | Exchange::Other(_) => {
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
                if refusal.is_news() {
                    let child = "its child SA".to_owned();
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
        (self.children.len() >= CHILDREN_MAX).then(Refusal::no_more)
    }

    fn new_child(&mut self, sa: &IkeSa, step: &mut Step<'_>, payloads: &[Payload]) -> Result<Vec<Payload>, Refusal> {
        if let Some(refusal) = self.refuses_children() {
            return Err(refusal);
        }
        let Answered { child, answer, .. } = self.answer_child(sa, step, payloads, None, Stage::Active)?;
        let (name, spi) = (child.name.clone(), child.inbound.spi);
        self.children.push(child);
        // The peer began anew: it does not use what it had.
        self.activate(step.now.monotonic, spi, false);
        step.tell(Some(&self.connection), What::ChildUp { child: name });
        Ok(answer)
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
        let (name, stage, old) = match old {
            Some(old) => (old.name.clone(), old.stage, old.inbound.spi),
            None => return Err(Refusal::no_such_child(rekeyed)),
        };
        match stage {
            Stage::Receiving { .. } | Stage::Active => {}
            // RFC 7296 §2.25.1: we are closing it, or about to.
            Stage::Replaced { .. } | Stage::Closing => return Err(Refusal::temporary()),
            Stage::Lingering { .. } => return Err(Refusal::no_such_child(rekeyed)),
        }
        let now = step.now.monotonic;
        let Answered { child, answer, lowest } =
            self.answer_child(sa, step, payloads, Some(&name), ChildSa::receiving(now))?;
        let spi = child.inbound.spi;
        self.children.push(child);
        if let Some(Doing::RekeyChild { old: ours, met, .. }) = &mut self.doing
            && *ours == old
        {
            *met = Some(Met { spi, lowest });
        }
        step.tell(Some(&self.connection), What::ChildRekeyed { child: name });
        Ok(answer)
    }

    fn answer_child(
        &self,
        sa: &IkeSa,
        step: &mut Step<'_>,
        payloads: &[Payload],
        only: Option<&str>,
        stage: Stage,
    ) -> Result<Answered, Refusal> {
        let connection = step
            .connections
            .get(&self.connection)
            .cloned()
            .ok_or_else(Refusal::temporary)?;
        let theirs = nonces(payloads)
            .next()
            .ok_or_else(|| Refusal::syntax("a request for a child SA lacks a nonce"))?;
        let ours = step.nonce();
        let material = Material {
            prf: self.channel.suite.prf,
            keys: &self.channel.keys,
            nonce_i: theirs.bytes(),
            nonce_r: ours.bytes(),
        };
        let request = Request {
            children: &connection.children,
            only,
            payloads,
            with_exchange: true,
            stage,
        };
        let (child, mut answer) = request.answer(step, sa.id, &material)?;
        answer.insert(1, Payload::Nonce(ours.clone()));
        Ok(Answered {
            child,
            answer,
            lowest: lowest(theirs, &ours),
        })
    }
}

/// A child SA that the peer asked for, our answer, and the lower of the exchange's nonces.
struct Answered {
    child: ChildSa,
    answer: Vec<Payload>,
    lowest: Nonce,
}
