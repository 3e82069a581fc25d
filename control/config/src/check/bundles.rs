//! Bundles: several tunnels to one peer.

use super::Scope;
use crate::model::{Bundle, Gateway, SegmentId, Tunnel};
use crate::problem::Problems;
use crate::raw::RawGateway;
use std::collections::HashMap;

/// Fewest and most tunnels of a bundle.
const TUNNELS: core::ops::RangeInclusive<usize> = 2..=16;

pub(super) fn resolve(raw: &RawGateway, scope: &Scope<'_>, problems: &mut Problems) -> Vec<Bundle> {
    let mut bundles = Vec::new();
    for (name, bundle) in raw.bundles.iter().flat_map(|bundles| &bundles.0) {
        if !TUNNELS.contains(&bundle.tunnels.len()) {
            let message = format!("a bundle has {} to {} tunnels", TUNNELS.start(), TUNNELS.end());
            problems.add(name.place, message);
        }
        let tunnels = bundle
            .tunnels
            .iter()
            .map(|tunnel| scope.tunnel(tunnel, problems))
            .collect();
        bundles.push(Bundle {
            name: name.value.clone(),
            // Known once its tunnels are.
            segment: SegmentId(super::NOWHERE),
            tunnels,
        });
    }
    bundles
}

/// A bundle is in the segment of its tunnels. Only for a gateway whose references are all right.
pub(super) fn place(gateway: &mut Gateway) {
    for bundle in &mut gateway.bundles {
        if let Some(first) = bundle.tunnels.first() {
            bundle.segment = gateway.tunnels[first.usize()].segment;
        }
    }
}

pub(super) fn relate(raw: &RawGateway, gateway: &Gateway, problems: &mut Problems) {
    let statements = raw.bundles.iter().flat_map(|bundles| &bundles.0);
    let mut members: HashMap<usize, &crate::Name> = HashMap::new();
    for ((_, statement), bundle) in statements.zip(&gateway.bundles) {
        let Some(first) = bundle.tunnels.first().map(|id| gateway.tunnel(*id)) else {
            continue;
        };
        for (stated, id) in statement.tunnels.iter().zip(&bundle.tunnels) {
            let tunnel = gateway.tunnel(*id);
            if let Some(other) = members.insert(id.usize(), &bundle.name) {
                let message = format!("tunnel '{}' is in bundle '{other}' already", tunnel.name);
                problems.add(stated.place, message);
            } else if let Some(why) = unlike(first, tunnel) {
                let hint = "the tunnels of a bundle lead to one peer and carry the same";
                problems.hint(stated.place, format!("tunnel '{}' {why}", tunnel.name), hint);
            }
        }
    }
}

/// Why two tunnels cannot carry the same flows, if so.
fn unlike(first: &Tunnel, other: &Tunnel) -> Option<String> {
    let (Some(ike), Some(other_ike)) = (first.ike(), other.ike()) else {
        return Some("has manual keys: only tunnels with `type: ipsec` are bundled".to_owned());
    };
    if first.segment != other.segment {
        Some(format!("is in another segment than tunnel '{}'", first.name))
    } else if ike.profile != other_ike.profile {
        Some(format!("has another profile than tunnel '{}'", first.name))
    } else if first.selectors != other.selectors {
        Some(format!("carries other prefixes than tunnel '{}'", first.name))
    } else {
        None
    }
}
