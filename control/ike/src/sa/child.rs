//! Child SAs: pairs of ESP SAs that carry packets.

use crate::connection::Lifetime;
use crate::now::Milliseconds;
use crate::random::Random;
use crate::secret::Secret;
use crate::selector::Selector;
use crate::transform::EspSuite;
use serde::{Deserialize, Serialize};

/// What still travels towards an SA that the peer gave up arrives in this time.
const LINGER_MS: u64 = 3000;
/// A peer that was to delete an SA, and did not, has had this time.
const PEER_DELETES_MS: u64 = 30_000;
/// An SA that we answered sends from then on even if nothing arrived on it.
const QUIET_MS: u64 = 60_000;

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    /// Chosen by the receiver.
    pub spi: u32,
    /// Key of the cipher.
    pub key: Secret,
    /// Behind the key in the key material.
    pub salt: [u8; 4],
}

/// A pair of ESP SAs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChildSa {
    /// Which of the configured ones.
    pub name: String,
    /// To us.
    pub inbound: Half,
    /// To the peer.
    pub outbound: Half,
    /// Algorithms.
    pub suite: EspSuite,
    /// Our side of what it carries.
    pub local: Vec<Selector>,
    /// The peer's side.
    pub remote: Vec<Selector>,
    /// Who of us seals with it.
    pub workers: Workers,
    /// Both sides make further ones for the same traffic (RFC 9611 §4).
    pub(crate) shares: bool,
    /// Since when it exists.
    pub created: Milliseconds,
    pub(crate) stage: Stage,
    pub(crate) rekey_at: Milliseconds,
    pub(crate) hard_at: Milliseconds,
    pub(crate) bytes_max: u64,
    pub(crate) packets_max: u64,
}

/// Which of our workers seal with a child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workers {
    /// All that have none of their own.
    All,
    /// One alone (RFC 9611).
    Only(u16),
    /// None: the peer made it for a resource of its own, and each of our workers has one. By the number they are told apart.
    Spare(u32),
}

/// What a child SA does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// We answered the request that made it, to replace another: the peer may not have our answer yet. It sends from then on or
    /// as soon as something arrives on it.
    Receiving { sends_at: Milliseconds },
    /// Sends and receives.
    Active,
    /// Another one is active. One side deletes it.
    Replaced { delete_at: Milliseconds },
    /// Our Delete is under way.
    Closing,
    /// Both sides have deleted it; what is still on its way is received.
    Lingering { until: Milliseconds },
}

impl ChildSa {
    /// Whether packets are to be sealed with it.
    pub fn sends(&self) -> bool {
        self.stage == Stage::Active && !matches!(self.workers, Workers::Spare(_))
    }

    /// Whether it seals in the place of that one, or the other way round.
    pub(crate) fn is_twin(&self, other: &ChildSa) -> bool {
        (&self.name, self.workers) == (&other.name, other.workers)
    }

    /// Whether it can become the one that sends.
    pub(crate) fn may_send(&self) -> bool {
        matches!(self.stage, Stage::Receiving { .. } | Stage::Active)
    }

    /// Whether it serves, now or soon, in both directions.
    pub(crate) fn lives(&self) -> bool {
        self.may_send()
    }

    /// Answered by us in a rekey.
    pub(crate) fn receiving(now: Milliseconds) -> Stage {
        Stage::Receiving {
            sends_at: now.after(QUIET_MS),
        }
    }

    /// Another took over. `ours`: we are to delete it.
    pub(crate) fn replace(&mut self, now: Milliseconds, ours: bool) {
        self.stage = Stage::Replaced {
            delete_at: if ours { now } else { now.after(PEER_DELETES_MS) },
        };
    }

    /// Both sides have deleted it.
    pub(crate) fn linger(&mut self, now: Milliseconds) {
        if !matches!(self.stage, Stage::Lingering { .. }) {
            self.stage = Stage::Lingering {
                until: now.after(LINGER_MS),
            };
        }
    }

    /// Whether it is time to replace it.
    pub(crate) fn is_due(&self, now: Milliseconds) -> bool {
        self.stage == Stage::Active && self.rekey_at <= now
    }
}

/// The moment of rekeying: drawn, so that neither both sides nor a thousand tunnels do it at once.
pub(crate) fn rekey_at(now: Milliseconds, lifetime: Lifetime, random: &mut dyn Random) -> Milliseconds {
    let fuzz = random.below(lifetime.fuzz_ms.saturating_add(1));
    now.after(lifetime.rekey_ms.saturating_sub(fuzz))
}

/// A limit on bytes or packets, less the part that is drawn off the time, too; none = never.
pub(crate) fn volume(limit: u64, lifetime: Lifetime, random: &mut dyn Random) -> u64 {
    if limit == 0 {
        return u64::MAX;
    }
    let part = u128::from(lifetime.fuzz_ms) * u128::from(limit) / u128::from(lifetime.rekey_ms.max(1));
    let fuzz = u64::try_from(part).unwrap_or(limit).min(limit - 1);
    limit - random.below(fuzz.saturating_add(1))
}

/// Without ESN a child SA is replaced after so many packets at the latest, less up to a tenth: a quarter of the numbers is left for the
/// time that replacing it takes (RFC 4303 §3.3.3: they must not wrap).
const SEQUENCES_MAX: u64 = 3 << 30;

/// A limit on packets, within what sequence numbers allow.
pub(crate) fn packets_max(limit: u64, lifetime: Lifetime, esn: bool, random: &mut dyn Random) -> u64 {
    let tenth = random.below(SEQUENCES_MAX / 10);
    let numbers = if esn { u64::MAX } else { SEQUENCES_MAX - tenth };
    volume(limit, lifetime, random).min(numbers)
}
