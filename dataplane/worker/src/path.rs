//! How large a packet a path takes: the port's MTU, or the tunnel's, which may have been lowered by what the underlay said.

use crate::batch::Exit;
use crate::state::SharedState;
use tombolo_flow::decide::egress_port;
use tombolo_tables::layout::{NextHop, PortIndex, TunnelIndex};
use tombolo_tables::view::Tables;

/// What a path takes when nothing is known of it: the least that IPv6 allows (RFC 8200 §5).
const MTU_UNKNOWN: u16 = 1280;

/// Largest IP packet that `exit` takes, in bytes.
#[inline]
pub fn mtu(tables: &Tables<'_>, state: &SharedState<'_>, exit: Exit) -> u16 {
    match exit {
        Exit::Hop {
            next_hop: NextHop::Tunnel(tunnel),
            ..
        } => tunnel_mtu(tables, state, tunnel),
        Exit::Hop { next_hop, .. } => egress_port(tables, next_hop).map_or(MTU_UNKNOWN, |port| port_mtu(tables, port)),
        Exit::Station { port, .. } => port_mtu(tables, port),
        Exit::Undecided => MTU_UNKNOWN,
    }
}

/// Largest IP packet of a port, in bytes.
#[inline]
pub fn port_mtu(tables: &Tables<'_>, port: PortIndex) -> u16 {
    tables.port(port).map_or(MTU_UNKNOWN, |record| record.mtu)
}

/// Largest inner packet of a tunnel, in bytes: as configured, or lower since a router on the way said so.
#[inline]
pub fn tunnel_mtu(tables: &Tables<'_>, state: &SharedState<'_>, tunnel: TunnelIndex) -> u16 {
    let configured = tables.tunnel(tunnel).map_or(MTU_UNKNOWN, |record| record.mtu);
    match state.tunnel_mtu(tunnel) {
        0 => configured,
        learned => configured.min(learned),
    }
}
