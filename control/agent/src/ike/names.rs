//! Addresses of peers that are configured by name. DNS is asked beside everything else: nobody waits for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An answer counts so long.
const FRESH: Duration = Duration::from_secs(60);
/// A question that was not answered is asked again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// What DNS said.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<(String, bool), Entry>>>);

#[derive(Clone, Copy)]
struct Entry {
    asked: Instant,
    address: Option<IpAddr>,
}

impl Names {
    /// The address of a name as last known; asks again where that is old. Needs a tokio runtime.
    pub fn address(&self, name: &str, v6: bool) -> Option<IpAddr> {
        let key = (name.to_owned(), v6);
        let known = self.entries().get(&key).copied();
        let pause = if known.is_some_and(|entry| entry.address.is_some()) {
            FRESH
        } else {
            AGAIN
        };
        if known.is_none_or(|entry| entry.asked.elapsed() >= pause) {
            self.ask(key, known.and_then(|entry| entry.address));
        }
        known.and_then(|entry| entry.address)
    }

    fn ask(&self, key: (String, bool), before: Option<IpAddr>) {
        let asked = Instant::now();
        self.entries().insert(key.clone(), Entry { asked, address: before });
        let names = self.clone();
        tokio::spawn(async move {
            let Ok(found) = tokio::net::lookup_host((key.0.clone(), 0)).await else {
                return;
            };
            let found: Vec<IpAddr> = found.map(|end| end.ip()).filter(|ip| ip.is_ipv6() == key.1).collect();
            // Of several addresses in any order, the one in use is kept.
            let address = before
                .filter(|before| found.contains(before))
                .or(found.first().copied());
            if address.is_some() {
                names.entries().insert(key, Entry { asked, address });
            }
        });
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, bool), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
