//! An IKE SA that replaces another (RFC 7296 §1.3.2, §2.18): both sides of the exchange, and who gets the children.

use super::collision::ours_loses;
use super::followup::{self, Made, Series};
use super::pending_ike::{AgreedIke, MetIke, PendingIke};
use super::{Doing, Established, Standing};
use crate::connection::{Connection, Path};
use crate::crypto::exchange::{PrivateValue, respond};
use crate::crypto::ike_keys::{IkeKeys, Public};
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::proposal;
use crate::sa::channel::Channel;
use crate::sa::child::rekey_at;
use crate::sa::initiator::Said;
use crate::sa::offers;
use crate::sa::payloads::{asked_group, find_error};
use crate::sa::pending_child::Refusal;
use crate::sa::step::{Step, What};
use crate::sa::window::{Receiver, Sender};
use crate::sa::{IkeSa, SaId, State};
use crate::transform::Group;
use crate::wire::{Exchange, Header, KeyExchange, Notify, Payload, notify};

/// A peer that was to delete an IKE SA, and did not, has had this time. It may still be asking for our answer until then: gateways repeat a request
/// for up to 165 s.
const PEER_DELETES_MS: u64 = 180_000;

impl Established {
    /// The peer replaces this IKE SA.
    pub(super) fn answer_rekey_ike(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        payloads: &[Payload],
    ) {
        match self.heir_of_peer(sa, step, payloads) {
            Ok(answer) => self.reply(sa, step, path, header, &answer),
            Err(refusal) => self.reply(sa, step, path, header, &[Payload::Notify(refusal.notify)]),
        }
    }

    fn heir_of_peer(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        payloads: &[Payload],
    ) -> Result<Vec<Payload>, Refusal> {
        let busy = || Refusal::new(notify::TEMPORARY_FAILURE, Failure::Ours);
        // RFC 7296 §2.25.1, §2.25.2.
        let is_busy = match &self.doing {
            Some(Doing::CreateChild(_) | Doing::RekeyChild { .. } | Doing::DeleteChildren(_) | Doing::DeleteIke) => {
                true
            }
            // One replacement of the peer's beside ours, not one for every request.
            Some(Doing::RekeyIke(pending)) => pending.met.is_some(),
            Some(Doing::Liveness) | None => false,
        };
        if is_busy || self.standing != Standing::Current {
            return Err(busy());
        }
        let connection = step.connections.get(&self.connection).cloned().ok_or_else(busy)?;
        let wrong = |text| Refusal::new(notify::INVALID_SYNTAX, Failure::Misbehaved(text));
        let said = Said::of(payloads).ok_or_else(|| wrong("its rekeying lacks SA, KE or nonce"))?;
        let spi = step.ike_spi();
        let choice = proposal::choose_ike(&connection.ike_proposals, said.proposals, Some(spi))
            .map_err(|mismatch| Refusal::new(notify::NO_PROPOSAL_CHOSEN, Failure::Mismatch(Box::new(mismatch))))?;
        let peer_spi = choice.peer_spi.ok_or_else(|| wrong("its rekeying has no SPI"))?;
        let group = choice.suite.group;
        if said.exchange.group != group.id() {
            return Err(Refusal {
                notify: Notify::new(notify::INVALID_KE_PAYLOAD, &group.id().to_be_bytes()),
                why: Failure::AskedForGroup(group),
            });
        }
        let (data, shared) =
            respond(group, &said.exchange.data, step.random).map_err(|_| wrong("its public value is not valid"))?;
        let nonce = step.nonce();
        let mut answer = vec![
            Payload::SecurityAssociation(vec![choice.answer]),
            Payload::Nonce(nonce.clone()),
            Payload::KeyExchange(KeyExchange {
                group: group.id(),
                data,
            }),
        ];
        let agreed = AgreedIke {
            suite: choice.suite,
            own_spi: spi,
            peer_spi,
            initiator: false,
            nonce_i: said.nonce.clone(),
            nonce_r: nonce,
            shared: vec![shared],
        };
        if let Some(Doing::RekeyIke(pending)) = &mut self.doing {
            // Both sides replace it: which one stays is known when our answer comes.
            let (id, lowest) = (None, agreed.lowest());
            pending.met = Some(MetIke { id, lowest });
        }
        // What the peer began before, it has given up.
        self.drop_series(step, Series::is_ike);
        if agreed.missing().is_some() {
            answer.push(self.begin_series(step, Made::Ike(Box::new(agreed))));
        } else {
            self.heir_for_peer(sa, step, agreed)?;
        }
        Ok(answer)
    }

    /// The IKE SA that the peer replaces this one by, all key exchanges done.
    pub(super) fn heir_for_peer(&mut self, sa: &IkeSa, step: &mut Step<'_>, agreed: AgreedIke) -> Result<(), Refusal> {
        let connection = step.connections.get(&self.connection).cloned();
        let connection = connection.filter(|_| self.standing == Standing::Current);
        let connection = connection.ok_or_else(Refusal::temporary)?;
        let later = step.now.monotonic.after(PEER_DELETES_MS);
        let lowest = agreed.lowest();
        let mut heir = self.heir(sa, step, &connection, agreed);
        if let Some(Doing::RekeyIke(pending)) = &mut self.doing {
            let id = Some(heir.id);
            pending.met = Some(MetIke { id, lowest });
            if let Some(heir) = heir.established_mut() {
                heir.standing = Standing::Candidate { delete_at: later };
            }
        } else {
            self.bequeath(step, heir.id);
            self.standing = Standing::Replaced { delete_at: later };
            step.tell(Some(&self.connection), What::IkeRekeyed);
        }
        step.spawned.push(heir);
        Ok(())
    }

    /// The answer to our request to replace this IKE SA.
    pub(super) fn rekeyed_ike(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        pending: PendingIke,
        payloads: &[Payload],
    ) {
        if let Some(error) = find_error(payloads) {
            return self.rekeying_ike_refused(sa, step, pending, error);
        }
        let mut pending = pending;
        let agreed = match self.agreed_with(step, &mut pending, payloads) {
            Ok(agreed) => agreed,
            Err(why) => {
                self.rekey_at = step.soon(10_000);
                let connection = self.connection.clone();
                step.tell(Some(&connection), What::RekeyFailed { why });
                return self.yield_to(step, &pending);
            }
        };
        let loses = pending
            .met
            .as_ref()
            .is_some_and(|met| ours_loses(&agreed.lowest(), &met.lowest));
        match agreed.missing() {
            // Ours goes no further: there is nothing to delete yet.
            Some(_) if loses => self.yield_to(step, &pending),
            Some(group) => self.go_on(sa, step, pending, agreed, group, payloads),
            None => self.heir_of_ours(sa, step, &pending, agreed, loses),
        }
    }

    /// The next additional key exchange.
    fn go_on(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        pending: PendingIke,
        agreed: AgreedIke,
        group: Group,
        payloads: &[Payload],
    ) {
        let Some(link) = followup::link(payloads) else {
            self.rekey_at = step.soon(10_000);
            let why = Failure::Misbehaved(followup::NO_LINK);
            step.tell(Some(&self.connection), What::RekeyFailed { why });
            return self.yield_to(step, &pending);
        };
        let (private, public) = PrivateValue::generate(group, step.random);
        let request = followup::request(group, &public, link);
        let agreed = Some(Box::new(agreed));
        let pending = PendingIke {
            private,
            agreed,
            ..pending
        };
        let doing = Doing::RekeyIke(Box::new(pending));
        self.ask(sa, step, Exchange::IkeFollowupKe, &request, doing);
    }

    /// Our replacement is there, all key exchanges done.
    fn heir_of_ours(&mut self, sa: &IkeSa, step: &mut Step<'_>, pending: &PendingIke, agreed: AgreedIke, loses: bool) {
        let now = step.now.monotonic;
        let Some(connection) = step.connections.get(&self.connection).cloned() else {
            return self.yield_to(step, pending);
        };
        self.forgotten = 0;
        let mut heir = self.heir(sa, step, &connection, agreed);
        // One that was given up meanwhile has no heir: an operator ended the tunnel, or another IKE SA carries it.
        if loses || self.standing != Standing::Current {
            self.yield_to(step, pending);
            if let Some(heir) = heir.established_mut() {
                heir.standing = Standing::Replaced { delete_at: now };
            }
        } else {
            self.bequeath(step, heir.id);
            self.standing = Standing::Replaced { delete_at: now };
        }
        step.spawned.push(heir);
        step.tell(Some(&self.connection), What::IkeRekeyed);
    }

    /// If the peer made a successor while ours failed, that one it is. One that is not made yet comes, or is given up.
    fn yield_to(&mut self, step: &mut Step<'_>, pending: &PendingIke) {
        let id = pending.met.as_ref().and_then(|met| met.id);
        if let Some(id) = id.filter(|_| self.standing == Standing::Current) {
            self.bequeath(step, id);
            self.standing = Standing::Replaced {
                delete_at: step.now.monotonic.after(PEER_DELETES_MS),
            };
        } else {
            self.rekey_at = step.soon(1000);
        }
    }

    fn rekeying_ike_refused(&mut self, sa: &mut IkeSa, step: &mut Step<'_>, pending: PendingIke, error: &Notify) {
        if pending.met.is_some() {
            return self.yield_to(step, &pending);
        }
        let asked = asked_group(error).filter(|group| *group != pending.private.group());
        match (error.kind, asked) {
            (notify::INVALID_KE_PAYLOAD, Some(group)) => {
                self.begin(sa, step, super::tasks::Task::RekeyIke(Some(group)))
            }
            (notify::TEMPORARY_FAILURE, _) => self.rekey_at = step.soon(1000),
            (notify::STATE_NOT_FOUND, _) => {
                self.rekey_at = step.soon(1000);
                self.state_forgotten();
            }
            (kind, _) => {
                self.rekey_at = step.soon(10_000);
                let offered = step
                    .connections
                    .get(&self.connection)
                    .map(|c| offers::ike(&c.ike_proposals))
                    .unwrap_or_default();
                let why = Failure::Refused { notify: kind, offered };
                step.tell(Some(&self.connection), What::RekeyFailed { why });
            }
        }
    }

    /// What the answer agrees on, with what was agreed before.
    fn agreed_with(
        &self,
        step: &Step<'_>,
        pending: &mut PendingIke,
        payloads: &[Payload],
    ) -> Result<AgreedIke, Failure> {
        if let Some(mut agreed) = pending.agreed.take() {
            let shared = followup::agree(&pending.private, payloads);
            agreed
                .shared
                .push(shared.ok_or(Failure::Misbehaved(followup::NOT_VALID))?);
            return Ok(*agreed);
        }
        let connection = step.connections.get(&self.connection).ok_or(Failure::Ours)?;
        let said = Said::of(payloads).ok_or(Failure::Misbehaved("its answer lacks SA, KE or nonce"))?;
        let ours = proposal::offer_ike(&connection.ike_proposals, Some(pending.spi));
        let answer = proposal::accept_ike(&ours, said.proposals)
            .map_err(|_| Failure::Misbehaved("it chose a proposal that was not offered"))?;
        let peer_spi = answer.peer_spi.ok_or(Failure::Misbehaved("its answer has no SPI"))?;
        if said.exchange.group != answer.suite.group.id() || answer.suite.group != pending.private.group() {
            return Err(Failure::Misbehaved(
                "its key exchange does not fit the group that it chose",
            ));
        }
        let shared = pending
            .private
            .agree(&said.exchange.data)
            .map_err(|_| Failure::Misbehaved("its public value is not valid"))?;
        Ok(AgreedIke {
            suite: answer.suite,
            own_spi: pending.spi,
            peer_spi,
            initiator: true,
            nonce_i: pending.nonce.clone(),
            nonce_r: said.nonce.clone(),
            shared: vec![shared],
        })
    }

    /// An IKE SA like this one, with its own keys and message ids, without children yet.
    fn heir(&self, sa: &IkeSa, step: &mut Step<'_>, connection: &Connection, agreed: AgreedIke) -> IkeSa {
        let now: Milliseconds = step.now.monotonic;
        let (spi_i, spi_r) = match agreed.initiator {
            true => (agreed.own_spi, agreed.peer_spi),
            false => (agreed.peer_spi, agreed.own_spi),
        };
        let public = Public {
            nonce_i: agreed.nonce_i.bytes(),
            nonce_r: agreed.nonce_r.bytes(),
            spi_i,
            spi_r,
        };
        let (prf, d) = (self.channel.suite.prf, &self.channel.keys.d);
        let keys = IkeKeys::rekey(&agreed.suite, prf, d, &agreed.shared, public);
        let mut channel = Channel::new(agreed.suite, keys);
        channel.datagram_bytes_max = self.channel.datagram_bytes_max;
        let established = Established {
            connection: self.connection.clone(),
            peer: self.peer.clone(),
            channel,
            nat: self.nat,
            features: self.features.clone(),
            force_udp: self.force_udp,
            children: Vec::new(),
            standing: Standing::Current,
            since: now,
            rekey_at: rekey_at(now, connection.ike_lifetime, step.random),
            hard_at: now.after(connection.ike_lifetime.hard_ms),
            heard: now,
            packets_heard: self.packets_heard,
            peer_ends: self.peer_ends,
            keepalive_at: self.keepalive_at,
            doing: None,
            later: self.later.clone(),
            series: Vec::new(),
            forgotten: 0,
            unknown_spi: None,
            unknown_spi_from: self.unknown_spi_from,
            stuck_until: Milliseconds(0),
            refusals_from: Milliseconds(0),
            initial_contact: false,
        };
        IkeSa {
            id: step.id(),
            path: sa.path,
            own_spi: agreed.own_spi,
            peer_spi: agreed.peer_spi,
            initiator: agreed.initiator,
            created: now,
            sender: Sender::default(),
            receiver: Receiver::after(0),
            state: State::Established(Box::new(established)),
        }
    }

    /// Hands the children over.
    fn bequeath(&mut self, step: &mut Step<'_>, to: SaId) {
        // Nothing more is made here.
        self.drop_series(step, |_| true);
        step.bequests.push((to, core::mem::take(&mut self.children)));
    }

    /// The peer deletes this IKE SA while our own replacement of it is under way (RFC 7296 §2.25.2): ours is forgotten.
    pub(super) fn forget_rekeying(&mut self, step: &mut Step<'_>) {
        if let Some(Doing::RekeyIke(pending)) = self.doing.take() {
            self.yield_to(step, &pending);
        }
    }
}
