//! What strangers may cost: half-open IKE SAs are counted, altogether and by source, and beyond a number a peer has to show first that it
//! receives what is sent to its address (cookies, RFC 7296 §2.6).

use crate::connection::Path;
use crate::crypto::cookie::CookieKeys;
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::random::Random;
use crate::sa::SaId;
use crate::sa::payloads::{find_notify, nonces};
use crate::sa::responder::stateless;
use crate::sa::step::{News, What};
use crate::wire::{Header, Message, Nonce, Notify, notify};
use core::net::{IpAddr, SocketAddr};
use std::collections::HashMap;

/// What strangers may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From so many half-open IKE SAs on, cookies are asked for.
    pub cookies_from: usize,
    /// More half-open IKE SAs are not kept.
    pub half_open_max: usize,
    /// From so many of one source address on, cookies are asked for.
    pub cookies_per_source_from: usize,
    /// More of one source address are not kept: a site that starts all its tunnels at once has this many.
    pub half_open_per_source_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            cookies_from: 32,
            half_open_max: 4096,
            cookies_per_source_from: 16,
            half_open_per_source_max: 1024,
        }
    }
}

/// A key for cookies is fresh so long.
const COOKIE_MS: u64 = 60_000;
/// Refusals count so long.
const REFUSED_MS: u64 = 1000;
/// In this time at most so many messages for no IKE SA are answered.
const STRAY_MS: u64 = 1000;
const STRAYS_MAX: u32 = 20;
/// Between two log lines about refused strangers.
const NEWS_PAUSE_MS: u64 = 1000;

/// Half-open IKE SAs, and what was dropped.
pub(super) struct Admission {
    limits: Limits,
    cookies: CookieKeys,
    rotated: Milliseconds,
    half_open: HashMap<(SocketAddr, u64), SaId>,
    by_id: HashMap<SaId, (SocketAddr, u64)>,
    per_source: HashMap<IpAddr, usize>,
    news_from: Milliseconds,
    /// First messages that were refused since then, within a second: they leave no state, but cost as much as others.
    refused_from: Milliseconds,
    refused: usize,
    /// Messages for no IKE SA that were answered since then.
    stray_from: Milliseconds,
    stray_answered: u32,
    /// Datagrams dropped: not IKE, of no IKE SA, beyond the limits.
    pub(super) dropped: Dropped,
}

/// Datagrams that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// No IKE message.
    pub garbage: u64,
    /// For no IKE SA and no tunnel of ours.
    pub stray: u64,
    /// Beyond the limits.
    pub excess: u64,
    /// Answered with a cookie instead.
    pub cookies: u64,
}

/// What to do with a first message.
pub(super) enum Verdict {
    Admit,
    Reply(Vec<u8>),
    Drop,
}

impl Admission {
    pub(super) fn new(limits: Limits, random: &mut dyn Random) -> Admission {
        Admission {
            limits,
            cookies: CookieKeys::new(random),
            rotated: Milliseconds(0),
            half_open: HashMap::new(),
            by_id: HashMap::new(),
            per_source: HashMap::new(),
            news_from: Milliseconds(0),
            refused_from: Milliseconds(0),
            refused: 0,
            stray_from: Milliseconds(0),
            stray_answered: 0,
            dropped: Dropped::default(),
        }
    }

    pub(super) fn count_garbage(&mut self) {
        self.dropped.garbage += 1;
    }

    pub(super) fn count_stray(&mut self) {
        self.dropped.stray += 1;
    }

    /// The IKE SA that a first message began already.
    pub(super) fn known(&self, path: Path, initiator_spi: u64) -> Option<SaId> {
        self.half_open.get(&(path.remote, initiator_spi)).copied()
    }

    /// Fresh keys for cookies now and then.
    pub(super) fn rotate(&mut self, now: Milliseconds, random: &mut dyn Random) {
        if now.since(self.rotated) >= COOKIE_MS {
            self.rotated = now;
            self.cookies.rotate(random);
        }
    }

    /// A first message was looked at and refused.
    pub(super) fn refused(&mut self, now: Milliseconds) {
        if now.since(self.refused_from) >= REFUSED_MS {
            (self.refused_from, self.refused) = (now, 0);
        }
        self.refused += 1;
    }

    fn refused_lately(&self, now: Milliseconds) -> usize {
        if now.since(self.refused_from) < REFUSED_MS {
            self.refused
        } else {
            0
        }
    }

    /// Whether a first message may cost a key exchange and memory.
    pub(super) fn judge(&mut self, now: Milliseconds, path: Path, header: &Header, bytes: &[u8]) -> Verdict {
        let source = path.remote.ip();
        let of_source = self.per_source.get(&holder(source)).copied().unwrap_or(0);
        if self.half_open.len() >= self.limits.half_open_max || of_source >= self.limits.half_open_per_source_max {
            self.dropped.excess += 1;
            return Verdict::Drop;
        }
        let few = self.half_open.len() + self.refused_lately(now) < self.limits.cookies_from;
        if few && of_source < self.limits.cookies_per_source_from {
            return Verdict::Admit;
        }
        let Ok(message) = Message::parse(bytes) else {
            self.dropped.garbage += 1;
            return Verdict::Drop;
        };
        let nonce = nonces(&message.payloads).next().map(Nonce::bytes);
        let Some(nonce) = nonce else {
            self.dropped.garbage += 1;
            return Verdict::Drop;
        };
        let shown = find_notify(&message.payloads, notify::COOKIE);
        if shown.is_some_and(|shown| self.cookies.is_ours(&shown.data, source, header.initiator_spi, nonce)) {
            return Verdict::Admit;
        }
        self.dropped.cookies += 1;
        let cookie = self.cookies.cookie(source, header.initiator_spi, nonce);
        match stateless(header, Notify::new(notify::COOKIE, &cookie)) {
            Some(reply) => Verdict::Reply(reply),
            None => Verdict::Drop,
        }
    }

    pub(super) fn opened(&mut self, path: Path, initiator_spi: u64, id: SaId) {
        let key = (path.remote, initiator_spi);
        self.half_open.insert(key, id);
        self.by_id.insert(id, key);
        *self.per_source.entry(holder(path.remote.ip())).or_default() += 1;
    }

    /// Whether somebody at this address has begun an IKE SA.
    pub(super) fn is_half_open_from(&self, source: IpAddr) -> bool {
        self.per_source.contains_key(&holder(source))
    }

    /// Whether one more stranger may be told that its IKE SA is not here.
    pub(super) fn may_answer_stray(&mut self, now: Milliseconds) -> bool {
        if now.since(self.stray_from) >= STRAY_MS {
            (self.stray_from, self.stray_answered) = (now, 0);
        }
        self.stray_answered += 1;
        self.stray_answered <= STRAYS_MAX
    }

    /// It is established, or gone.
    pub(super) fn closed(&mut self, id: SaId) {
        let Some(key) = self.by_id.remove(&id) else { return };
        self.half_open.remove(&key);
        let source = holder(key.0.ip());
        if let Some(count) = self.per_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
        // What many at once needed is not kept for the few that come later.
        if self.half_open.is_empty() {
            self.half_open.shrink_to_fit();
            self.by_id.shrink_to_fit();
        }
    }

    /// Tells of a refused stranger, not too often.
    pub(super) fn news(&mut self, now: Milliseconds, news: &mut Vec<News>, connection: Option<String>, why: Failure) {
        if now >= self.news_from {
            self.news_from = now.after(NEWS_PAUSE_MS);
            news.push(News {
                connection,
                what: What::Ended { why },
            });
        }
    }
}

/// Who can send from an address: of IPv6 everybody has 2⁶⁴ of them.
fn holder(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}
