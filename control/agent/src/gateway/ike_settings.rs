//! What IKE is to do: from the configuration, from the files of secrets that it names, and from DNS. Looked at again and again, for files and
//! names change without a word; of ten thousand tunnels hardly one does, so that what has not changed costs a look and no more.

use super::Gateway;
use crate::ike::clock;
use crate::ike::credentials::{self, Stamps};
use crate::ike::names::Names;
use crate::secret_files::Directory;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use tombolo_config::{IkeTunnel, Remote, Tunnel};
use tombolo_ike::auth::endings::endings;
use tombolo_ike::connection::Connection;

/// Seconds after which it is said anew what ends soon.
const ENDINGS_FRESH: u64 = 3600;

/// What was found at the last look.
#[derive(Default)]
pub(super) struct Settings {
    names: Names,
    known: Vec<Known>,
    /// Of our certificates and lists, in an operator's words, and in which hour these were found.
    endings: (Vec<String>, u64),
}

/// A tunnel that can be negotiated.
struct Known {
    connection: Arc<Connection>,
    stamps: Stamps,
}

/// What may have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The configuration, and so anything.
    Anew,
    /// Files, certificates by the passing of time, addresses.
    Files,
    /// Addresses of peers alone.
    Names,
}

impl Settings {
    /// DNS says something new.
    pub(super) fn has_news(&self) -> bool {
        self.names.take_news()
    }
}

impl Gateway {
    /// Makes the configuration's tunnels those of IKE; secrets and names are read again.
    pub(super) async fn configure_ike(&mut self) {
        self.ike.retry.reset();
        self.read_ike_settings(Look::Anew);
        self.hand_ike_settings();
        self.settle_ike().await;
    }

    /// Looks whether anything changed, and follows that.
    pub(super) fn follow_ike_settings(&mut self, look: Look) {
        if self.read_ike_settings(look) {
            self.hand_ike_settings();
        }
    }

    /// A tunnel whose secret cannot be read at the moment, or whose peer's name has no address yet, keeps the IKE SA that it has.
    fn hand_ike_settings(&mut self) {
        let unready = self.ike.refused.keys().cloned().collect();
        let connections: Vec<_> = self
            .ike
            .settings
            .known
            .iter()
            .map(|one| one.connection.clone())
            .collect();
        self.ike.endpoint.set_unready(unready);
        self.ike.endpoint.configure(clock::now(), connections);
    }

    /// Reads what may have changed; true if anything is new.
    fn read_ike_settings(&mut self, look: Look) -> bool {
        let known = std::mem::take(&mut self.ike.settings.known);
        let count = known.len();
        let named = known.into_iter().map(|one| (one.connection.name.clone(), one));
        let mut known: BTreeMap<String, Known> = named.collect();
        let directory = Directory::open(&self.paths.secrets).ok();
        let peers = self.peers_of_ike_sas();
        let (mut found, mut refused) = (Vec::with_capacity(count), BTreeMap::new());
        let mut changed = false;
        for tunnel in &self.desired.tunnels {
            let Some(ike) = tunnel.ike() else { continue };
            let name = tunnel.name.as_str();
            let resolved = self.resolve(tunnel, ike, peers.get(name).copied());
            let there = known.remove(name);
            let there = match there.map(|there| there.unless_changed(look, ike, resolved, directory.as_ref())) {
                Some(Ok(same)) => {
                    found.push(same);
                    continue;
                }
                Some(Err(there)) => Some(there),
                None => None,
            };
            if let Some(why) = self.ike.refused.get(name)
                && look == Look::Names
                && resolved.is_none()
            {
                refused.insert(name.to_owned(), why.clone());
                continue;
            }
            match self.make_connection(tunnel, ike, resolved, there.as_ref()) {
                Ok(made) => {
                    changed |= !there.is_some_and(|there| Arc::ptr_eq(&there.connection, &made.connection));
                    found.push(made);
                }
                Err(why) => drop(refused.insert(name.to_owned(), why)),
            }
        }
        changed |= found.len() != count || refused != self.ike.refused;
        if look == Look::Anew || changed {
            for (tunnel, why) in &refused {
                tracing::warn!("tunnel {tunnel} is not negotiated: {why}");
            }
        }
        (self.ike.settings.known, self.ike.refused) = (found, refused);
        if look != Look::Names {
            self.bind_ike_sockets();
        }
        self.tell_endings(changed);
        changed
    }

    /// Opens sockets where tunnels are. The IKE SA of a removed tunnel says goodbye from where it was.
    fn bind_ike_sockets(&mut self) {
        let tunnels = self.desired.tunnels.iter().filter(|tunnel| tunnel.ike().is_some());
        let mut addresses: BTreeSet<_> = tunnels.map(|tunnel| tunnel.local).collect();
        let open: BTreeSet<_> = self.ike.sockets.local().map(|local| local.ip()).collect();
        addresses.extend(self.ike.endpoint.locals().filter(|local| open.contains(local)));
        let unbound = self.ike.sockets.bind(&addresses);
        let unbound = unbound.iter().map(|(local, error)| format!("{local}: {error}"));
        let unbound: Vec<_> = unbound.collect();
        self.ike.trouble("addresses that IKE cannot use", unbound.join(", "));
    }

    /// Says which certificates and lists end soon. Those of files are parsed for it: only when something changed, and every hour.
    fn tell_endings(&mut self, changed: bool) {
        let unix = clock::now().unix;
        let settings = &mut self.ike.settings;
        let hour = unix / ENDINGS_FRESH;
        if changed || settings.endings.1 != hour {
            let connections = settings.known.iter().map(|one| &one.connection);
            settings.endings = (connections.flat_map(|one| endings(one, unix)).collect(), hour);
        }
        let ours = settings.endings.0.iter().cloned();
        self.ike.endings = ours.chain(self.ike.endpoint.endings(unix)).collect();
        let text = self.ike.endings.join("; ");
        self.ike.trouble("certificates and lists that end soon", text);
    }

    /// Where the peers of established IKE SAs are, by tunnel, if names are to be resolved at all.
    fn peers_of_ike_sas(&self) -> BTreeMap<String, IpAddr> {
        let is_named = |tunnel: &Tunnel| tunnel.ike().is_some_and(|ike| matches!(ike.remote, Remote::Name(_)));
        if !self.desired.tunnels.iter().any(is_named) {
            return BTreeMap::new();
        }
        let peers = self.ike.endpoint.peers();
        peers.map(|(tunnel, address)| (tunnel.to_owned(), address)).collect()
    }

    /// What DNS says, of a peer with a name. `at`: where the peer of its IKE SA is.
    fn resolve(&self, tunnel: &Tunnel, ike: &IkeTunnel, at: Option<IpAddr>) -> Option<IpAddr> {
        let Remote::Name(name) = &ike.remote else { return None };
        let names = &self.ike.settings.names;
        names.address(tunnel.name.as_str(), name, tunnel.local.is_ipv6(), at)
    }

    /// Reads all that a tunnel names. What is as it was is shared with the one that was `there` before.
    fn make_connection(
        &self,
        tunnel: &Tunnel,
        ike: &IkeTunnel,
        resolved: Option<IpAddr>,
        there: Option<&Known>,
    ) -> Result<Known, String> {
        let (secrets, stamps) = credentials::read_stamped(ike, &self.paths.secrets).map_err(|unread| {
            let why: Vec<String> = unread.into_iter().map(|one| one.why).collect();
            why.join("; ")
        })?;
        let workers = crate::regions::workers(&self.regions.state.limits());
        let made = tombolo_config::connection::connection(tunnel, &secrets, resolved, workers)?;
        let connection = match there.filter(|there| *there.connection == made) {
            Some(there) => there.connection.clone(),
            None => {
                credentials::check(&made)?;
                Arc::new(made)
            }
        };
        Ok(Known { connection, stamps })
    }
}

impl Known {
    /// Itself, `Ok` if it is still what would be made anew.
    fn unless_changed(
        self,
        look: Look,
        ike: &IkeTunnel,
        resolved: Option<IpAddr>,
        directory: Option<&Directory>,
    ) -> Result<Known, Known> {
        let is_there = !matches!(ike.remote, Remote::Name(_)) || self.connection.remote == resolved;
        let same = is_there
            && match look {
                Look::Anew => false,
                Look::Names => true,
                Look::Files => directory.is_some_and(|directory| self.stamps.hold(ike, directory)),
            };
        if same { Ok(self) } else { Err(self) }
    }
}
