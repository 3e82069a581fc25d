//! Additional key exchanges behind CREATE_CHILD_SA (RFC 9370 §2.2.4): IKE_FOLLOWUP_KE, one for each. The SA is made with the last one; until
//! then the peer names what it continues by a link that we gave it.

use super::Established;
use super::pending_ike::AgreedIke;
use crate::connection::Path;
use crate::crypto::exchange::{PrivateValue, respond};
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::sa::IkeSa;
use crate::sa::child::Workers;
use crate::sa::payloads::{exchange_of, find_notify};
use crate::sa::pending_child::{Agreed, Refusal};
use crate::sa::step::Step;
use crate::secret::Secret;
use crate::transform::Group;
use crate::wire::{Header, KeyExchange, Notify, Payload, notify};
use serde::{Deserialize, Serialize};

/// A peer that repeats a request does so for this time; what it has not continued by then it has given up.
const KEPT_MS: u64 = 180_000;
/// Exchanges of one peer that wait at once: a peer has a reason for one.
const SERIES_MAX: usize = 4;
/// A peer that forgets so often in a row will not remember (RFC 9370 §2.2.4).
const FORGOTTEN_MAX: u8 = 5;

pub(super) const NOT_VALID: &str = "its additional key exchange is missing or not valid";
pub(super) const NO_LINK: &str = "its answer does not say what the additional key exchange belongs to";

/// A CREATE_CHILD_SA of the peer's that we answered, and whose additional key exchanges are to come.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    /// By which the peer names it.
    link: [u8; 16],
    until: Milliseconds,
    made: Made,
}

/// What it makes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Made {
    Child {
        agreed: Agreed,
        /// Inbound SPI of the one that is replaced.
        old: Option<u32>,
    },
    Ike(Box<AgreedIke>),
}

impl Made {
    fn missing(&self) -> Option<Group> {
        match self {
            Made::Child { agreed, .. } => agreed.missing(),
            Made::Ike(agreed) => agreed.missing(),
        }
    }

    fn push(&mut self, shared: Secret) {
        match self {
            Made::Child { agreed, .. } => agreed.shared.push(shared),
            Made::Ike(agreed) => agreed.shared.push(shared),
        }
    }
}

impl Series {
    /// Whether it replaces this child SA.
    pub(super) fn replaces(&self, old: u32) -> bool {
        matches!(&self.made, Made::Child { old: Some(of), .. } if *of == old)
    }

    /// Whether it makes a child SA that was not there.
    pub(super) fn creates(&self, name: &str, workers: Workers) -> bool {
        let is = |agreed: &Agreed| (agreed.name.as_str(), agreed.workers) == (name, workers);
        matches!(&self.made, Made::Child { agreed, old: None } if is(agreed))
    }

    /// Whether it replaces the IKE SA.
    pub(super) fn is_ike(&self) -> bool {
        matches!(self.made, Made::Ike(_))
    }

    fn spi(&self) -> Option<u32> {
        match &self.made {
            Made::Child { agreed, .. } => Some(agreed.inbound),
            Made::Ike(_) => None,
        }
    }
}

impl Established {
    /// Keeps what the peer will continue; the notification for it.
    pub(super) fn begin_series(&mut self, step: &mut Step<'_>, made: Made) -> Payload {
        if self.series.len() >= SERIES_MAX {
            let oldest = self.series.remove(0);
            oldest.spi().into_iter().for_each(|spi| step.child_spis.remove(spi));
        }
        let mut link = [0; 16];
        step.random.fill(&mut link);
        self.series.push(Series {
            link,
            until: step.now.monotonic.after(KEPT_MS),
            made,
        });
        Payload::Notify(Notify::new(notify::ADDITIONAL_KEY_EXCHANGE, &link))
    }

    /// Forgets what the peer will not continue.
    pub(super) fn drop_series(&mut self, step: &mut Step<'_>, which: impl Fn(&Series) -> bool) {
        self.series.retain(|series| {
            let goes = which(series);
            if let Some(spi) = series.spi().filter(|_| goes) {
                step.child_spis.remove(spi);
            }
            !goes
        });
    }

    pub(super) fn expire_series(&mut self, step: &mut Step<'_>) {
        let now = step.now.monotonic;
        self.drop_series(step, |series| series.until <= now);
    }

    /// When to look again.
    pub(super) fn series_deadline(&self) -> Option<Milliseconds> {
        self.series.iter().map(|series| series.until).min()
    }

    /// Inbound SPIs that are promised.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = u32> {
        self.series.iter().filter_map(Series::spi)
    }

    /// IKE_FOLLOWUP_KE of the peer.
    pub(super) fn answer_followup(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        payloads: &[Payload],
    ) {
        match self.followed_up(sa, step, payloads) {
            Ok(answer) => self.reply(sa, step, path, header, &answer),
            Err(refusal) => self.reply(sa, step, path, header, &[Payload::Notify(refusal.notify)]),
        }
    }

    fn followed_up(
        &mut self,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        payloads: &[Payload],
    ) -> Result<Vec<Payload>, Refusal> {
        let said = find_notify(payloads, notify::ADDITIONAL_KEY_EXCHANGE);
        let at = said.and_then(|said| self.series.iter().position(|series| series.link[..] == said.data[..]));
        let Some(at) = at else {
            return Err(Refusal::new(notify::STATE_NOT_FOUND, Failure::Ours));
        };
        // Right or wrong, the link is used up.
        let Series { mut made, .. } = self.series.remove(at);
        let result = continued(&mut made, step, payloads);
        let public = match result {
            Ok(public) => public,
            Err(refusal) => {
                if let Made::Child { agreed, .. } = &made {
                    step.child_spis.remove(agreed.inbound);
                }
                return Err(refusal);
            }
        };
        let mut answer = vec![public];
        if made.missing().is_some() {
            answer.push(self.begin_series(step, made));
            return Ok(answer);
        }
        match made {
            Made::Child { agreed, old } => self.made_for_peer(step, agreed, old),
            Made::Ike(agreed) => self.heir_for_peer(sa, step, *agreed)?,
        }
        Ok(answer)
    }

    /// The peer has forgotten what we continued.
    pub(super) fn state_forgotten(&mut self) {
        self.forgotten = self.forgotten.saturating_add(1);
        // RFC 9370 §2.2.4: if it goes on, the IKE SA is deleted.
        if self.forgotten >= FORGOTTEN_MAX && self.standing == super::Standing::Current {
            self.standing = super::Standing::Leaving;
        }
    }
}

/// Our side of the next additional key exchange.
fn continued(made: &mut Made, step: &mut Step<'_>, payloads: &[Payload]) -> Result<Payload, Refusal> {
    let wrong = || Refusal::syntax(NOT_VALID);
    let group = made.missing().ok_or_else(wrong)?;
    let theirs = exchange_of(payloads, group).ok_or_else(wrong)?;
    let (data, shared) = respond(group, &theirs.data, step.random).map_err(|_| wrong())?;
    made.push(shared);
    Ok(Payload::KeyExchange(KeyExchange {
        group: group.id(),
        data,
    }))
}

/// The shared secret of our additional key exchange, from its answer.
pub(super) fn agree(private: &PrivateValue, payloads: &[Payload]) -> Option<Secret> {
    let theirs = exchange_of(payloads, private.group())?;
    private.agree(&theirs.data).ok()
}

/// What the peer wants to see in our next IKE_FOLLOWUP_KE.
pub(super) fn link(payloads: &[Payload]) -> Option<&Notify> {
    find_notify(payloads, notify::ADDITIONAL_KEY_EXCHANGE)
}

/// IKE_FOLLOWUP_KE.
pub(super) fn request(group: Group, public: &[u8], link: &Notify) -> Vec<Payload> {
    vec![
        Payload::KeyExchange(KeyExchange {
            group: group.id(),
            data: public.to_vec(),
        }),
        Payload::Notify(Notify::new(notify::ADDITIONAL_KEY_EXCHANGE, &link.data)),
    ]
}
