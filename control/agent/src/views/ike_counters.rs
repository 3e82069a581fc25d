//! What IKE counted, as lists of names.

use crate::ike::counts::Counts;
use crate::ike::events::Events;
use tombolo_api::IkeCounter;
use tombolo_ike::endpoint::{Dropped, Endpoint};

/// Everything that IKE counts: how many there are, events, drops, datagrams.
pub fn ike_counters(endpoint: &Endpoint, events: &Events, counts: &Counts) -> Vec<IkeCounter> {
    let lists = [
        ("now", present(endpoint)),
        ("event", happened(events)),
        ("dropped", dropped(&endpoint.dropped())),
        ("datagrams", datagrams(counts)),
    ];
    let counter = |kind: &str, (name, value, text): Named| IkeCounter {
        kind: kind.to_owned(),
        name: name.into(),
        value,
        text: text.into(),
    };
    lists
        .into_iter()
        .flat_map(|(kind, list)| list.into_iter().map(move |one| counter(kind, one)))
        .collect()
}

/// Name, value, meaning.
type Named = (&'static str, u64, &'static str);

fn present(endpoint: &Endpoint) -> Vec<Named> {
    vec![
        (
            "ike-sas",
            endpoint.ike_spis().len() as u64,
            "IKE SAs, those included that are only begun.",
        ),
        (
            "child-sas",
            endpoint.children().count() as u64,
            "Child SAs, each of both directions.",
        ),
    ]
}

fn happened(events: &Events) -> Vec<Named> {
    let Events {
        established,
        ike_rekeyed,
        ike_rekey_failed,
        child_established,
        child_rekeyed,
        child_failed,
        failed,
        ended,
        moved,
    } = *events;
    vec![
        ("established", established, "IKE SAs that came up."),
        ("ike-rekeyed", ike_rekeyed, "IKE SAs that were replaced."),
        (
            "ike-rekey-failed",
            ike_rekey_failed,
            "Attempts to replace an IKE SA that failed.",
        ),
        (
            "failed",
            failed,
            "IKE SAs that failed or did not come up; the log says why.",
        ),
        ("ended", ended, "IKE SAs that one side ended, or whose time was over."),
        ("child-established", child_established, "Child SAs that came up."),
        ("child-rekeyed", child_rekeyed, "Child SAs that were replaced."),
        ("child-failed", child_failed, "Child SAs that were refused or ended."),
        ("moved", moved, "Peers that went to another address."),
    ]
}

fn dropped(dropped: &Dropped) -> Vec<Named> {
    let Dropped {
        garbage,
        stray,
        excess,
        cookies,
    } = *dropped;
    vec![
        ("garbage", garbage, "No IKE message."),
        ("stray", stray, "For no IKE SA and no tunnel of this gateway."),
        ("excess", excess, "Beyond the limits for half-open IKE SAs."),
        (
            "cookies",
            cookies,
            "Answered with a cookie: the sender has to show its address first.",
        ),
    ]
}

fn datagrams(counts: &Counts) -> Vec<Named> {
    let Counts {
        received,
        keepalives,
        not_ike,
        sent,
        send_failures,
        receive_failures,
    } = *counts;
    vec![
        ("received", received, "Taken from the sockets and handed to IKE."),
        ("keepalives", keepalives, "Peers' NAT keepalives."),
        (
            "not-ike",
            not_ike,
            "Too short for IKE, or on port 4500 without the marker of IKE.",
        ),
        ("sent", sent, "Taken by the kernel to be sent."),
        (
            "send-failures",
            send_failures,
            "Not taken by the kernel: IKE sends again.",
        ),
        (
            "receive-failures",
            receive_failures,
            "Errors of sockets while they were read.",
        ),
    ]
}
