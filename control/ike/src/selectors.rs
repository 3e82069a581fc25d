//! Narrowing of traffic selectors (RFC 7296 §2.9).

use crate::selector::Selector;
use crate::wire::TrafficSelector;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// Most selectors of one payload.
pub const SELECTORS_MAX: usize = 255;
/// Any port, and OPAQUE.
const ANY_PORTS: (u16, u16) = (0, u16::MAX);
/// Ports that cannot be seen (RFC 7296 §3.13.1).
const OPAQUE_PORTS: (u16, u16) = (u16::MAX, 0);

/// What a child SA carries: from any of one side to any of the other.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Selectors {
    /// TSi.
    pub initiator: Vec<Selector>,
    /// TSr.
    pub responder: Vec<Selector>,
}

/// As responder: the part of what the initiator asks for that `policy` allows, in the initiator's order, so that its first selectors stay
/// in front if they are allowed at all. Selectors that match nothing on the other side, by family or protocol, are left out.
///
/// # Errors
/// Nothing is left: TS_UNACCEPTABLE.
pub fn narrow(
    policy: &Selectors,
    initiator: &[TrafficSelector],
    responder: &[TrafficSelector],
) -> Result<Selectors, Unacceptable> {
    let (mut left, mut right) = (side(&policy.initiator, initiator), side(&policy.responder, responder));
    // What is left out had no partner, so nobody loses one by it: once is enough.
    left.retain(|one| right.iter().any(|other| fit(one, other)));
    right.retain(|one| left.iter().any(|other| fit(one, other)));
    if left.is_empty() {
        return Err(Unacceptable::new(policy, initiator, responder));
    }
    Ok(Selectors {
        initiator: left,
        responder: right,
    })
}

/// As initiator: the responder's selectors, if they are a part of what was `offered` and there are some.
///
/// # Errors
/// They are not: the peer's fault.
pub fn accept(
    offered: &Selectors,
    initiator: &[TrafficSelector],
    responder: &[TrafficSelector],
) -> Result<Selectors, Unacceptable> {
    let wrong = || Unacceptable::new(offered, initiator, responder);
    let answered = Selectors {
        initiator: ranges(initiator).ok_or_else(wrong)?,
        responder: ranges(responder).ok_or_else(wrong)?,
    };
    let within =
        is_subset(&answered.initiator, &offered.initiator) && is_subset(&answered.responder, &offered.responder);
    if within { Ok(answered) } else { Err(wrong()) }
}

/// In the form of the wire.
pub fn to_wire(selectors: &[Selector]) -> Vec<TrafficSelector> {
    selectors.iter().copied().map(TrafficSelector::Range).collect()
}

/// Whether everything that `inner` selects is selected by `outer` as a whole: ranges of addresses may be joined.
pub fn is_subset(inner: &[Selector], outer: &[Selector]) -> bool {
    inner.iter().all(|one| is_covered(one, outer))
}

/// All of them, if they are ranges and at least one.
fn ranges(selectors: &[TrafficSelector]) -> Option<Vec<Selector>> {
    let range = |selector: &TrafficSelector| match selector {
        TrafficSelector::Range(range) => Some(*range),
        TrafficSelector::Unknown { .. } => None,
    };
    let ranges: Option<Vec<_>> = selectors.iter().map(range).collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

/// Every overlap, at most [`SELECTORS_MAX`]; one that lies within an earlier one is left out.
fn side(policy: &[Selector], asked: &[TrafficSelector]) -> Vec<Selector> {
    let mut overlaps: Vec<Selector> = Vec::new();
    for selector in asked {
        let TrafficSelector::Range(range) = selector else {
            continue;
        };
        for overlap in policy.iter().filter_map(|own| range.overlap(own)) {
            if overlaps.len() == SELECTORS_MAX {
                return overlaps;
            }
            if !overlaps.iter().any(|earlier| earlier.contains(&overlap)) {
                overlaps.push(overlap);
            }
        }
    }
    // They are kept as long as the SA.
    overlaps.shrink_to_fit();
    overlaps
}

/// Whether there is a packet from one to the other.
fn fit(one: &Selector, other: &Selector) -> bool {
    one.first.is_ipv4() == other.first.is_ipv4() && protocols(one.protocol, other.protocol).is_some()
}

fn is_covered(one: &Selector, outer: &[Selector]) -> bool {
    let same_else = |other: &&Selector| {
        other.contains(&Selector {
            first: other.first,
            last: other.last,
            ..*one
        })
    };
    let mut ranges: Vec<_> = outer
        .iter()
        .filter(same_else)
        .map(|other| (other.first, other.last))
        .collect();
    ranges.sort_unstable();
    let mut next = one.first;
    for (first, last) in ranges {
        if first > next || first.is_ipv4() != next.is_ipv4() || last < next {
            continue;
        }
        if last >= one.last {
            return true;
        }
        next = following(last);
    }
    false
}

/// The next address; the last one has itself.
fn following(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().saturating_add(1)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().saturating_add(1)).into(),
    }
}

fn protocols(one: u8, other: u8) -> Option<u8> {
    match (one, other) {
        (0, protocol) | (protocol, 0) => Some(protocol),
        (one, other) => (one == other).then_some(one),
    }
}

/// RFC 4301 §4.4.1.1: ANY holds OPAQUE; OPAQUE holds itself only. Other ports that end before they start are none.
fn ports(one: (u16, u16), other: (u16, u16)) -> Option<(u16, u16)> {
    let both = match (one, other) {
        (ANY_PORTS, ports) | (ports, ANY_PORTS) => ports,
        (OPAQUE_PORTS, OPAQUE_PORTS) => OPAQUE_PORTS,
        (OPAQUE_PORTS, _) | (_, OPAQUE_PORTS) => return None,
        (one, other) => (one.0.max(other.0), one.1.min(other.1)),
    };
    (both == OPAQUE_PORTS || both.0 <= both.1).then_some(both)
}

impl Selector {
    /// All of IPv4.
    pub const ANY_IPV4: Selector = Selector::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST));
    /// All of IPv6.
    pub const ANY_IPV6: Selector = Selector::of(
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    );

    /// Addresses, with any protocol and port.
    pub const fn of(first: IpAddr, last: IpAddr) -> Selector {
        Selector {
            first,
            last,
            protocol: 0,
            first_port: 0,
            last_port: u16::MAX,
        }
    }

    /// What both select.
    pub fn overlap(&self, other: &Selector) -> Option<Selector> {
        if self.first.is_ipv4() != other.first.is_ipv4() {
            return None;
        }
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        let (first_port, last_port) = ports((self.first_port, self.last_port), (other.first_port, other.last_port))?;
        let protocol = protocols(self.protocol, other.protocol)?;
        (first <= last).then_some(Selector {
            first,
            last,
            protocol,
            first_port,
            last_port,
        })
    }

    /// Whether it selects everything that `inner` does.
    pub fn contains(&self, inner: &Selector) -> bool {
        self.overlap(inner) == Some(*inner)
    }
}

/// A prefix where it is one, then protocol and ports unless they are any.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match prefix_bits(self.first, self.last) {
            Some(bits) => write!(f, "{}/{bits}", self.first)?,
            None => write!(f, "{}-{}", self.first, self.last)?,
        }
        match (self.first_port, self.last_port) {
            ANY_PORTS if self.protocol == 0 => Ok(()),
            ANY_PORTS => write!(f, " protocol {}", self.protocol),
            OPAQUE_PORTS => write!(f, " protocol {} opaque ports", self.protocol),
            (first, last) => write!(f, " protocol {} ports {first}-{last}", self.protocol),
        }
    }
}

fn prefix_bits(first: IpAddr, last: IpAddr) -> Option<u32> {
    let (low, high, width) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (u128::from(first.to_bits()), u128::from(last.to_bits()), 32),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits(), last.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    let host = low ^ high;
    let is_prefix = low & host == 0 && host & host.wrapping_add(1) == 0;
    is_prefix.then(|| width - host.count_ones())
}

/// What one side asks for and the other allows have nothing in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unacceptable {
    own: Selectors,
    initiator: Vec<TrafficSelector>,
    responder: Vec<TrafficSelector>,
}

impl Unacceptable {
    fn new(own: &Selectors, initiator: &[TrafficSelector], responder: &[TrafficSelector]) -> Unacceptable {
        Unacceptable {
            own: own.clone(),
            initiator: initiator.to_vec(),
            responder: responder.to_vec(),
        }
    }
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = |selectors| list(&to_wire(selectors));
        write!(
            f,
            "traffic selectors do not fit: the peer says initiator {} to responder {}, configured here is {} to {}: make the networks of \
             both sides overlap",
            list(&self.initiator),
            list(&self.responder),
            own(&self.own.initiator),
            own(&self.own.responder),
        )
    }
}

impl core::error::Error for Unacceptable {}

/// The first few.
fn list(selectors: &[TrafficSelector]) -> String {
    const SHOWN: usize = 8;
    let one = |selector: &TrafficSelector| match selector {
        TrafficSelector::Range(range) => range.to_string(),
        TrafficSelector::Unknown { kind, .. } => format!("(selector type {kind})"),
    };
    let mut names: Vec<_> = selectors.iter().take(SHOWN).map(one).collect();
    if selectors.len() > SHOWN {
        names.push("…".into());
    }
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join(", ")
    }
}
