//! Bundles, what of the flows each member carries, and what it may carry.

use super::text;
use std::collections::BTreeMap;
use tombolo_api::{Bundle, BundleMember};
use tombolo_config::Gateway;
use tombolo_tables::build::World;
use tombolo_tables::layout::{BUNDLE_SHARES, wildcard};

/// Bundles of the configuration, as the published world uses them.
pub fn bundles(desired: &Gateway, world: &World) -> Vec<Bundle> {
    let bundle = |bundle: &tombolo_config::Bundle| {
        let shares = shares(world, bundle.name.as_str());
        let member = |id: &tombolo_config::TunnelId| {
            let tunnel = desired.tunnel(*id);
            let ceiling = tunnel.ike().map(|ike| ike.ceiling).unwrap_or_default();
            let published = world
                .tunnels
                .iter()
                .find(|record| text(&record.name) == tunnel.name.as_str());
            BundleMember {
                up: published.is_some_and(|record| record.outbound != wildcard::NONE),
                shares: shares.get(tunnel.name.as_str()).copied().unwrap_or(0),
                shares_all: BUNDLE_SHARES as u32,
                ceiling_bits: ceiling.bits,
                ceiling_packets: ceiling.packets,
                tunnel: tunnel.name.to_string(),
            }
        };
        Bundle {
            name: bundle.name.to_string(),
            segment: desired.segment(bundle.segment).name.to_string(),
            members: bundle.tunnels.iter().map(member).collect(),
        }
    };
    desired.bundles.iter().map(bundle).collect()
}

/// How many shares each tunnel has, by name.
fn shares(world: &World, bundle: &str) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    let record = world.bundles.iter().find(|record| text(&record.name) == bundle);
    for tunnel in record.iter().flat_map(|record| record.shares) {
        if let Some(record) = world.tunnels.get(tunnel as usize) {
            *shares.entry(text(&record.name)).or_insert(0) += 1;
        }
    }
    shares
}
