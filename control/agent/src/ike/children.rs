//! From the child SAs of IKE to what the planner plans with.

use super::held::Ends;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_config::sa_file::Cipher;
use tombolo_ike::endpoint::{ChildView, Endpoint};
use tombolo_ike::selector::Selector;
use tombolo_ike::transform::Encryption;
use tombolo_ike::{Half, Workers};
use tombolo_planner::{Negotiated, NegotiatedSa, OuterPath, PlannedSa, SaSecret, SelectorPair, UdpPorts};

/// All that is negotiated, by tunnel. What cannot be carried is left out, with a reason in `refused`.
pub fn negotiated(endpoint: &Endpoint, refused: &mut BTreeMap<String, String>) -> BTreeMap<String, Negotiated> {
    let mut tunnels: BTreeMap<String, Negotiated> = BTreeMap::new();
    // The youngest comes first: of several that send, it is the one in use.
    let mut views: Vec<ChildView<'_>> = endpoint.children().collect();
    views.sort_by_key(|view| core::cmp::Reverse((view.sends, view.child.created)));
    for view in views {
        let Some((inbound, outbound)) = pair(&view) else {
            let why = "its child SA carries single ports or protocols only; let the peer ask for whole networks";
            refused.insert(view.connection.to_owned(), why.to_owned());
            continue;
        };
        let tunnel = tunnels.entry(view.connection.to_owned()).or_insert_with(|| Negotiated {
            path: outer(&view),
            // Most have one of each.
            inbound: Vec::with_capacity(1),
            outbound: Vec::with_capacity(1),
        });
        tunnel.inbound.push(inbound);
        if view.sends {
            tunnel.outbound.push(outbound);
        }
    }
    tunnels
}

/// Tunnels that may receive with a child SA that is not among the `published`, and their ends.
pub fn unpublished<'a>(
    wanted: &'a BTreeMap<String, Negotiated>,
    published: &BTreeMap<String, Negotiated>,
) -> Vec<(&'a str, Ends)> {
    let lacks = |name: &str, wanted: &Negotiated| {
        let there = published.get(name).map_or(&[][..], |there| &there.inbound);
        let has = |sa: &NegotiatedSa| there.iter().any(|known| known.spi == sa.spi);
        !wanted.inbound.iter().all(has)
    };
    let lacking = wanted.iter().filter(|(name, wanted)| lacks(name, wanted));
    lacking
        .map(|(name, wanted)| (name.as_str(), (wanted.path.local, wanted.path.remote)))
        .collect()
}

/// Tunnels of which the plan left an inbound SA out.
pub fn unplanned(wanted: &BTreeMap<String, Negotiated>, planned: &[PlannedSa]) -> Vec<String> {
    let planned = planned.iter().filter(|sa| sa.inbound);
    let planned: BTreeSet<(&str, u32)> = planned.map(|sa| (sa.tunnel.as_str(), sa.spi)).collect();
    let whole = |name: &str, tunnel: &Negotiated| tunnel.inbound.iter().all(|sa| planned.contains(&(name, sa.spi)));
    let left_out = wanted.iter().filter(|(name, tunnel)| !whole(name, tunnel));
    left_out.map(|(name, _)| name.clone()).collect()
}

fn outer(view: &ChildView<'_>) -> OuterPath {
    let path = view.path;
    OuterPath {
        local: path.local.ip(),
        remote: path.remote.ip(),
        follow: view.follows,
        udp: view.udp.then_some(UdpPorts {
            local: path.local.port(),
            remote: path.remote.port(),
        }),
    }
}

fn pair(view: &ChildView<'_>) -> Option<(NegotiatedSa, NegotiatedSa)> {
    let child = view.child;
    let cipher = match child.suite.encryption {
        Encryption::AesGcm16(128) => Cipher::Aes128Gcm,
        Encryption::AesGcm16(256) => Cipher::Aes256Gcm,
        Encryption::ChaCha20Poly1305 => Cipher::ChaCha20Poly1305,
        // ESP is AEAD only: neither is offered nor chosen.
        Encryption::AesGcm16(_) | Encryption::AesCbc(_) => return None,
    };
    let selectors = selectors(&child.local, &child.remote)?;
    let half = |half: &Half| {
        Some(NegotiatedSa {
            child: child.name.clone(),
            worker: match child.workers {
                Workers::Only(worker) => Some(worker),
                Workers::All | Workers::Spare(_) => None,
            },
            spi: half.spi,
            secret: SaSecret::new(cipher, half.key.expose(), half.salt)?,
            esn: child.suite.esn,
            selectors: selectors.clone(),
        })
    };
    Some((half(&child.inbound)?, half(&child.outbound)?))
}

/// One for each pair of a local and a remote range of a family; none where single protocols or ports were agreed on.
fn selectors(local: &[Selector], remote: &[Selector]) -> Option<Vec<SelectorPair>> {
    let whole =
        |selector: &Selector| selector.protocol == 0 && selector.first_port == 0 && selector.last_port == u16::MAX;
    let pairs = pairs(
        &local.iter().filter(|one| whole(one)).collect::<Vec<_>>(),
        &remote.iter().filter(|one| whole(one)).collect::<Vec<_>>(),
    );
    (!pairs.is_empty()).then_some(pairs)
}

fn pairs(local: &[&Selector], remote: &[&Selector]) -> Vec<SelectorPair> {
    let all = local.iter().flat_map(|own| remote.iter().map(move |far| (own, far)));
    let of_a_family = all.filter(|(own, far)| own.first.is_ipv4() == far.first.is_ipv4());
    of_a_family
        .map(|(own, far)| SelectorPair {
            local: (own.first, own.last),
            remote: (far.first, far.last),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_tables::layout::SaIndex;

    /// Tunnels `a` and `b` with inbound SAs of these SPIs.
    fn tunnels(a: &[u32], b: &[u32]) -> BTreeMap<String, Negotiated> {
        let sa = |spi: &u32| NegotiatedSa {
            child: "net".into(),
            worker: None,
            spi: *spi,
            secret: SaSecret::new(Cipher::Aes128Gcm, &[1; 16], [1; 4]).unwrap(),
            esn: false,
            selectors: Vec::new(),
        };
        let tunnel = |remote: u8, spis: &[u32]| Negotiated {
            path: OuterPath {
                local: [192, 0, 2, 1].into(),
                remote: [198, 51, 100, remote].into(),
                udp: None,
                follow: false,
            },
            inbound: spis.iter().map(sa).collect(),
            outbound: Vec::new(),
        };
        BTreeMap::from([("a".to_owned(), tunnel(1, a)), ("b".to_owned(), tunnel(2, b))])
    }

    #[test]
    fn a_tunnel_waits_for_a_new_inbound_sa_but_not_for_the_end_of_one() {
        let published = tunnels(&[1, 2], &[3]);
        assert_eq!(unpublished(&tunnels(&[2], &[3]), &published), []);
        let ends = ([192, 0, 2, 1].into(), [198, 51, 100, 2].into());
        assert_eq!(unpublished(&tunnels(&[1], &[3, 4]), &published), [("b", ends)]);
        assert_eq!(unpublished(&tunnels(&[], &[9]), &BTreeMap::new()), [("b", ends)]);
    }

    #[test]
    fn what_the_plan_left_out_is_found() {
        let planned = |tunnel: &str, spi, inbound| PlannedSa {
            tunnel: tunnel.into(),
            child: "net".into(),
            inbound,
            spi,
            sa: SaIndex(0),
        };
        let plan = [planned("a", 1, true), planned("b", 3, true), planned("b", 4, false)];
        assert_eq!(unplanned(&tunnels(&[1], &[3]), &plan), [""; 0]);
        assert_eq!(
            unplanned(&tunnels(&[1], &[3, 4]), &plan),
            ["b"],
            "an outbound one does not count"
        );
        assert_eq!(
            unplanned(&tunnels(&[3], &[]), &plan),
            ["a"],
            "nor that of another tunnel"
        );
    }
}
