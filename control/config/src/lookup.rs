//! Where a destination leads, by the static and connected routes of a configuration.

use crate::model::{Gateway, PortId, Route, RouteTarget, SegmentId};
use crate::value::{Prefix, width};
use core::net::IpAddr;
use std::collections::HashMap;

/// Result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An own address of this port.
    Own(PortId),
    /// A host on the link of this port.
    OnLink(PortId),
    /// What the route says.
    Route(RouteTarget),
}

/// Longest-prefix match over a configuration.
pub struct RouteIndex {
    routes: HashMap<(SegmentId, Prefix), Reach>,
}

impl RouteIndex {
    /// Of all segments. Connected networks win over static routes to the same prefix, which validation refuses anyway.
    pub fn new(gateway: &Gateway) -> Self {
        let mut routes = HashMap::new();
        for Route { segment, to, target } in &gateway.routes {
            routes.entry((*segment, *to)).or_insert(Reach::Route(*target));
        }
        let ports = || gateway.ports.iter().zip((0..).map(PortId));
        for (port, id) in ports() {
            for address in &port.addresses {
                routes.insert((port.segment, address.prefix()), Reach::OnLink(id));
            }
        }
        for (port, id) in ports() {
            for address in &port.addresses {
                routes.insert((port.segment, Prefix::host(address.address())), Reach::Own(id));
            }
        }
        RouteIndex { routes }
    }

    /// The most specific route of `segment` to `address`.
    pub fn lookup(&self, segment: SegmentId, address: IpAddr) -> Option<Reach> {
        self.lookup_covering(segment, Prefix::host(address))
    }

    /// The most specific route of `segment` that covers all of `prefix`.
    pub fn lookup_covering(&self, segment: SegmentId, prefix: Prefix) -> Option<Reach> {
        debug_assert!(prefix.length() <= width(prefix.address()));
        (0..=prefix.length()).rev().find_map(|length| {
            self.routes
                .get(&(segment, Prefix::around(prefix.address(), length)))
                .copied()
        })
    }
}
