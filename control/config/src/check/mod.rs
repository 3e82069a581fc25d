//! From raw statements to the validated gateway: references are resolved first, then the statements are held against one
//! another. The second step runs only when the first found nothing, so that one mistake is reported once.

mod bundles;
mod ipsec;
mod nat;
mod policy;
mod ports;
mod routes;
mod tunnels;

use crate::lookup::RouteIndex;
use crate::model::{BundleId, Gateway, Limits, PortId, Segment, SegmentId, TunnelId};
use crate::problem::{Place, Problems};
use crate::raw::{RawGateway, RawLimits};
use crate::reader::At;
use crate::suggest;
use crate::value::{Name, Protocol};
use std::collections::HashMap;

/// Most ports: a generation names the captured ones by one bit each.
const PORTS_MAX: usize = 64;
/// Most segments.
const SEGMENTS_MAX: usize = 1024;
/// Most static routes.
const ROUTES_MAX: usize = 65_536;
/// Most rules of one list.
const RULES_MAX: usize = 16_384;

/// Validates `raw`; `None` means that `problems` has the reasons.
pub(crate) fn validate(raw: &RawGateway, file: &str, problems: &mut Problems) -> Option<Gateway> {
    count(raw, problems);
    let scope = Scope::new(raw);
    let mut gateway = resolve(raw, &scope, problems);
    if !problems.is_empty() {
        return None;
    }
    bundles::place(&mut gateway);
    let index = RouteIndex::new(&gateway);
    let mut warnings = Problems::default();
    ports::relate(raw, &gateway, problems, &mut warnings);
    routes::relate(raw, &gateway, &index, problems);
    tunnels::relate(raw, &gateway, &index, problems, &mut warnings);
    bundles::relate(raw, &gateway, problems);
    nat::relate(raw, &gateway, problems);
    gateway.warnings = warnings.into_sorted(file);
    problems.is_empty().then_some(gateway)
}

fn resolve(raw: &RawGateway, scope: &Scope<'_>, problems: &mut Problems) -> Gateway {
    let segments = raw.segments.0.iter().map(|(name, segment)| Segment {
        name: name.value.clone(),
        stateless: segment.stateless.as_ref().is_some_and(|at| at.value),
        mss_max: segment.mss_max.as_ref().map(|at| at.value.u16()),
    });
    let segments = segments.collect();
    let ports = ports::resolve(raw, scope, problems);
    let routes = routes::resolve(raw, scope, &ports, problems);
    let tunnels = tunnels::resolve(raw, scope, &ports, problems);
    let workers = workers(raw);
    Gateway {
        name: raw.gateway.value.clone(),
        workers,
        limits: limits(raw.limits.as_ref(), workers),
        source_nat: nat::resolve_source(raw, scope, problems),
        destination_nat: nat::resolve_destination(raw, scope, &ports, problems),
        policy: policy::resolve(raw, scope, problems),
        bundles: bundles::resolve(raw, scope, problems),
        segments,
        ports,
        routes,
        tunnels,
        warnings: Vec::new(),
    }
}

fn workers(raw: &RawGateway) -> u16 {
    raw.workers.as_ref().map_or(1, |at| at.value.u16())
}

/// Both directions, the SAs that a rekey replaces, and those that wait to be reused; the same for each worker's own, but not for all
/// tunnels of a large gateway.
fn sas(tunnels: u32, workers: u16) -> u32 {
    tunnels * 8 + tunnels.min(64) * 4 * u32::from(workers.saturating_sub(1))
}

/// Defaults take about 100 MiB of state: room for a lab or a small site.
fn limits(raw: Option<&RawLimits>, workers: u16) -> Limits {
    macro_rules! limit {
        ($field:ident, $default:literal) => {
            raw.and_then(|raw| raw.$field.as_ref())
                .map_or($default, |at| at.value.0)
        };
    }
    let tunnels = limit!(tunnels, 64);
    Limits {
        sessions: limit!(sessions, 262_144),
        sessions6: limit!(sessions6, 65_536),
        mappings: limit!(mappings, 131_072),
        pool_addresses: limit!(pool_addresses, 64),
        tunnels,
        sas: raw
            .and_then(|raw| raw.sas.as_ref())
            .map_or(sas(tunnels, workers), |at| at.value.0),
        neighbours: limit!(neighbours, 4096),
        sessions_per_host: limit!(sessions_per_host, 16_384),
    }
}

fn count(raw: &RawGateway, problems: &mut Problems) {
    let mut most = |what: &str, count: usize, most: usize, place: Option<Place>| {
        if count > most {
            problems.add(
                place.unwrap_or(Place::START),
                format!("{count} {what}, the most is {most}"),
            );
        }
    };
    let limits = limits(raw.limits.as_ref(), workers(raw));
    most(
        "segments",
        raw.segments.0.len(),
        SEGMENTS_MAX,
        raw.segments.0.get(SEGMENTS_MAX).map(|(name, _)| name.place),
    );
    most(
        "ports",
        raw.ports.0.len(),
        PORTS_MAX,
        raw.ports.0.get(PORTS_MAX).map(|(name, _)| name.place),
    );
    let routes = raw.routes.iter().flat_map(|routes| &routes.0);
    let place = routes.clone().next().map(|(name, _)| name.place);
    most("routes", routes.map(|(_, list)| list.len()).sum(), ROUTES_MAX, place);
    if let Some(tunnels) = &raw.tunnels {
        let place = tunnels.0.get(limits.tunnels as usize).map(|(name, _)| name.place);
        most(
            "tunnels (limits.tunnels)",
            tunnels.0.len(),
            limits.tunnels as usize,
            place,
        );
    }
    if let Some(nat) = &raw.nat {
        let rules = [
            nat.source.as_ref().map_or(0, Vec::len),
            nat.destination.as_ref().map_or(0, Vec::len),
        ];
        most("NAT rules", rules.iter().sum(), RULES_MAX, Some(nat.place));
    }
    if let Some(policy) = &raw.policy {
        most(
            "policy rules",
            policy.len(),
            RULES_MAX,
            policy.get(RULES_MAX).map(|rule| rule.place),
        );
    }
}

/// Stands for a reference that was refused; the gateway that holds it never leaves this module.
const NOWHERE: u32 = u32::MAX;

/// What names mean.
struct Scope<'a> {
    segments: HashMap<&'a str, u32>,
    ports: HashMap<&'a str, u32>,
    tunnels: HashMap<&'a str, u32>,
    bundles: HashMap<&'a str, u32>,
}

impl<'a> Scope<'a> {
    fn new(raw: &'a RawGateway) -> Self {
        fn names<T>(statements: &[(At<Name>, T)]) -> HashMap<&str, u32> {
            statements
                .iter()
                .map(|(name, _)| name.value.as_str())
                .zip(0..)
                .collect()
        }
        Scope {
            segments: names(&raw.segments.0),
            ports: names(&raw.ports.0),
            tunnels: raw
                .tunnels
                .as_ref()
                .map(|tunnels| names(&tunnels.0))
                .unwrap_or_default(),
            bundles: raw
                .bundles
                .as_ref()
                .map(|bundles| names(&bundles.0))
                .unwrap_or_default(),
        }
    }

    fn segment(&self, name: &At<Name>, problems: &mut Problems) -> SegmentId {
        SegmentId(find("segment", &self.segments, name, problems))
    }

    fn port(&self, name: &At<Name>, problems: &mut Problems) -> PortId {
        PortId(find("port", &self.ports, name, problems))
    }

    fn tunnel(&self, name: &At<Name>, problems: &mut Problems) -> TunnelId {
        TunnelId(find("tunnel", &self.tunnels, name, problems))
    }

    fn bundle(&self, name: &At<Name>, problems: &mut Problems) -> BundleId {
        BundleId(find("bundle", &self.bundles, name, problems))
    }
}

fn find(what: &str, known: &HashMap<&str, u32>, name: &At<Name>, problems: &mut Problems) -> u32 {
    if let Some(index) = known.get(name.value.as_str()) {
        return *index;
    }
    if problems.is_full() {
        return NOWHERE;
    }
    let mut names: Vec<&str> = known.keys().copied().collect();
    names.sort_unstable();
    problems.push(
        name.place,
        format!("there is no {what} '{}'", name.value),
        suggest::hint(name.value.as_str(), names),
    );
    NOWHERE
}

/// Whether a protocol belongs to the other address family than `v6`.
fn wrong_family(protocol: Protocol, v6: bool) -> bool {
    (protocol == Protocol::ICMP && v6) || (protocol == Protocol::ICMPV6 && !v6)
}

/// The family that the parts of a rule agree on, `None` if none says; notes where they disagree.
fn family(parts: &[Option<(Place, bool)>], protocol: Option<&At<Protocol>>, problems: &mut Problems) -> Option<bool> {
    let mut stated = parts.iter().flatten();
    let (_, v6) = *stated.next()?;
    for (place, other) in stated {
        if *other != v6 {
            problems.add(*place, "IPv4 and IPv6 are mixed in one rule");
        }
    }
    if let Some(protocol) = protocol
        && wrong_family(protocol.value, v6)
    {
        let message = format!(
            "{} does not run over {}",
            protocol.value,
            if v6 { "IPv6" } else { "IPv4" }
        );
        problems.add(protocol.place, message);
    }
    Some(v6)
}

/// Ports mean something only where the protocol has them.
fn ports_need_protocol(place: Option<Place>, protocol: Option<&At<Protocol>>, problems: &mut Problems) {
    if let Some(place) = place
        && !protocol.is_some_and(|at| at.value.has_ports())
    {
        problems.hint(
            place,
            "a port needs a protocol that has ports",
            "add `protocol: tcp` or `protocol: udp`",
        );
    }
}
