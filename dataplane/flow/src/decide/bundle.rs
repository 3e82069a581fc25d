//! Which tunnel of a bundle carries a flow: its share's, the same for both directions and at both ends that name the members in one order.

use tombolo_tables::layout::{BundleIndex, NextHop, TunnelIndex, tunnel_flag};
use tombolo_tables::view::Tables;
use tombolo_wire::Addresses;

/// Ports of a flow in either order; both 0 where not every packet of it shows them (fragments).
pub type Ports = [u16; 2];

/// No ports: for who only asks whether there is a tunnel, not which.
pub const NO_PORTS: Ports = [0; 2];

/// The tunnel that carries such a flow, as a hop.
#[inline(never)]
pub fn member(tables: &Tables<'_>, bundle: BundleIndex, addresses: &Addresses, ports: Ports) -> NextHop {
    let record = tables.bundle(bundle);
    record.map_or(NextHop::Discard, |record| {
        NextHop::Tunnel(record.member(share(addresses, ports)))
    })
}

/// Where replies to what came out of a tunnel go: back into it, unless its bundle has given its shares to others.
pub(super) fn back(tables: &Tables<'_>, tunnel: TunnelIndex, addresses: &Addresses, ports: Ports) -> NextHop {
    let bundled = tables
        .tunnel(tunnel)
        .filter(|record| record.flags & tunnel_flag::BUNDLED != 0);
    let bundle = bundled.and_then(|record| tables.bundle(BundleIndex(record.bundle.into())));
    match bundle {
        Some(bundle) if !bundle.uses(tunnel) => NextHop::Tunnel(bundle.member(share(addresses, ports))),
        Some(_) | None => NextHop::Tunnel(tunnel),
    }
}

/// The same whichever end asks.
fn share(addresses: &Addresses, ports: Ports) -> u32 {
    let (one, other) = match addresses {
        Addresses::V4 { source, destination } => (u64::from(*source), u64::from(*destination)),
        Addresses::V6 { source, destination } => (fold(source), fold(destination)),
    };
    let ports = u64::from(ports[0].min(ports[1])) << 16 | u64::from(ports[0].max(ports[1]));
    let both = mix(mix(one.min(other)) ^ one.max(other));
    (mix(both ^ ports) >> 32) as u32
}

fn fold(address: &[u8; 16]) -> u64 {
    let whole = u128::from_be_bytes(*address);
    mix((whole >> 64) as u64) ^ whole as u64
}

/// Every bit of the input moves the upper half of the result.
fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tombolo_tables::layout::BUNDLE_SHARES;

    fn v4(source: u32, destination: u32) -> Addresses {
        Addresses::V4 { source, destination }
    }

    fn v6(source: u128, destination: u128) -> Addresses {
        let [source, destination] = [source, destination].map(u128::to_be_bytes);
        Addresses::V6 { source, destination }
    }

    #[test]
    fn both_directions_have_one_share() {
        for (addresses, ports) in [
            (v4(0x0a01_0001, 0x0a02_0009), [1000, 53]),
            (v4(0x0a02_0009, 0x0a01_0001), NO_PORTS),
            (v6(0xfd00 << 112 | 1, 0xfd01 << 112 | 77), [80, 50_000]),
        ] {
            let [one, other] = ports;
            assert_eq!(share(&addresses, ports), share(&addresses.reversed(), [other, one]));
        }
    }

    /// Flows that differ in one thing alone spread as evenly as chance would have it.
    #[test]
    fn flows_spread_over_all_shares_by_port_and_by_host() {
        let flows = 256 * BUNDLE_SHARES as u32;
        type Flow = fn(u32) -> (Addresses, Ports);
        let kinds: [Flow; 5] = [
            |n| (v4(0x0a01_0001, 0x0a02_0001), [n as u16, 443]),
            |n| (v4(0x0a01_0001, 0x0a02_0001), [5000, n as u16]),
            |n| (v4(0x0a01_0000 | n & 0xffff, 0x0a02_0001), [500, 443]),
            |n| (v4(0x0a01_0001, n << 8 | 1), NO_PORTS),
            |n| (v6(0xfd00 << 112 | u128::from(n), 0xfd01 << 112 | 1), [500, 443]),
        ];
        for (kind, flow) in kinds.iter().enumerate() {
            let mut counts = BTreeMap::new();
            for number in 0..flows {
                let (addresses, ports) = flow(number);
                *counts
                    .entry(share(&addresses, ports) as usize % BUNDLE_SHARES)
                    .or_insert(0) += 1;
            }
            assert_eq!(counts.len(), BUNDLE_SHARES, "kind {kind}");
            let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            // 256 on average, so 16 is the deviation to be expected.
            assert!(
                (170..=350).contains(least) && (170..=350).contains(most),
                "kind {kind}: {least} to {most}"
            );
        }
    }
}
