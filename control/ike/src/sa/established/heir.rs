//! An IKE SA that replaces another (RFC 7296 §1.3.2, §2.18): both sides of the exchange, and who gets the children.

use super::collision::{lowest, ours_loses};
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
use crate::transform::{Group, IkeProposal, IkeSuite};
use crate::wire::{Header, KeyExchange, Nonce, Notify, Payload, notify};
use serde::{Deserialize, Serialize};

/// A peer that was to delete an IKE SA, and did not, has had this time. It may still be asking for our answer until then: gateways repeat a request
/// for up to 165 s.
const PEER_DELETES_MS: u64 = 180_000;

/// Our request to replace an IKE SA.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PendingIke {
    spi: u64,
    nonce: Nonce,
    private: PrivateValue,
    /// What the peer made of the same IKE SA meanwhile.
    pub(super) met: Option<MetIke>,
}

/// The peer's replacement of the same IKE SA.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetIke {
    pub(super) id: SaId,
    lowest: Nonce,
}

/// Proposals of a replacement: without additional key exchanges, since SK_d holds what the first ones agreed on (RFC 9370 §2.2.4 leaves
/// it open).
fn offered(connection: &Connection) -> Vec<IkeProposal> {
    let mut proposals = connection.ike_proposals.clone();
    proposals.iter_mut().for_each(|proposal| proposal.additional.clear());
    proposals
}

impl PendingIke {
    /// SA, Ni, KEi. The group is the one in use, unless the peer asked for another.
    pub(super) fn new(
        step: &mut Step<'_>,
        connection: &Connection,
        suite: &IkeSuite,
        group: Option<Group>,
    ) -> Option<(PendingIke, Vec<Payload>)> {
        let proposals = offered(connection);
        let is_offered = |group: &Group| proposals.iter().any(|proposal| proposal.groups.contains(group));
        let group = group.unwrap_or(suite.group);
        let group = Some(group)
            .filter(is_offered)
            .or(proposals.first()?.groups.first().copied())?;
        let (private, data) = PrivateValue::generate(group, step.random);
        let pending = PendingIke {
            spi: step.ike_spi(),
            nonce: step.nonce(),
            private,
            met: None,
        };
        let payloads = vec![
            Payload::SecurityAssociation(proposal::offer_ike(&proposals, Some(pending.spi))),
            Payload::Nonce(pending.nonce.clone()),
            Payload::KeyExchange(KeyExchange {
                group: group.id(),
                data,
            }),
        ];
        Some((pending, payloads))
    }
}

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
        let choice = proposal::choose_ike(&offered(&connection), said.proposals, Some(spi))
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
        let answer = vec![
            Payload::SecurityAssociation(vec![choice.answer]),
            Payload::Nonce(nonce.clone()),
            Payload::KeyExchange(KeyExchange {
                group: group.id(),
                data,
            }),
        ];
        let public = Public {
            nonce_i: said.nonce.bytes(),
            nonce_r: nonce.bytes(),
            spi_i: peer_spi,
            spi_r: spi,
        };
        let keys = self.heir_keys(&choice.suite, shared, public);
        let mut heir = self.heir(
            sa,
            step,
            &connection,
            Line {
                spi,
                peer_spi,
                initiator: false,
            },
            Channel::new(choice.suite, keys),
        );
        let now = step.now.monotonic;
        let later = now.after(PEER_DELETES_MS);
        if let Some(Doing::RekeyIke(pending)) = &mut self.doing {
            // Both sides replace it: which one stays is known when our answer comes.
            pending.met = Some(MetIke {
                id: heir.id,
                lowest: lowest(said.nonce, &nonce),
            });
            if let Some(heir) = heir.established_mut() {
                heir.standing = Standing::Candidate { delete_at: later };
            }
        } else {
            self.bequeath(step, heir.id);
            self.standing = Standing::Replaced { delete_at: later };
            step.tell(Some(&self.connection), What::IkeRekeyed);
        }
        step.spawned.push(heir);
        Ok(answer)
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
        let now = step.now.monotonic;
        match self.heir_of_ours(sa, step, &pending, payloads) {
            Ok((mut heir, ours)) => {
                let loses = pending.met.as_ref().is_some_and(|met| ours_loses(&ours, &met.lowest));
                if let (true, Some(met)) = (loses, &pending.met) {
                    self.bequeath(step, met.id);
                    self.standing = Standing::Replaced {
                        delete_at: now.after(PEER_DELETES_MS),
                    };
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
            Err(why) => {
                self.rekey_at = step.soon(10_000);
                let connection = self.connection.clone();
                step.tell(Some(&connection), What::RekeyFailed { why });
                self.yield_to(step, &pending);
            }
        }
    }

    /// If the peer made a successor while ours failed, that one it is.
    fn yield_to(&mut self, step: &mut Step<'_>, pending: &PendingIke) {
        if let Some(met) = &pending.met {
            self.bequeath(step, met.id);
            self.standing = Standing::Replaced {
                delete_at: step.now.monotonic.after(PEER_DELETES_MS),
            };
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

    fn heir_of_ours(
        &self,
        sa: &IkeSa,
        step: &mut Step<'_>,
        pending: &PendingIke,
        payloads: &[Payload],
    ) -> Result<(IkeSa, Nonce), Failure> {
        let connection = step.connections.get(&self.connection).cloned().ok_or(Failure::Ours)?;
        let said = Said::of(payloads).ok_or(Failure::Misbehaved("its answer lacks SA, KE or nonce"))?;
        let ours = proposal::offer_ike(&offered(&connection), Some(pending.spi));
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
        let public = Public {
            nonce_i: pending.nonce.bytes(),
            nonce_r: said.nonce.bytes(),
            spi_i: pending.spi,
            spi_r: peer_spi,
        };
        let keys = self.heir_keys(&answer.suite, shared, public);
        let line = Line {
            spi: pending.spi,
            peer_spi,
            initiator: true,
        };
        let heir = self.heir(sa, step, &connection, line, Channel::new(answer.suite, keys));
        Ok((heir, lowest(&pending.nonce, said.nonce)))
    }

    fn heir_keys(&self, suite: &IkeSuite, shared: crate::secret::Secret, public: Public<'_>) -> IkeKeys {
        IkeKeys::rekey(suite, self.channel.suite.prf, &self.channel.keys.d, &[shared], public)
    }

    /// An IKE SA like this one, with its own keys and message ids, without children yet.
    fn heir(&self, sa: &IkeSa, step: &mut Step<'_>, connection: &Connection, line: Line, channel: Channel) -> IkeSa {
        let now: Milliseconds = step.now.monotonic;
        let mut channel = channel;
        channel.datagram_bytes_max = self.channel.datagram_bytes_max;
        let established = Established {
            connection: self.connection.clone(),
            peer: self.peer.clone(),
            channel,
            nat: self.nat,
            features: self.features.clone(),
            children: Vec::new(),
            standing: Standing::Current,
            since: now,
            rekey_at: rekey_at(now, connection.ike_lifetime, step.random),
            hard_at: now.after(connection.ike_lifetime.hard_ms),
            heard: now,
            keepalive_at: self.keepalive_at,
            doing: None,
            later: self.later.clone(),
            initial_contact: false,
        };
        IkeSa {
            id: step.id(),
            path: sa.path,
            own_spi: line.spi,
            peer_spi: line.peer_spi,
            initiator: line.initiator,
            created: now,
            sender: Sender::default(),
            receiver: Receiver::after(0),
            state: State::Established(Box::new(established)),
        }
    }

    /// Hands the children over.
    fn bequeath(&mut self, step: &mut Step<'_>, to: SaId) {
        step.bequests.push((to, core::mem::take(&mut self.children)));
    }

    /// The peer deletes this IKE SA while our own replacement of it is under way (RFC 7296 §2.25.2): ours is forgotten.
    pub(super) fn forget_rekeying(&mut self, step: &mut Step<'_>) {
        if let Some(Doing::RekeyIke(pending)) = self.doing.take() {
            self.yield_to(step, &pending);
        }
    }
}

struct Line {
    spi: u64,
    peer_spi: u64,
    initiator: bool,
}
