//! What is negotiated: algorithms, PFS, extended sequence numbers, lifetimes.

use super::{Case, Finding, Report};
use crate::profile::{Algorithm, Span, Transforms};
use tombolo_ike::connection::Lifetime;
use tombolo_ike::transform::{Encryption, EspProposal, Group, IkeProposal, Integrity, Prf};

pub(super) fn negotiation(case: &Case<'_>, report: &mut Report) {
    let (values, policy) = (case.values, case.profile.policy.trim());
    let peer = &case.profile.peer;
    let ike = |proposal: &IkeProposal| common_ike(proposal, values.ike_accepts.as_ref().map(|sourced| &sourced.value));
    match case.ike.ike_proposals.iter().find_map(ike) {
        Some(agreed) => report.add(Finding::good("ike", agreed)),
        None => report.add(Finding::bad(
            "ike",
            format!("{peer} accepts none of our IKE proposals"),
            policy,
        )),
    }
    let accepts = values.esp_accepts.as_ref().map(|sourced| &sourced.value);
    let agreed = case
        .ike
        .esp_proposals
        .iter()
        .find_map(|proposal| common(&proposal.encryption, accepts.map(|a| &a.encryption)));
    match agreed {
        Some(agreed) => report.add(Finding::good("esp", agreed)),
        None => report.add(Finding::bad(
            "esp",
            format!("{peer} accepts none of our ESP proposals"),
            policy,
        )),
    }
    pfs(case, accepts, report);
    esn(case, report);
}

fn pfs(case: &Case<'_>, accepts: Option<&Transforms>, report: &mut Report) {
    let peer = &case.profile.peer;
    let without = |proposal: &EspProposal| proposal.groups.is_empty() || proposal.groups.contains(&None);
    let groups = || {
        case.ike
            .esp_proposals
            .iter()
            .flat_map(|proposal| proposal.groups.iter().flatten().copied())
    };
    let agreed = groups().find_map(|group| common(&[group], accepts.map(|accepts| &accepts.groups)));
    if case.values.pfs_required.value && case.ike.esp_proposals.iter().any(without) {
        let text = format!("{peer} wants a key exchange at every rekey of a child, and ours may go without");
        report.add(Finding::bad("pfs", text, "leave `none` out of `esp: groups`"));
    } else if let Some(group) = agreed {
        report.add(Finding::good("pfs", group));
    } else if groups().next().is_some() {
        let text = format!("{peer} accepts none of our groups when a child is rekeyed: the first rekey would fail");
        report.add(Finding::bad("pfs", text, case.profile.policy.trim()));
    } else {
        report.add(Finding::note("pfs", "no key exchange when a child is rekeyed"));
    }
}

fn esn(case: &Case<'_>, report: &mut Report) {
    let rule = &case.values.esn.value;
    let mut ours = case.ike.esp_proposals.iter().flat_map(|proposal| proposal.esn.iter());
    match ours.find(|esn| rule.accepts.contains(esn)) {
        Some(true) => report.add(Finding::good("esn", "on")),
        Some(false) => report.add(Finding::good("esn", "off")),
        None => {
            let text = format!("{} takes no extended sequence numbers", case.profile.peer);
            report.add(Finding::bad("esn", text, "leave `esp: esn` away"));
        }
    }
}

pub(super) fn lifetimes(case: &Case<'_>, report: &mut Report) {
    let Case {
        ike, values, profile, ..
    } = case;
    let spans = [
        ("IKE SA", ike.ike_lifetime, &values.ike_lifetime.value),
        ("child SA", ike.child_lifetime, &values.child_lifetime.value),
    ];
    for (what, lifetime, span) in spans {
        let (seconds, first, last) = seconds(lifetime);
        let text = format!("{what} {seconds} s, rekeyed after {first} to {last} s");
        let finding = match span {
            Span { most, .. } if seconds > *most => Finding::note(
                "lifetime",
                format!("{text}; {} ends it after {most} s and rekeys first", profile.peer),
            ),
            Span { least, .. } if seconds < *least => {
                Finding::note("lifetime", format!("{text}; {} knows {least} s at least", profile.peer))
            }
            Span { .. } => Finding::good("lifetime", text),
        };
        report.add(finding);
    }
    let least = values.dpd.value.timeout_least;
    if ike.dpd_timeout_ms < u64::from(least) * 1000 {
        let text = format!(
            "a dead peer after {} s; {} takes {least} s or more",
            ike.dpd_timeout_ms / 1000,
            profile.peer
        );
        report.add(Finding::note("dpd", text));
    } else {
        report.add(Finding::good(
            "dpd",
            format!("after {} s without an answer", ike.dpd_timeout_ms / 1000),
        ));
    }
}

fn seconds(lifetime: Lifetime) -> (u32, u64, u64) {
    let first = lifetime.rekey_ms.saturating_sub(lifetime.fuzz_ms) / 1000;
    ((lifetime.hard_ms / 1000) as u32, first, lifetime.rekey_ms / 1000)
}

/// The first of ours that the peer accepts, by name; anything if it accepts anything.
fn common<T: Algorithm + PartialEq>(ours: &[T], accepts: Option<&Vec<String>>) -> Option<&'static str> {
    let name = |wanted: &T| {
        T::NAMED
            .iter()
            .find(|(_, value)| value == wanted)
            .map(|(name, _)| *name)
    };
    let accepted = |name: &&str| accepts.is_none_or(|accepts| accepts.iter().any(|known| known == name));
    ours.iter().filter_map(name).find(accepted)
}

fn common_ike(proposal: &IkeProposal, accepts: Option<&Transforms>) -> Option<String> {
    let cipher = common::<Encryption>(&proposal.encryption, accepts.map(|accepts| &accepts.encryption))?;
    let prf = common::<Prf>(&proposal.prf, accepts.map(|accepts| &accepts.prf))?;
    let group = common::<Group>(&proposal.groups, accepts.map(|accepts| &accepts.groups))?;
    let integrity = match proposal.integrity.as_slice() {
        [] => None,
        integrity => Some(common::<Integrity>(
            integrity,
            accepts.map(|accepts| &accepts.integrity),
        )?),
    };
    // The clouds that list what they accept know no additional key exchange (RFC 9370).
    let optional = |list: &Vec<Option<Group>>| list.contains(&None);
    if accepts.is_some() && !proposal.additional.iter().all(optional) {
        return None;
    }
    let parts: Vec<&str> = [Some(cipher), integrity, Some(prf), Some(group)]
        .into_iter()
        .flatten()
        .collect();
    Some(parts.join(" "))
}
