//! Bundles: which tunnel carries which share of the flows.
//!
//! Each member has shares in proportion to what its operator lets through. Those of a member that is down go to the others, share by
//! share; no share of a member that is up ever moves. Both ends that name their members in the same order, and have the same of them
//! up, give each share to the same one.

use crate::{Draft, padded};
use tombolo_config::{Bundle, TunnelId};
use tombolo_tables::layout::{BUNDLE_SHARES, BundleRecord, TunnelIndex, tunnel_flag, wildcard};

/// Largest weight of a member: of the others each has its part of it, at least 1.
const WEIGHT_MAX: u64 = 64;

/// Fills the table of bundles. Comes after the tunnels, which say whether they are up.
pub(crate) fn fill(draft: &mut Draft<'_>) {
    let desired = draft.desired;
    for (at, bundle) in (0..).zip(&desired.bundles) {
        let members: Vec<TunnelIndex> = bundle.tunnels.iter().map(|id| draft.tunnel(*id)).collect();
        let tunnels = &mut draft.plan.world.tunnels;
        let mut up = Vec::new();
        for member in &members {
            let record = &mut tunnels[member.usize()];
            (record.flags, record.bundle) = (record.flags | tunnel_flag::BUNDLED, at);
            up.push(record.outbound != wildcard::NONE);
        }
        let weights = weights(draft, bundle);
        let shares = shares(&weights, &up);
        draft.plan.world.bundles.push(BundleRecord {
            name: padded(bundle.name.as_str()),
            shares: shares.map(|member| members[member].0),
        });
    }
}

/// Each member's part of the flows. Where nobody says what goes through one of them, all have the same.
fn weights(draft: &Draft<'_>, bundle: &Bundle) -> Vec<u64> {
    let bits = |id: &TunnelId| draft.desired.tunnel(*id).ike().and_then(|ike| ike.ceiling.bits);
    let Some(bits) = bundle.tunnels.iter().map(bits).collect::<Option<Vec<u64>>>() else {
        return vec![1; bundle.tunnels.len()];
    };
    let most = bits.iter().copied().max().unwrap_or(1).max(1);
    let weight = |bits: &u64| (u128::from(*bits) * u128::from(WEIGHT_MAX) / u128::from(most)).max(1) as u64;
    bits.iter().map(weight).collect()
}

/// The member, by its place, that carries each share. With nobody up it is each one's own: what is sent is dropped there.
fn shares(weights: &[u64], up: &[bool]) -> [usize; BUNDLE_SHARES] {
    let owners = owners(weights);
    core::array::from_fn(|share| {
        let owner = owners[share];
        if up[owner] {
            return owner;
        }
        let standing = (0..weights.len()).filter(|member| up[*member]);
        let heir = standing.max_by_key(|member| (0..weights[*member]).map(|draw| lot(share, *member, draw)).max());
        heir.unwrap_or(owner)
    })
}

/// Whose each share is while all are up: as many as the weight says, to within one, in turn.
fn owners(weights: &[u64]) -> [usize; BUNDLE_SHARES] {
    let total = weights.iter().sum::<u64>().max(1);
    let mut given = vec![0; weights.len()];
    let next = |share: usize| {
        // Whoever is furthest behind what is due by now.
        let due = |member: usize| weights[member] * (share as u64 + 1);
        let behind = |member: &usize| due(*member) as i128 - (given[*member] * total) as i128;
        let owner = (0..weights.len()).rev().max_by_key(behind).unwrap_or(0);
        given[owner] += 1;
        owner
    };
    core::array::from_fn(next)
}

/// The lot that a member draws for a share: the same on every gateway.
fn lot(share: usize, member: usize, draw: u64) -> u64 {
    let word = (share as u64) << 32 | (member as u64) << 16 | draw;
    let mixed = (word ^ word >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(shares: &[usize; BUNDLE_SHARES], member: usize) -> usize {
        shares.iter().filter(|owner| **owner == member).count()
    }

    #[test]
    fn each_member_has_its_part_to_within_one() {
        for weights in [
            vec![1, 1],
            vec![1, 1, 1],
            vec![64, 16],
            vec![3, 2, 1],
            vec![1; 16],
            vec![64, 1],
        ] {
            let total: u64 = weights.iter().sum();
            let shares = shares(&weights, &vec![true; weights.len()]);
            for (member, weight) in weights.iter().enumerate() {
                let due = BUNDLE_SHARES as f64 * *weight as f64 / total as f64;
                let has = count(&shares, member) as f64;
                assert!(
                    (has - due).abs() <= 1.0,
                    "{weights:?}: member {member} has {has} of {due}"
                );
            }
        }
    }

    #[test]
    fn only_shares_of_who_is_down_move_and_all_others_inherit() {
        let weights = [1; 5];
        let mut up = vec![true; 5];
        let all = shares(&weights, &up);
        let mut before = all;
        for down in [3, 0, 4] {
            up[down] = false;
            let after = shares(&weights, &up);
            for share in 0..BUNDLE_SHARES {
                assert!(up[after[share]]);
                assert!(before[share] == down || before[share] == after[share], "share {share}");
            }
            let standing: Vec<usize> = (0..5).filter(|member| up[*member]).collect();
            let fair = BUNDLE_SHARES / standing.len();
            for member in standing {
                let has = count(&after, member);
                assert!(
                    (fair / 2..fair * 2).contains(&has),
                    "member {member} has {has}, fair is {fair}"
                );
            }
            before = after;
        }
        assert_eq!(shares(&weights, &[true; 5]), all, "who comes back has its own again");
    }

    #[test]
    fn who_carries_more_inherits_more() {
        let shares = shares(&[64, 16, 64], &[false, true, true]);
        assert!(
            count(&shares, 2) > 2 * count(&shares, 1),
            "{} and {}",
            count(&shares, 2),
            count(&shares, 1)
        );
    }

    #[test]
    fn with_nobody_up_each_keeps_its_own() {
        assert_eq!(shares(&[1, 1], &[false, false]), shares(&[1, 1], &[true, true]));
    }
}
