//! What IKE says about tunnels.

use std::collections::BTreeMap;
use tombolo_api::Ike;
use tombolo_ike::Nat;
use tombolo_ike::endpoint::{Endpoint, TunnelView};
use tombolo_ike::now::Milliseconds;
use tombolo_ike::transform::IkeSuite;

/// By tunnel name. `refused`: tunnels that are not negotiated or not carried, and why.
pub fn ike(endpoint: &Endpoint, refused: &BTreeMap<String, String>, now: Milliseconds) -> BTreeMap<String, Ike> {
    let negotiated = endpoint.tunnels().map(|view| (view.name.to_owned(), one(&view, now)));
    let mut tunnels: BTreeMap<String, Ike> = negotiated.collect();
    for (name, why) in refused {
        let ike = tunnels.entry(name.clone()).or_insert_with(|| Ike {
            phase: "not negotiated".into(),
            ..Ike::default()
        });
        ike.failure = Some(why.clone());
    }
    tunnels
}

fn one(view: &TunnelView<'_>, now: Milliseconds) -> Ike {
    let next = view
        .begins_at
        .map(|at| format!(", next attempt in {} s", at.since(now).div_ceil(1000)));
    Ike {
        phase: format!("{}{}", view.phase, next.unwrap_or_default()),
        peer: view.peer.clone(),
        at: view.path.map(|path| path.remote.to_string()),
        suite: view.suite.map(suite),
        spis: view
            .spis
            .map(|(initiator, responder)| format!("{initiator:016x} {responder:016x}")),
        established_seconds: view.since.map(|since| now.since(since) / 1000),
        nat: view.nat.map(nat),
        failure: view.failure.clone(),
    }
}

fn nat(nat: Nat) -> String {
    match (nat.here, nat.there) {
        (false, false) => "none",
        (true, false) => "here",
        (false, true) => "there",
        (true, true) => "both",
    }
    .into()
}

fn suite(suite: &IkeSuite) -> String {
    let integrity = suite
        .integrity
        .map(|integrity| format!("/{integrity:?}"))
        .unwrap_or_default();
    let additional: String = suite.additional.iter().map(|group| format!("+{group:?}")).collect();
    format!(
        "{:?}{integrity}/{:?}/{:?}{additional}",
        suite.encryption, suite.prf, suite.group
    )
}
