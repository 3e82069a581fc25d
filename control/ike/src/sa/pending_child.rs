//! A child SA on its way: our request for one, and our answer to the peer's.

use super::SaId;
use super::child::{ChildSa, Half, Stage, Workers, packets_max, rekey_at, volume};
use super::established::lowest;
use super::payloads::{associations, exchanges, find_notify, selectors_i, selectors_r};
use super::step::Step;
use crate::connection::Child;
use crate::crypto::child_keys::{ChildKeys, EspKey, child_keys};
use crate::crypto::exchange::{PrivateValue, respond};
use crate::crypto::ike_keys::IkeKeys;
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::proposal;
use crate::secret::Secret;
use crate::selector::Selector;
use crate::selectors::{self, Selectors};
use crate::transform::{EspSuite, Group, Prf};
use crate::wire::{KeyExchange, Nonce, Notify, Payload, Proposal, TrafficSelector, notify};
use serde::{Deserialize, Serialize};

/// Our request for a child SA.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PendingChild {
    pub(crate) name: String,
    pub(crate) workers: Workers,
    /// We said that we make more for the same traffic.
    shares: bool,
    pub(crate) spi: u32,
    /// Fresh key exchange (PFS) and its public value.
    pub(crate) exchange: Option<(PrivateValue, Vec<u8>)>,
    /// Our nonce in CREATE_CHILD_SA; none in IKE_AUTH.
    pub(crate) nonce: Option<Nonce>,
    /// The answer, while additional key exchanges follow (RFC 9370 §2.2.4); `exchange` is then that of the one under way.
    pub(crate) agreed: Option<Box<Agreed>>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// A fresh key exchange (PFS): not in IKE_AUTH.
    pub(crate) exchange: bool,
    /// Its group, if not the first of the first proposal.
    pub(crate) group: Option<Group>,
    pub(crate) workers: Workers,
    /// That we make more for the same traffic.
    pub(crate) shares: bool,
}

/// RFC 9611 §5.1: our worker's number is for people.
fn resource_info(workers: Workers) -> Notify {
    match workers {
        Workers::Only(worker) => Notify::new(notify::SA_RESOURCE_INFO, &u32::from(worker).to_be_bytes()),
        Workers::All | Workers::Spare(_) => Notify::new(notify::SA_RESOURCE_INFO, &[]),
    }
}

/// What the keys of an IKE SA's children come from.
pub(crate) struct Material<'a> {
    pub(crate) prf: Prf,
    pub(crate) keys: &'a IkeKeys,
}

fn half(spi: u32, key: EspKey) -> Half {
    Half {
        spi,
        key: key.key.clone(),
        salt: key.salt,
    }
}

/// Why the peer's request for a child SA is refused: what it is told, and what the operator is.
pub(crate) struct Refusal {
    pub(crate) notify: Notify,
    pub(crate) why: Failure,
}

impl Refusal {
    pub(crate) fn new(kind: u16, why: Failure) -> Refusal {
        Refusal {
            notify: Notify::new(kind, &[]),
            why,
        }
    }

    /// Not now: something else is under way.
    pub(crate) fn temporary() -> Refusal {
        Refusal::new(notify::TEMPORARY_FAILURE, Failure::Ours)
    }

    /// Not one more.
    pub(crate) fn no_more() -> Refusal {
        Refusal::new(
            notify::NO_ADDITIONAL_SAS,
            Failure::Misbehaved("it asks for more child SAs than anyone needs"),
        )
    }

    /// Not one more for the same traffic (RFC 9611 §4).
    pub(crate) fn max_queue() -> Refusal {
        Refusal::new(notify::TS_MAX_QUEUE, Failure::Ours)
    }

    /// It names a child SA that is not there (RFC 7296 §2.25.1).
    pub(crate) fn no_such_child(rekeyed: &Notify) -> Refusal {
        Refusal {
            notify: Notify {
                kind: notify::CHILD_SA_NOT_FOUND,
                ..rekeyed.clone()
            },
            why: Failure::Ours,
        }
    }

    /// It lacks something.
    pub(crate) fn syntax(what: &'static str) -> Refusal {
        Refusal::new(notify::INVALID_SYNTAX, Failure::Misbehaved(what))
    }

    /// Whether an operator should know: collisions are no news.
    pub(crate) fn is_news(&self) -> bool {
        self.why != Failure::Ours
    }
}

/// What a request or an answer says about a child SA.
pub(crate) struct Said<'a> {
    pub(crate) proposals: &'a [Proposal],
    pub(crate) exchange: Option<&'a KeyExchange>,
    pub(crate) selectors_i: &'a [TrafficSelector],
    pub(crate) selectors_r: &'a [TrafficSelector],
}

impl<'a> Said<'a> {
    /// None if the payloads that must be there are not.
    pub(crate) fn of(payloads: &'a [Payload]) -> Option<Said<'a>> {
        Some(Said {
            proposals: associations(payloads).last()?,
            exchange: exchanges(payloads).last(),
            selectors_i: selectors_i(payloads).last()?,
            selectors_r: selectors_r(payloads).last()?,
        })
    }
}

impl PendingChild {
    /// Prepares a request.
    pub(crate) fn new(step: &mut Step<'_>, owner: SaId, child: &Child, wish: Wish) -> Self {
        let Wish {
            exchange,
            group,
            workers,
            shares,
        } = wish;
        let first = child
            .proposals
            .first()
            .and_then(|proposal| proposal.groups.first().copied().flatten());
        let group = if exchange { group.or(first) } else { None };
        PendingChild {
            name: child.name.clone(),
            workers,
            shares,
            spi: step.child_spi(owner),
            exchange: group.map(|group| PrivateValue::generate(group, step.random)),
            nonce: exchange.then(|| step.nonce()),
            agreed: None,
        }
    }

    fn proposals(&self, child: &Child) -> Vec<Proposal> {
        proposal::offer_esp(&child.proposals, self.spi, self.nonce.is_some())
    }

    /// SA, Ni, KEi, TSi, TSr as they belong into the request.
    pub(crate) fn payloads(&self, child: &Child) -> Vec<Payload> {
        let mut payloads = vec![Payload::SecurityAssociation(self.proposals(child))];
        payloads.extend(self.nonce.clone().map(Payload::Nonce));
        if let Some((private, public)) = &self.exchange {
            payloads.push(Payload::KeyExchange(KeyExchange {
                group: private.group().id(),
                data: public.clone(),
            }));
        }
        payloads.push(Payload::SelectorsInitiator(selectors::to_wire(&child.local)));
        payloads.push(Payload::SelectorsResponder(selectors::to_wire(&child.remote)));
        payloads.push(Payload::Notify(Notify::new(notify::ESP_TFC_PADDING_NOT_SUPPORTED, &[])));
        if self.shares {
            payloads.push(Payload::Notify(resource_info(self.workers)));
        }
        payloads
    }

    /// What the peer's answer agrees on. `nonces`: of initiator and responder.
    pub(crate) fn agree(&self, child: &Child, payloads: &[Payload], nonces: [&Nonce; 2]) -> Result<Agreed, Failure> {
        let said = Said::of(payloads).ok_or(Failure::Misbehaved("its answer lacks SA, TSi or TSr"))?;
        let answer = proposal::accept_esp(&self.proposals(child), said.proposals)
            .map_err(|_| Failure::Misbehaved("it chose a proposal that was not offered"))?;
        let shared = match (answer.suite.group, &self.exchange, said.exchange) {
            (None, ..) => None,
            (Some(group), Some((private, _)), Some(theirs))
                if group == private.group() && theirs.group == group.id() =>
            {
                Some(
                    private
                        .agree(&theirs.data)
                        .map_err(|_| Failure::Misbehaved("its public value is not valid"))?,
                )
            }
            (Some(_), ..) => {
                return Err(Failure::Misbehaved(
                    "its key exchange does not fit the group that it chose",
                ));
            }
        };
        let ours = Selectors {
            initiator: child.local.clone(),
            responder: child.remote.clone(),
        };
        let agreed =
            selectors::accept(&ours, said.selectors_i, said.selectors_r).map_err(|wrong| Failure::Selectors {
                text: wrong.to_string(),
            })?;
        let [nonce_i, nonce_r] = nonces.map(Clone::clone);
        Ok(Agreed {
            name: child.name.clone(),
            is_ours: true,
            inbound: self.spi,
            outbound: answer.peer_spi,
            suite: answer.suite,
            local: agreed.initiator,
            remote: agreed.responder,
            workers: self.workers,
            shares: self.shares && find_notify(payloads, notify::SA_RESOURCE_INFO).is_some(),
            nonce_i,
            nonce_r,
            shared: shared.into_iter().collect(),
        })
    }
}

/// What both sides agreed on for a child SA: with the last shared secret it can be made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Agreed {
    pub(crate) name: String,
    /// We began the exchange.
    is_ours: bool,
    /// Our SPI.
    pub(crate) inbound: u32,
    outbound: u32,
    suite: EspSuite,
    local: Vec<Selector>,
    remote: Vec<Selector>,
    pub(crate) workers: Workers,
    pub(crate) shares: bool,
    nonce_i: Nonce,
    nonce_r: Nonce,
    /// Of CREATE_CHILD_SA first, then of each IKE_FOLLOWUP_KE.
    pub(crate) shared: Vec<Secret>,
}

impl Agreed {
    /// The additional key exchange that comes next, if any (RFC 9370 §2.2.4).
    pub(crate) fn missing(&self) -> Option<Group> {
        let done = self.shared.len().checked_sub(1)?;
        self.suite.additional.get(done).copied()
    }

    /// The lower of the nonces of CREATE_CHILD_SA.
    pub(crate) fn lowest(&self) -> Nonce {
        lowest(&self.nonce_i, &self.nonce_r)
    }

    /// The child SA. `child` is what is configured now.
    pub(crate) fn build(self, step: &mut Step<'_>, child: &Child, material: &Material<'_>, stage: Stage) -> ChildSa {
        let (nonce_i, nonce_r) = (self.nonce_i.bytes(), self.nonce_r.bytes());
        let ChildKeys { initiator, responder } = child_keys(
            material.prf,
            &material.keys.d,
            &self.shared,
            nonce_i,
            nonce_r,
            &self.suite,
        );
        let (inbound, outbound) = match self.is_ours {
            true => (responder, initiator),
            false => (initiator, responder),
        };
        let now: Milliseconds = step.now.monotonic;
        ChildSa {
            name: self.name,
            inbound: half(self.inbound, inbound),
            outbound: half(self.outbound, outbound),
            rekey_at: rekey_at(now, child.lifetime, step.random),
            hard_at: now.after(child.lifetime.hard_ms),
            bytes_max: volume(child.bytes_max, child.lifetime, step.random),
            packets_max: packets_max(child.packets_max, child.lifetime, self.suite.esn, step.random),
            suite: self.suite,
            local: self.local,
            remote: self.remote,
            workers: self.workers,
            shares: self.shares,
            created: now,
            stage,
        }
    }
}

/// The peer's request for a child SA.
pub(crate) struct Request<'a> {
    /// What is configured.
    pub(crate) children: &'a [Child],
    /// The one that is being replaced.
    pub(crate) only: Option<&'a str>,
    pub(crate) payloads: &'a [Payload],
    /// Whether there may be a fresh key exchange: not in IKE_AUTH.
    pub(crate) with_exchange: bool,
    /// Whether we make more for the same traffic if the peer does.
    pub(crate) shares: bool,
    /// Of initiator and responder.
    pub(crate) nonces: [&'a Nonce; 2],
}

impl Request<'_> {
    /// Answers it: with the first configured child whose networks and algorithms fit.
    pub(crate) fn answer(&self, step: &mut Step<'_>, owner: SaId) -> Result<(Agreed, Vec<Payload>), Refusal> {
        let said =
            Said::of(self.payloads).ok_or_else(|| Refusal::syntax("a request for a child SA lacks SA, TSi or TSr"))?;
        let mut refusal = Refusal::no_more();
        for child in self
            .children
            .iter()
            .filter(|child| self.only.is_none_or(|name| name == child.name))
        {
            // The peer's TSi is its side.
            let policy = Selectors {
                initiator: child.remote.clone(),
                responder: child.local.clone(),
            };
            let narrowed = match selectors::narrow(&policy, said.selectors_i, said.selectors_r) {
                Ok(narrowed) => narrowed,
                Err(wrong) => {
                    refusal = Refusal::new(
                        notify::TS_UNACCEPTABLE,
                        Failure::Selectors {
                            text: wrong.to_string(),
                        },
                    );
                    continue;
                }
            };
            let spi = step.child_spi(owner);
            let choice = match proposal::choose_esp(&child.proposals, said.proposals, spi, self.with_exchange) {
                Ok(choice) => choice,
                Err(mismatch) => {
                    step.child_spis.remove(spi);
                    refusal = Refusal::new(notify::NO_PROPOSAL_CHOSEN, Failure::Mismatch(Box::new(mismatch)));
                    continue;
                }
            };
            let (exchange, shared) = match exchanged(step, choice.suite.group, said.exchange) {
                Ok(exchanged) => exchanged,
                Err(refusal) => {
                    step.child_spis.remove(spi);
                    return Err(refusal);
                }
            };
            let mut answer = vec![Payload::SecurityAssociation(vec![choice.answer])];
            answer.extend(exchange);
            answer.push(Payload::SelectorsInitiator(selectors::to_wire(&narrowed.initiator)));
            answer.push(Payload::SelectorsResponder(selectors::to_wire(&narrowed.responder)));
            answer.push(Payload::Notify(Notify::new(notify::ESP_TFC_PADDING_NOT_SUPPORTED, &[])));
            let shares = self.shares && find_notify(self.payloads, notify::SA_RESOURCE_INFO).is_some();
            if shares {
                answer.push(Payload::Notify(resource_info(Workers::All)));
            }
            let [nonce_i, nonce_r] = self.nonces.map(Clone::clone);
            let agreed = Agreed {
                name: child.name.clone(),
                is_ours: false,
                inbound: spi,
                outbound: choice.peer_spi,
                suite: choice.suite,
                local: narrowed.responder,
                remote: narrowed.initiator,
                workers: Workers::All,
                shares,
                nonce_i,
                nonce_r,
                shared: shared.into_iter().collect(),
            };
            return Ok((agreed, answer));
        }
        Err(refusal)
    }
}

/// Our side of a fresh key exchange, if the suite has one.
pub(crate) fn exchanged(
    step: &mut Step<'_>,
    group: Option<Group>,
    theirs: Option<&KeyExchange>,
) -> Result<(Option<Payload>, Option<Secret>), Refusal> {
    let Some(group) = group else { return Ok((None, None)) };
    // RFC 7296 §1.3: the group must be the one of the chosen proposal; else the peer tries again with ours.
    let Some(theirs) = theirs.filter(|theirs| theirs.group == group.id()) else {
        return Err(Refusal {
            notify: Notify::new(notify::INVALID_KE_PAYLOAD, &group.id().to_be_bytes()),
            why: Failure::Misbehaved(
                "its public value is of another group than the one agreed on; it was asked for the right one",
            ),
        });
    };
    let (data, shared) = respond(group, &theirs.data, step.random).map_err(|_| {
        Refusal::new(
            notify::INVALID_SYNTAX,
            Failure::Misbehaved("its public value is not valid"),
        )
    })?;
    let payload = Payload::KeyExchange(KeyExchange {
        group: group.id(),
        data,
    });
    Ok((Some(payload), Some(shared)))
}
