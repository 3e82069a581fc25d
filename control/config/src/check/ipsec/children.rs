//! Child SAs and what they carry.

use super::Stated;
use crate::model::{IkeChild, Selector};
use crate::problem::Problems;
use crate::profile::Families;
use crate::raw::RawIpsecTunnel;
use crate::value::{Name, Prefix};

/// Most prefixes on one side of a child (RFC 7296 §3.13 counts them in one byte; a peer has less room).
const PREFIXES_MAX: usize = 32;
/// Most pairs of prefixes of a tunnel.
const SELECTORS_MAX: usize = 64;
/// The child of a tunnel that names none.
const DEFAULT_NAME: &str = "all";

/// `None` means that a problem was noted.
pub(super) fn resolve(stated: &Stated<'_>, problems: &mut Problems) -> Option<Vec<IkeChild>> {
    let raw = stated.raw;
    let rule = &stated.values.children.value;
    let everything = everything(raw, rule.v6);
    let named = raw
        .children
        .as_ref()
        .map(|children| children.0.as_slice())
        .unwrap_or_default();
    if named.is_empty() {
        let name = Name::parse(DEFAULT_NAME).ok()?;
        return Some(vec![IkeChild {
            name,
            local: everything.clone(),
            remote: everything,
        }]);
    }
    if let Some((name, _)) = named.get(rule.most) {
        let message = format!("{} takes {} of a tunnel", stated.profile.title, count(rule.most));
        problems.hint(
            name.place,
            message,
            "put the prefixes of all children into one, or leave `children` away",
        );
        return None;
    }
    let mut children = Vec::new();
    for (name, child) in named {
        let side = |stated: &Option<Vec<crate::reader::At<Prefix>>>| match stated.as_deref() {
            None | Some([]) => everything.clone(),
            Some(prefixes) => prefixes.iter().map(|at| at.value).collect(),
        };
        let child = IkeChild {
            name: name.value.clone(),
            local: side(&child.local),
            remote: side(&child.remote),
        };
        if child.local.len() > PREFIXES_MAX || child.remote.len() > PREFIXES_MAX {
            problems.add(
                name.place,
                format!("a child has at most {PREFIXES_MAX} prefixes on each side"),
            );
        }
        let v6 = |prefixes: &[Prefix], v6: bool| prefixes.iter().any(|prefix| prefix.is_v6() == v6);
        for family in [false, true] {
            if v6(&child.local, family) != v6(&child.remote, family) {
                problems.add(
                    name.place,
                    "both sides of a child have prefixes of the same address families",
                );
            }
        }
        children.push(child);
    }
    families(stated, named, rule.v6, problems);
    if selectors(&children).len() > SELECTORS_MAX {
        problems.add(
            raw.place,
            format!("a tunnel has at most {SELECTORS_MAX} pairs of prefixes"),
        );
    }
    Some(children)
}

fn count(children: usize) -> String {
    if children == 1 {
        "one child".into()
    } else {
        format!("{children} children")
    }
}

/// What a child carries that says nothing.
fn everything(raw: &RawIpsecTunnel, v6: Families) -> Vec<Prefix> {
    let only_v6 = raw
        .inside
        .as_deref()
        .is_some_and(|inside| !inside.is_empty() && inside.iter().all(|at| at.value.address().is_ipv6()));
    match v6 {
        Families::Never => vec![Prefix::all(false)],
        Families::Alone => vec![Prefix::all(only_v6)],
        Families::Both => vec![Prefix::all(false), Prefix::all(true)],
    }
}

fn families(
    stated: &Stated<'_>,
    named: &[(crate::reader::At<Name>, crate::raw::RawChild)],
    v6: Families,
    problems: &mut Problems,
) {
    let prefixes = || {
        let sides = named.iter().flat_map(|(_, child)| [&child.local, &child.remote]);
        sides.flatten().flatten()
    };
    let first_v6 = prefixes().find(|at| at.value.is_v6());
    let (Some(at), peer) = (first_v6, &stated.profile.title) else {
        return;
    };
    match v6 {
        Families::Both => {}
        Families::Never => problems.add(at.place, format!("{peer} carries no IPv6")),
        Families::Alone => {
            if prefixes().any(|at| !at.value.is_v6()) {
                let message = format!("a tunnel of {peer} carries IPv4 or IPv6, not both");
                problems.hint(at.place, message, "make a second connection for IPv6");
            }
        }
    }
}

/// Every pair of prefixes of one family.
pub(super) fn selectors(children: &[IkeChild]) -> Vec<Selector> {
    let mut selectors: Vec<Selector> = Vec::new();
    for child in children {
        for local in &child.local {
            for remote in child.remote.iter().filter(|remote| remote.is_v6() == local.is_v6()) {
                let selector = Selector {
                    local: *local,
                    remote: *remote,
                };
                if !selectors.contains(&selector) && selectors.len() <= SELECTORS_MAX {
                    selectors.push(selector);
                }
            }
        }
    }
    selectors
}
