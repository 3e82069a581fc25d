//! Routes of the kernel: those that the gateway's own sockets use.

use super::{Netlink, NetlinkError, failure, outcome};
use futures::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use std::net::IpAddr;

/// Marks the routes that tombolod installed (`proto 84` in `ip route`), so that it removes no other.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(84);

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteTarget {
    /// To a router on a link.
    Via(IpAddr),
    /// To the hosts of the link itself.
    OnLink,
}

/// What kind of destination the prefix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Other hosts.
    Unicast,
    /// This host.
    Local,
}

/// One route of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    /// Kernel table.
    pub table: u32,
    /// Network.
    pub prefix: IpAddr,
    /// Its length.
    pub prefix_length: u8,
    /// Interface index.
    pub index: u32,
    /// Where it leads.
    pub target: RouteTarget,
    /// Source that own sockets take, if not the kernel's choice.
    pub source: Option<IpAddr>,
    /// Unicast or local.
    pub kind: RouteKind,
}

impl Netlink {
    /// Routes that tombolod installed earlier, in all tables.
    pub async fn own_routes(&self) -> Result<Vec<KernelRoute>, NetlinkError> {
        let queries = [
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        ];
        let mut found = Vec::new();
        for query in queries {
            let stream = self.handle.route().get(query).execute();
            let messages: Vec<RouteMessage> = stream
                .try_collect()
                .await
                .map_err(|e| failure("list routes".into(), &e))?;
            found.extend(
                messages
                    .iter()
                    .filter(|m| m.header.protocol == PROTOCOL)
                    .filter_map(parse),
            );
        }
        Ok(found)
    }

    /// Installs a route, in place of one to the same prefix in the same table.
    pub async fn add_route(&self, route: &KernelRoute) -> Result<(), NetlinkError> {
        let result = self.handle.route().add(message(route)?).replace().execute().await;
        outcome(result, &[], || describe(route))
    }

    /// Removes a route.
    pub async fn delete_route(&self, route: &KernelRoute) -> Result<(), NetlinkError> {
        let result = self.handle.route().del(message(route)?).execute().await;
        outcome(result, &[libc::ESRCH, libc::ENODEV], || {
            format!("remove {}", describe(route))
        })
    }
}

fn describe(route: &KernelRoute) -> String {
    let KernelRoute {
        prefix,
        prefix_length,
        table,
        index,
        ..
    } = route;
    match route.target {
        RouteTarget::Via(router) => format!("route {prefix}/{prefix_length} via {router} in table {table}"),
        RouteTarget::OnLink => format!("route {prefix}/{prefix_length} on interface {index} in table {table}"),
    }
}

fn message(route: &KernelRoute) -> Result<RouteMessage, NetlinkError> {
    let invalid = |error: &dyn std::fmt::Display| NetlinkError {
        request: describe(route),
        errno: 0,
        detail: error.to_string(),
    };
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(route.prefix, route.prefix_length)
        .map_err(|error| invalid(&error))?
        .table_id(route.table)
        .protocol(PROTOCOL)
        .output_interface(route.index);
    if let RouteTarget::Via(router) = route.target {
        builder = builder.gateway(router).map_err(|error| invalid(&error))?.onlink();
    }
    if let Some(source) = route.source {
        builder = builder.pref_source(source).map_err(|error| invalid(&error))?;
    }
    Ok(match (route.kind, &route.target) {
        (RouteKind::Local, _) => builder.kind(RouteType::Local).scope(RouteScope::Host).build(),
        (RouteKind::Unicast, RouteTarget::OnLink) => builder.scope(RouteScope::Link).build(),
        (RouteKind::Unicast, RouteTarget::Via(_)) => builder.build(),
    })
}

fn parse(message: &RouteMessage) -> Option<KernelRoute> {
    let v6 = message.header.address_family == rtnetlink::packet_route::AddressFamily::Inet6;
    let mut route = KernelRoute {
        table: u32::from(message.header.table),
        prefix: if v6 {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        },
        prefix_length: message.header.destination_prefix_length,
        index: 0,
        target: RouteTarget::OnLink,
        source: None,
        kind: if message.header.kind == RouteType::Local {
            RouteKind::Local
        } else {
            RouteKind::Unicast
        },
    };
    for attribute in &message.attributes {
        if let RouteAttribute::Table(table) = attribute {
            route.table = *table;
        } else if let RouteAttribute::Destination(address) = attribute {
            route.prefix = ip(address)?;
        } else if let RouteAttribute::Gateway(address) = attribute {
            route.target = RouteTarget::Via(ip(address)?);
        } else if let RouteAttribute::PrefSource(address) = attribute {
            route.source = ip(address);
        } else if let RouteAttribute::Oif(index) = attribute {
            route.index = *index;
        }
    }
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(v4) = address {
        return Some(IpAddr::V4(*v4));
    }
    if let RouteAddress::Inet6(v6) = address {
        return Some(IpAddr::V6(*v6));
    }
    None
}
