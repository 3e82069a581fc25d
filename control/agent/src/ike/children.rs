//! From the child SAs of IKE to what the planner plans with.

use std::collections::BTreeMap;
use tombolo_config::sa_file::Cipher;
use tombolo_ike::endpoint::{ChildView, Endpoint};
use tombolo_ike::selector::Selector;
use tombolo_ike::transform::Encryption;
use tombolo_ike::{Half, Workers};
use tombolo_planner::{Negotiated, NegotiatedSa, OuterPath, SaSecret, SelectorPair, UdpPorts};

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
            inbound: Vec::new(),
            outbound: Vec::new(),
        });
        tunnel.inbound.push(inbound);
        if view.sends {
            tunnel.outbound.push(outbound);
        }
    }
    tunnels
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
