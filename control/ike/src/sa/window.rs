//! Message ids, retransmission, and answers that are given again (RFC 7296 §2.1 to §2.3). The window is one: one request of ours
//! and one of the peer's at a time.

use crate::now::Milliseconds;
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// First pause before a request is sent again.
const FIRST_PAUSE_MS: u64 = 1000;
/// No pause is longer.
const PAUSE_MS_MAX: u64 = 16_000;
/// An answer is given again at most this often: who repeats a request quickly gets no amplifier.
const AGAIN_MS: u64 = 100;

/// Our requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sender {
    /// Id of the next request.
    next: u32,
    outstanding: Option<Outstanding>,
}

/// A request that waits for its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outstanding {
    id: u32,
    /// The very bytes: a request is never sealed twice (RFC 5282 §3.1 and law 2).
    datagrams: Vec<Vec<u8>>,
    first_sent: Milliseconds,
    again_at: Milliseconds,
    pause_ms: u64,
}

impl Sender {
    /// Id that the next request has to bear.
    pub(crate) fn next_id(&self) -> u32 {
        self.next
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.outstanding.is_some()
    }

    /// Takes a request that bears [`next_id`](Self::next_id); the caller sends it.
    pub(crate) fn begin(&mut self, now: Milliseconds, random: &mut dyn Random, datagrams: Vec<Vec<u8>>) {
        self.outstanding = Some(Outstanding {
            id: self.next,
            datagrams,
            first_sent: now,
            again_at: now.after(FIRST_PAUSE_MS + random.below(FIRST_PAUSE_MS / 4)),
            pause_ms: FIRST_PAUSE_MS,
        });
        self.next = self.next.wrapping_add(1);
    }

    /// Replaces the bytes of the request under way (a cookie or another group was asked for); its id stays.
    pub(crate) fn replace(&mut self, now: Milliseconds, random: &mut dyn Random, datagrams: Vec<Vec<u8>>) {
        self.next = self.outstanding.take().map_or(self.next, |outstanding| outstanding.id);
        self.begin(now, random, datagrams);
    }

    /// Whether `id` answers the request under way.
    pub(crate) fn expects(&self, id: u32) -> bool {
        self.outstanding
            .as_ref()
            .is_some_and(|outstanding| outstanding.id == id)
    }

    /// The answer came.
    pub(crate) fn finish(&mut self) {
        self.outstanding = None;
    }

    /// Bytes to be sent again now, if it is time. The pauses double, with jitter.
    pub(crate) fn again(&mut self, now: Milliseconds, random: &mut dyn Random) -> Option<&[Vec<u8>]> {
        let outstanding = self
            .outstanding
            .as_mut()
            .filter(|outstanding| outstanding.again_at <= now)?;
        outstanding.pause_ms = (outstanding.pause_ms * 2).min(PAUSE_MS_MAX);
        outstanding.again_at = now.after(outstanding.pause_ms + random.below(outstanding.pause_ms / 4));
        Some(&outstanding.datagrams)
    }

    /// Lets the request under way be sent at once: after a restart nobody knows whether it left. Silence goes on counting: who is killed again and
    /// again would otherwise keep an IKE SA that its peer has given up.
    pub(crate) fn hurry(&mut self, now: Milliseconds) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.again_at = now;
        }
    }

    /// When the request under way was first sent.
    pub(crate) fn waiting_since(&self) -> Option<Milliseconds> {
        self.outstanding.as_ref().map(|outstanding| outstanding.first_sent)
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Option<Milliseconds> {
        self.outstanding.as_ref().map(|outstanding| outstanding.again_at)
    }
}

/// The peer's requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Receiver {
    /// Id of the next request.
    expected: u32,
    /// Answer to the one before.
    last: Vec<Vec<u8>>,
    #[serde(skip)]
    again_from: Milliseconds,
}

/// What a request's id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The next one.
    New,
    /// The last one again.
    Again,
    /// Neither: dropped.
    Stray,
}

impl Receiver {
    /// One that has answered `answered` requests already (IKE_SA_INIT is request 0 of the original initiator).
    pub(crate) fn after(answered: u32) -> Receiver {
        Receiver {
            expected: answered,
            ..Receiver::default()
        }
    }

    /// Id that the peer's next request has to bear.
    pub(crate) fn next_id(&self) -> u32 {
        self.expected
    }

    /// What the id of a request says.
    pub(crate) fn turn(&self, id: u32) -> Turn {
        if id == self.expected {
            Turn::New
        } else if id.wrapping_add(1) == self.expected && !self.last.is_empty() {
            Turn::Again
        } else {
            Turn::Stray
        }
    }

    /// The request with the expected id was answered.
    pub(crate) fn answered(&mut self, datagrams: Vec<Vec<u8>>) {
        self.expected = self.expected.wrapping_add(1);
        self.last = datagrams;
    }

    /// The last answer, for a request that came again; none when it was just given.
    pub(crate) fn answer_again(&mut self, now: Milliseconds) -> Option<&[Vec<u8>]> {
        if now < self.again_from {
            return None;
        }
        self.again_from = now.after(AGAIN_MS);
        Some(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zero;

    impl Random for Zero {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn a_request_is_repeated_with_growing_pauses_until_it_is_answered() {
        let mut sender = Sender::default();
        sender.begin(Milliseconds(0), &mut Zero, vec![vec![7]]);
        let mut sent = Vec::new();
        for now in (0..60_000).step_by(500) {
            if let Some(datagrams) = sender.again(Milliseconds(now), &mut Zero) {
                assert_eq!(datagrams, [vec![7]]);
                sent.push(now);
            }
        }
        assert_eq!(sent, [1000, 3000, 7000, 15_000, 31_000, 47_000]);
        assert!(sender.expects(0) && !sender.expects(1));
        sender.finish();
        assert!(!sender.is_busy());
        assert_eq!(sender.next_id(), 1);
    }

    #[test]
    fn an_answer_is_given_again_to_the_last_request_only() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.turn(0), Turn::New);
        receiver.answered(vec![vec![1]]);
        assert_eq!(
            [0, 1, 2].map(|id| receiver.turn(id)),
            [Turn::Again, Turn::New, Turn::Stray]
        );
        assert!(receiver.answer_again(Milliseconds(5)).is_some());
        assert!(receiver.answer_again(Milliseconds(6)).is_none(), "no amplifier");
        assert!(receiver.answer_again(Milliseconds(200)).is_some());
    }
}
