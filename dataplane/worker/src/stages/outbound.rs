//! Which SA of a tunnel seals: the one there is, as a rule; else by worker (RFC 9611) and by what its selectors let through
//! (RFC 4301 §5.1). What none lets through is dropped.

use crate::address;
use crate::gateway::Gateway;
use tombolo_packet_io::PacketIo;
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{
    Address, SaIndex, SaRecord, SelectorRecord, TunnelIndex, TunnelRecord, sa_flag, tunnel_flag,
};
use tombolo_wire::Addresses;

/// First and last IPv4 address.
const ALL_IPV4: [Address; 2] = [
    Address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]),
    Address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
];

/// What an SA must let through.
#[derive(Clone, Copy)]
pub(crate) enum Carries<'a> {
    /// A packet with these inner addresses.
    These(&'a Addresses),
    /// Any IPv4 packet, so that no packet needs to be looked at.
    AnyIpv4,
}

/// A tunnel, and its SA that seals.
#[derive(Clone, Copy)]
pub(crate) struct Outbound<'a> {
    /// The tunnel.
    pub(crate) tunnel: &'a TunnelRecord,
    /// The SA's index.
    pub(crate) index: SaIndex,
    /// The SA.
    pub(crate) sa: &'a SaRecord,
    /// Where the peer is, and its UDP port.
    pub(crate) remote: Address,
    /// See `remote`.
    pub(crate) remote_port: u16,
}

impl<'a> Outbound<'a> {
    /// What this worker seals with.
    ///
    /// # Errors
    /// The tunnel is down, or has no SA for such packets: they are dropped.
    #[inline]
    pub(crate) fn of<I: PacketIo>(
        gateway: &Gateway<'a, I>,
        at: TunnelIndex,
        carries: Carries<'_>,
    ) -> Result<Self, DropReason> {
        let tunnel = gateway.tables.tunnel(at).ok_or(DropReason::TunnelDown)?;
        let (index, sa) = if tunnel.flags & tunnel_flag::CHOOSES == 0 {
            let index = SaIndex(tunnel.outbound);
            (index, gateway.tables.sa(index).ok_or(DropReason::TunnelDown)?)
        } else {
            choose(gateway, tunnel, carries)?
        };
        let (remote, remote_port) = if tunnel.flags & tunnel_flag::FOLLOWS == 0 {
            (tunnel.remote, tunnel.remote_port)
        } else {
            far_end(gateway, at, tunnel)
        };
        Ok(Outbound {
            tunnel,
            index,
            sa,
            remote,
            remote_port,
        })
    }

    /// The other worker that must seal, because the peer's replay window is narrow; none if this one may.
    #[inline]
    pub(crate) fn sealer<I: PacketIo>(&self, gateway: &Gateway<'_, I>) -> Option<usize> {
        if self.sa.flags & (sa_flag::WIDE_PEER_WINDOW | sa_flag::OWN_WORKER) != 0 {
            return None;
        }
        let worker = usize::from(self.sa.sealing_worker) % gateway.state.workers().max(1);
        (worker != gateway.worker).then_some(worker)
    }
}

fn choose<'a, I: PacketIo>(
    gateway: &Gateway<'a, I>,
    tunnel: &'a TunnelRecord,
    carries: Carries<'_>,
) -> Result<(SaIndex, &'a SaRecord), DropReason> {
    let mut reason = DropReason::TunnelDown;
    for (index, sa) in gateway.tables.outbound_sas(tunnel) {
        if sa.flags & sa_flag::OWN_WORKER != 0 && usize::from(sa.sealing_worker) != gateway.worker {
            continue;
        }
        reason = DropReason::TunnelSelectors;
        let selectors = gateway.tables.selectors(sa);
        let carried = match carries {
            Carries::These(addresses) => selectors.iter().any(|selector| lets_through(selector, addresses)),
            Carries::AnyIpv4 => {
                let some = selectors.iter().any(|selector| selector.local_first.is_v4());
                let all = selectors.iter().any(is_all_ipv4);
                // An SA for some of it comes before others for the rest: each packet has to be looked at.
                if some && !all {
                    return Err(reason);
                }
                all
            }
        };
        if carried {
            return Ok((index, sa));
        }
    }
    Err(reason)
}

/// Where a peer behind a NAT is now: where its last authentic packet came from, else where the tables say.
pub(crate) fn far_end<I: PacketIo>(gateway: &Gateway<'_, I>, at: TunnelIndex, tunnel: &TunnelRecord) -> (Address, u16) {
    let seen = gateway.state.endpoint(at).and_then(|endpoint| endpoint.read());
    // Of another family it is no peer of this tunnel.
    match seen.map(|seen| (Address(seen.address), seen.port)) {
        Some((address, port)) if address.is_v4() == tunnel.local.is_v4() => (address, port),
        Some(_) | None => (tunnel.remote, tunnel.remote_port),
    }
}

fn lets_through(selector: &SelectorRecord, addresses: &Addresses) -> bool {
    let (source, destination) = address::of(addresses);
    // Any IPv6 address is between :: and its last, an IPv4 one in its mapped form, too.
    selector.local_first.is_v4() == source.is_v4()
        && (selector.local_first..=selector.local_last).contains(&source)
        && (selector.remote_first..=selector.remote_last).contains(&destination)
}

fn is_all_ipv4(selector: &SelectorRecord) -> bool {
    let [first, last] = ALL_IPV4;
    (selector.local_first, selector.remote_first) == (first, first)
        && (selector.local_last, selector.remote_last) == (last, last)
}
