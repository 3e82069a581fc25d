//! Loses, doubles, delays and reorders, as its seed wants.

use super::{Seed, address, seen_from_there};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use tombolo_ike::connection::Path;

/// From an inside port to its outside one.
pub(crate) const NAT_PORTS: u16 = 10_000;

/// In 1000.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hostility {
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    /// Milliseconds on top of one, drawn.
    pub(crate) delay_ms: u64,
    /// In 1000: a datagram is much later than the others.
    pub(crate) late: u64,
}

pub(crate) struct Network {
    pub(crate) hostility: Hostility,
    seed: Seed,
    flights: BTreeMap<(u64, u64), (Path, Vec<u8>)>,
    count: u64,
    pub(crate) sent: u64,
    /// Side 0 is behind a NAT with this address outside, and each port 10,000 higher there.
    pub(crate) outside: Option<IpAddr>,
}

impl Network {
    pub(crate) fn new(hostility: Hostility, seed: Seed) -> Network {
        Network {
            hostility,
            seed,
            flights: BTreeMap::new(),
            count: 0,
            sent: 0,
            outside: None,
        }
    }

    /// As the NAT rewrites it; what goes to none of its addresses is lost.
    fn translate(&self, mut path: Path) -> Option<Path> {
        let Some(outside) = self.outside else { return Some(path) };
        if path.local.ip() == address(0) {
            path.local = SocketAddr::new(outside, path.local.port() + NAT_PORTS);
        } else if path.remote.ip() == outside {
            path.remote = SocketAddr::new(address(0), path.remote.port().checked_sub(NAT_PORTS)?);
        } else {
            return None;
        }
        Some(path)
    }

    pub(crate) fn send(&mut self, now: u64, path: Path, bytes: Vec<u8>) {
        self.sent += 1;
        if self.seed.permille(self.hostility.loss) {
            return;
        }
        let copies = 1 + u64::from(self.seed.permille(self.hostility.duplicates));
        for _ in 0..copies {
            let mut at = now + 1 + self.seed.next() % (self.hostility.delay_ms + 1);
            if self.seed.permille(self.hostility.late) {
                at += 2000 + self.seed.next() % 20_000;
            }
            self.count += 1;
            self.flights.insert((at, self.count), (path, bytes.clone()));
        }
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.flights.keys().next().map(|(at, _)| *at)
    }

    /// What arrives now: at which side, on which path as seen there.
    pub(crate) fn arrive(&mut self, now: u64) -> Option<(usize, Path, Vec<u8>)> {
        let key = *self.flights.keys().next().filter(|(at, _)| *at <= now)?;
        let (path, bytes) = self.flights.remove(&key)?;
        let path = self.translate(path)?;
        let side = (0..2).find(|side| address(*side) == path.remote.ip())?;
        Some((side, seen_from_there(path), bytes))
    }

    /// Takes what is under way off the wire.
    pub(crate) fn take_all(&mut self) -> Vec<(Path, Vec<u8>)> {
        core::mem::take(&mut self.flights).into_values().collect()
    }

    /// Takes the next one off the wire.
    pub(crate) fn take_one(&mut self) -> Option<(Path, Vec<u8>)> {
        self.flights.pop_first().map(|(_, flight)| flight)
    }

    /// Kinds of the exchanges of the requests under way from an address.
    pub(crate) fn requests_from(&self, source: core::net::IpAddr) -> Vec<u8> {
        let from = self.flights.values().filter(|(path, _)| path.local.ip() == source);
        let requests = from.filter(|(_, bytes)| bytes.get(19).is_some_and(|flags| flags & 0x20 == 0));
        requests.map(|(_, bytes)| bytes[18]).collect()
    }

    /// What is under way from an address.
    pub(crate) fn datagrams_from(&self, source: IpAddr) -> Vec<Vec<u8>> {
        let from = self.flights.values().filter(|(path, _)| path.local.ip() == source);
        from.map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Whatever is under way gets lost.
    pub(crate) fn lose_all(&mut self) {
        self.flights.clear();
    }
}
