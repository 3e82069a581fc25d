//! Tunnels keyed by IKEv2: the statement over its profile.

mod children;
mod credentials;
mod proposals;
mod timing;

use super::Scope;
use super::tunnels::local_port;
use crate::model::{
    Ceiling, DontFragment, Dscp, Gateway, IkeTunnel, InnerMtu, Keying, Port, ProfileName, Remote, RouteTarget, Tunnel,
};
use crate::preflight;
use crate::problem::{Place, Problems};
use crate::profile::{Profile, Values, profile};
use crate::raw::{RawIpsecTunnel, RawTunnel};
use crate::reader::At;
use crate::scalars::{IkeVersion, NatTraversal, StartWord};
use crate::value::{IdentityWord, Name, Prefix, special};
use core::net::IpAddr;
use std::collections::HashMap;
use tombolo_ike::identity::Identity;

/// A statement and what its profile says.
struct Stated<'a> {
    raw: &'a RawIpsecTunnel,
    profile: &'a Profile,
    values: &'a Values,
}

/// `None` means that a problem was noted.
pub(super) fn resolve(
    name: &At<Name>,
    raw: &RawIpsecTunnel,
    scope: &Scope<'_>,
    ports: &[Port],
    problems: &mut Problems,
) -> Option<Tunnel> {
    let profile = known_profile(raw, problems)?;
    let values = profile.values.as_ref()?;
    let stated = Stated { raw, profile, values };
    version(&stated, problems);
    let port = local_port(&raw.local, ports, problems);
    remote(raw, problems);
    let own_identity = own_identity(raw, problems);
    let peer_identity = peer_identity(raw, problems);
    let credentials = credentials::resolve(&stated, problems);
    let ppk = credentials::ppk(raw);
    let children = children::resolve(&stated, problems);
    let proposals = proposals::resolve(&stated, problems);
    let timing = timing::resolve(&stated, problems);
    let (initiate, start_on_4500, force_udp) = start(&stated, problems);
    let (replay_window, peer_window) = windows(&stated, problems);
    if let (Some(df), IpAddr::V6(_)) = (&raw.df, raw.local.value) {
        problems.add(df.place, "IPv6 has no DF; leave it away");
    }
    let segment = scope.segment(&raw.segment, problems);
    let ceiling = ceiling(&stated, problems);
    let ike = IkeTunnel {
        profile: raw.profile.value,
        remote: raw.remote.value.clone(),
        own_identity: own_identity?,
        peer_identity: peer_identity?,
        peer_spiffe: raw.remote_spiffe.as_ref().map(|at| at.value.0.clone()),
        credentials: credentials?,
        ppk,
        inside: raw.inside.iter().flatten().map(|at| at.value).collect(),
        children: children?,
        initiate,
        start_on_4500,
        force_udp,
        ike_proposals: proposals.ike?,
        esp_proposals: proposals.esp?,
        ike_lifetime: timing.ike,
        child_lifetime: timing.child,
        child_bytes_max: timing.bytes_max,
        child_packets_max: timing.packets_max,
        dpd_delay_ms: timing.dpd_delay_ms,
        dpd_timeout_ms: timing.dpd_timeout_ms,
        fragment_bytes: raw
            .fragment_bytes
            .as_ref()
            .map_or(values.fragment_bytes.value, |at| at.value.u16()),
        per_worker: raw.per_worker.as_ref().map_or(values.per_worker.value, |at| at.value),
        outer_mtu_max: values.outer_mtu.as_ref().map(|sourced| sourced.value),
        published_mtu: published_mtu(values, raw.local.value.is_ipv6()),
        ceiling,
    };
    Some(Tunnel {
        name: name.value.clone(),
        segment,
        port,
        local: raw.local.value,
        selectors: children::selectors(&ike.children),
        mtu: raw.mtu.as_ref().map(|at| at.value.u16()),
        dont_fragment: raw.df.as_ref().map_or(DontFragment::Set, |at| at.value),
        dscp: raw.dscp.as_ref().map_or(Dscp::Copy, |at| at.value),
        replay_window,
        peer_window,
        keying: Keying::Ike(Box::new(ike)),
    })
}

fn known_profile(raw: &RawIpsecTunnel, problems: &mut Problems) -> Option<&'static Profile> {
    let found = match profile(raw.profile.value) {
        Ok(found) => found,
        Err(error) => {
            problems.hint(
                raw.profile.place,
                error,
                "this is a fault of Tombolo, not of the configuration",
            );
            return None;
        }
    };
    if let Some(refused) = &found.refused {
        let hint = format!("{}; then use `profile: {}`", found.policy, ProfileName::AzureCustom);
        problems.hint(raw.profile.place, refused.value.trim(), hint);
        return None;
    }
    Some(found)
}

fn version(stated: &Stated<'_>, problems: &mut Problems) {
    if let Some(version) = &stated.raw.ike_version
        && version.value == IkeVersion::One
    {
        let message = "IKEv1 is not spoken: it is obsolete (RFC 9395)";
        problems.hint(version.place, message, stated.profile.policy.as_str());
    }
}

fn remote(raw: &RawIpsecTunnel, problems: &mut Problems) {
    let Some(address) = raw.remote.value.address() else {
        return;
    };
    if address.is_ipv6() != raw.local.value.is_ipv6() {
        problems.add(raw.remote.place, "both ends of a tunnel are of one address family");
    } else if let Some(what) = special(address) {
        problems.add(
            raw.remote.place,
            format!("{address} cannot be the end of a tunnel: it is {what}"),
        );
    }
}

fn own_identity(raw: &RawIpsecTunnel, problems: &mut Problems) -> Option<Identity> {
    match raw.local_id.as_ref().map(|at| (at.place, &at.value)) {
        None => Some(Identity::Address(raw.local.value)),
        Some((_, IdentityWord::Exactly(identity))) => Some(identity.clone()),
        Some((place, IdentityWord::Any)) => {
            problems.add(place, "we are somebody: 'any' is for remote-id");
            None
        }
    }
}

/// The outer `None` means that a problem was noted.
fn peer_identity(raw: &RawIpsecTunnel, problems: &mut Problems) -> Option<Option<Identity>> {
    if let Some(stated) = &raw.remote_id {
        return match &stated.value {
            IdentityWord::Exactly(identity) => Some(Some(identity.clone())),
            IdentityWord::Any if raw.certificate.is_some() => Some(None),
            IdentityWord::Any => {
                let hint = "a pre-shared key proves one identity: name it";
                problems.hint(stated.place, "'any' needs a certificate of the peer", hint);
                None
            }
        };
    }
    match &raw.remote.value {
        Remote::Address(address) => Some(Some(Identity::Address(*address))),
        Remote::Name(name) => Some(Some(Identity::Name(name.clone()))),
        Remote::Any => {
            let hint = "add remote-id: its address says nothing about who it is";
            problems.hint(raw.remote.place, "a peer at any address needs an identity", hint);
            None
        }
    }
}

/// Whether we initiate, start on 4500, and send ESP in UDP in any case.
fn start(stated: &Stated<'_>, problems: &mut Problems) -> (bool, bool, bool) {
    let Stated { raw, profile, values } = stated;
    let anywhere = raw.remote.value == Remote::Any;
    if anywhere && !values.start.value.anywhere {
        let message = format!(
            "a tunnel with profile {} has a peer at a known address",
            profile.profile
        );
        problems.hint(
            raw.remote.place,
            message,
            format!("name the address that {} gives for the tunnel", profile.peer),
        );
    }
    let initiate = match &raw.start {
        None => !anywhere,
        Some(start) => {
            if start.value == StartWord::Auto && anywhere {
                let hint = "leave `start` away or use `start: responder`";
                problems.hint(start.place, "nobody can start towards a peer at any address", hint);
            }
            start.value == StartWord::Auto
        }
    };
    let on_4500 = values.start.value.on_4500;
    match raw.nat_t.as_ref().map(|at| at.value) {
        None => (initiate, on_4500, on_4500),
        Some(NatTraversal::Auto) => (initiate, false, false),
        Some(NatTraversal::Force) => (initiate, false, true),
        Some(NatTraversal::Start4500) => (initiate, true, true),
    }
}

fn windows(stated: &Stated<'_>, problems: &mut Problems) -> (u16, u16) {
    let Stated { raw, values, .. } = stated;
    let replay = raw
        .replay_window
        .as_ref()
        .map_or(values.replay_window.value, |at| at.value.u16());
    if let Some(window) = &raw.replay_window
        && !replay.is_multiple_of(super::tunnels::WINDOW_BLOCK)
    {
        problems.add(window.place, "a replay window is a multiple of 64");
    }
    (
        replay,
        raw.peer_window
            .as_ref()
            .map_or(values.peer_window.value, |at| at.value.u16()),
    )
}

fn published_mtu(values: &Values, v6: bool) -> InnerMtu {
    let Some(table) = values.inner_mtu.as_ref().map(|sourced| &sourced.value) else {
        return InnerMtu::default();
    };
    match v6 {
        true => InnerMtu {
            plain: table.plain6.or(table.plain),
            udp: table.udp,
        },
        false => InnerMtu {
            plain: table.plain,
            udp: table.udp,
        },
    }
}

fn ceiling(stated: &Stated<'_>, problems: &mut Problems) -> Ceiling {
    let rows = stated.values.ceilings.as_ref().map(|sourced| &sourced.value);
    let Some(sku) = &stated.raw.sku else {
        return rows
            .and_then(|rows| rows.get("tunnel"))
            .map(Ceiling::from)
            .unwrap_or_default();
    };
    match rows.and_then(|rows| rows.get(&sku.value.0)) {
        Some(row) => Ceiling::from(row),
        None => {
            let known: Vec<&str> = rows
                .into_iter()
                .flat_map(|rows| rows.keys())
                .map(String::as_str)
                .collect();
            let message = format!(
                "{} has no gateway '{}' with a known ceiling",
                stated.profile.peer, sku.value.0
            );
            problems.push(sku.place, message, crate::suggest::hint(&sku.value.0, known));
            Ceiling::default()
        }
    }
}

/// Checks over several statements. The profile's objections are warnings: its data may be older than the cloud.
pub(super) fn relate(
    statements: &[(At<Name>, RawTunnel)],
    gateway: &Gateway,
    problems: &mut Problems,
    warnings: &mut Problems,
) {
    let mut insides: HashMap<(usize, Prefix), &Name> = HashMap::new();
    let mut responders: HashMap<(IpAddr, Option<IpAddr>, Option<&Identity>), &Name> = HashMap::new();
    for ((name, statement), tunnel) in statements.iter().zip(&gateway.tunnels) {
        let (RawTunnel::Ipsec(raw), Some(ike)) = (statement, tunnel.ike()) else {
            continue;
        };
        for stated in raw.inside.iter().flatten() {
            let network = (tunnel.segment.usize(), stated.value.prefix());
            if let Some(other) = insides.insert(network, &tunnel.name) {
                problems.add(stated.place, format!("tunnel '{other}' has the same network inside"));
            }
            let has = |port: &&Port| {
                let mut addresses = port.addresses.iter().map(|own| own.prefix());
                port.segment == tunnel.segment && addresses.any(|of| of.contains(stated.value.address()))
            };
            if let Some(port) = gateway.ports.iter().find(has) {
                let message = format!("port '{}' of the same segment has this network", port.name);
                problems.hint(
                    stated.place,
                    message,
                    "the network inside a tunnel is the tunnel's alone",
                );
            }
        }
        let who = (tunnel.local, tunnel.remote(), ike.peer_identity.as_ref());
        if !matches!(ike.remote, Remote::Name(_))
            && let Some(other) = responders.insert(who, &tunnel.name)
        {
            let message = format!("tunnel '{other}' has the same ends and the same remote-id");
            problems.hint(
                raw.remote.place,
                message,
                "a peer is told from others by its address or its identity",
            );
        }
        for finding in preflight::objections(gateway, tunnel) {
            let message = format!("{} will not take this tunnel: {}", ike_peer(ike), finding);
            warnings.hint(name.place, message, "`tombolo preflight` says more");
        }
    }
}

fn ike_peer(ike: &IkeTunnel) -> &'static str {
    profile(ike.profile).map_or("the peer", |profile| profile.peer.as_str())
}

/// A route into a tunnel must lie within a child's selectors: what lies outside is refused by the tunnel, packet by packet.
pub(super) fn route(gateway: &Gateway, route: &crate::Route, place: Place, problems: &mut Problems) {
    let tunnels: Vec<&Tunnel> = match route.target {
        RouteTarget::Tunnel(id) => vec![gateway.tunnel(id)],
        RouteTarget::Bundle(id) => gateway
            .bundle(id)
            .tunnels
            .iter()
            .map(|id| gateway.tunnel(*id))
            .collect(),
        RouteTarget::Via { .. } | RouteTarget::Segment(_) | RouteTarget::Discard | RouteTarget::Unreachable => {
            Vec::new()
        }
    };
    for tunnel in tunnels {
        let Some(ike) = tunnel.ike() else { continue };
        let covers = |prefix: &Prefix| prefix.length() <= route.to.length() && prefix.contains(route.to.address());
        if ike.children.iter().any(|child| child.remote.iter().any(covers)) {
            continue;
        }
        let remote = ike.children.iter().flat_map(|child| &child.remote);
        let remote: Vec<String> = remote.map(ToString::to_string).collect();
        let message = format!(
            "{} is outside what tunnel '{}' carries: {}",
            route.to,
            tunnel.name,
            remote.join(", ")
        );
        let hint = match route.to.is_v6() && !remote.iter().any(|prefix| prefix.contains(':')) {
            true => format!("a tunnel with profile {} carries no IPv6 as it stands", ike.profile),
            false => "give a child of the tunnel this prefix as `remote`".to_owned(),
        };
        problems.hint(place, message, hint);
        return;
    }
}
