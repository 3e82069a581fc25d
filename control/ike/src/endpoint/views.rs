//! What the gateway installs, and what an operator sees.

use super::tunnels::Tunnel;
use super::{Dropped, Endpoint};
use crate::auth::endings::ending_of_peer;
use crate::connection::Path;
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::sa::child::ChildSa;
use crate::sa::established::{Established, Standing};
use crate::sa::nat::Nat;
use crate::sa::{IkeSa, State};
use crate::transform::IkeSuite;
use core::net::IpAddr;

/// A child SA that workers shall have.
#[derive(Clone, Copy, Debug)]
pub struct ChildView<'a> {
    /// The tunnel.
    pub connection: &'a str,
    /// Outer addresses and ports.
    pub path: Path,
    /// ESP travels in UDP on that path; else straight in IP between its addresses.
    pub udp: bool,
    /// The peer's address is followed when authentic packets show another (RFC 7296 §2.23).
    pub follows: bool,
    /// Whether this one seals; else it only opens.
    pub sends: bool,
    /// Keys, SPIs, selectors.
    pub child: &'a ChildSa,
}

/// A tunnel, for an operator.
#[derive(Clone, Debug)]
pub struct TunnelView<'a> {
    /// Its name.
    pub name: &'a str,
    /// "up", or what it is doing.
    pub phase: &'static str,
    /// Where its messages go.
    pub path: Option<Path>,
    /// Proven identity of the peer.
    pub peer: Option<String>,
    /// Algorithms of the IKE SA.
    pub suite: Option<&'a IkeSuite>,
    /// SPIs of initiator and responder.
    pub spis: Option<(u64, u64)>,
    /// Since when the IKE SA exists.
    pub since: Option<Milliseconds>,
    /// Translations on the way.
    pub nat: Option<Nat>,
    /// Child SAs.
    pub children: Vec<&'a ChildSa>,
    /// When the next attempt begins.
    pub begins_at: Option<Milliseconds>,
    /// Why it is not up, or not wholly, and what to do about it.
    pub failure: Option<String>,
    /// An operator took it down.
    pub is_down: bool,
}

impl Endpoint {
    /// Whether [`children`](Self::children) says something else than before; answers once.
    pub fn children_changed(&mut self) -> bool {
        core::mem::take(&mut self.children_changed)
    }

    pub(crate) fn ike_sas(&self) -> impl Iterator<Item = &IkeSa> {
        self.sas.values().map(Box::as_ref)
    }

    /// All child SAs that workers shall have.
    pub fn children(&self) -> impl Iterator<Item = ChildView<'_>> {
        self.ike_sas()
            .filter_map(|sa| Some((sa, sa.established()?)))
            .flat_map(move |(sa, state)| {
                state.children.iter().map(move |child| ChildView {
                    connection: &state.connection,
                    path: sa.path,
                    udp: state.force_udp || state.nat.is_some_and(Nat::any),
                    follows: state.follows(),
                    sends: child.sends() && !state.is_ending() && !self.is_outshone(sa, state),
                    child,
                })
            })
    }

    /// Another IKE SA of the same tunnel is the current one.
    fn is_outshone(&self, sa: &IkeSa, state: &Established) -> bool {
        state.standing != Standing::Current
            && self.sas_of(&state.connection).any(|other| {
                other.id != sa.id
                    && other.established().is_some_and(|other| {
                        other.standing == Standing::Current && other.children.iter().any(ChildSa::sends)
                    })
            })
    }

    /// What strangers' datagrams were dropped as, since the start.
    pub fn dropped(&self) -> Dropped {
        self.admission.dropped
    }

    /// SPIs of initiator and responder of all IKE SAs.
    pub fn ike_spis(&self) -> Vec<(u64, u64)> {
        self.ike_sas().map(IkeSa::spis).collect()
    }

    /// Where the peers of the IKE SAs in use are, by tunnel: also of tunnels whose settings cannot be read.
    pub fn peers(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let states = self.sas.values().filter_map(|sa| Some((sa.path, sa.established()?)));
        let current = states.filter(|(_, state)| state.standing == Standing::Current);
        current.map(|(path, state)| (state.connection.as_str(), path.remote.ip()))
    }

    /// Own addresses that IKE SAs use, those included that are about to say goodbye.
    pub fn locals(&self) -> impl Iterator<Item = IpAddr> {
        self.sas.values().map(|sa| sa.path.local.ip())
    }

    /// All tunnels.
    pub fn tunnels(&self) -> impl Iterator<Item = TunnelView<'_>> {
        self.tunnels.iter().map(|(name, tunnel)| {
            let of_tunnel = || self.sas_of(name);
            let current = of_tunnel().find(|sa| {
                sa.established()
                    .is_some_and(|state| state.standing == Standing::Current)
            });
            let sa = current.or_else(|| of_tunnel().last());
            let state = sa.and_then(IkeSa::established);
            TunnelView {
                name,
                phase: phase(sa, self.is_down(name)),
                path: sa.map(|sa| sa.path),
                peer: state.map(|state| state.peer.to_string()),
                suite: state.map(|state| &state.channel.suite),
                spis: sa.map(IkeSa::spis),
                since: state.map(|state| state.since),
                nat: state.and_then(|state| state.nat),
                children: of_tunnel()
                    .filter_map(IkeSa::established)
                    .flat_map(|state| &state.children)
                    .collect(),
                begins_at: tunnel.begin_at,
                failure: self.failure(name, tunnel),
                is_down: self.is_down(name),
            }
        })
    }
}

impl Endpoint {
    /// Why something failed and what to do about it, in the words of the tunnel's operator.
    pub fn in_words(&self, tunnel: Option<&str>, why: &Failure) -> String {
        let connection = tunnel.and_then(|name| self.connections.get(name));
        why.in_words(connection.map(|connection| &**connection))
    }

    /// Certificates of peers that end soon, in an operator's words.
    pub fn endings(&self, unix: u64) -> Vec<String> {
        let states = self.ike_sas().filter_map(IkeSa::established);
        let current = states.filter(|state| state.standing == Standing::Current);
        let soon = current.filter_map(|state| ending_of_peer(&state.connection, state.peer_ends?, unix));
        soon.collect()
    }

    fn failure(&self, name: &str, tunnel: &Tunnel) -> Option<String> {
        let of_children = tunnel.children.iter();
        let of_children =
            of_children.map(|(child, why)| format!("child SA {child}: {}", self.in_words(Some(name), why)));
        let whole = tunnel.last.iter().map(|why| self.in_words(Some(name), why));
        let all: Vec<String> = whole.chain(of_children).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

fn phase(sa: Option<&IkeSa>, is_down: bool) -> &'static str {
    match sa.map(|sa| &sa.state) {
        None if is_down => "taken down",
        None => "waiting",
        Some(State::InitSent(_)) => "IKE_SA_INIT sent",
        Some(State::IntermediateSent(_)) => "IKE_INTERMEDIATE sent",
        Some(State::AuthSent(_)) => "IKE_AUTH sent",
        Some(State::InitAnswered(_)) => "IKE_SA_INIT answered",
        Some(State::Established(state)) => match state.standing {
            Standing::Current if state.children.iter().any(ChildSa::sends) => "up",
            Standing::Current => "up, no child SA",
            Standing::Candidate { .. } | Standing::Replaced { .. } => "replaced",
            Standing::Leaving | Standing::Closing => "closing",
        },
        Some(State::Ended(_)) => "ended",
    }
}
