//! Security associations: manual ones from files, negotiated ones from IKEv2; their indices, records and selectors.
//!
//! An SA keeps its index as long as its key lives; a new key gets another index, since rows of state belong to keys.

use crate::digest::Digest;
use crate::indices::{Given, Wanted};
use crate::negotiated::{Negotiated, NegotiatedSa, SelectorPair};
use crate::{Action, Draft, Numbering, PlannedSa, tunnels};
use core::net::IpAddr;
use std::collections::BTreeSet;
use tombolo_config::sa_file::{Cipher, SaKey, SaPair};
use tombolo_config::{Prefix, Selector};
use tombolo_tables::layout::{Address, OUTBOUND_MAX, SaIndex, SaRecord, SelectorRecord, cipher, sa_flag, wildcard};
use zerocopy::FromZeros;

/// From this window on the peer takes what several workers seal in any order.
const WIDE_WINDOW: u16 = 4096;
/// Smallest replay window in packets.
const WINDOW_MIN: u16 = 64;
/// SPIs below are reserved (RFC 4303 §2.1).
const SPI_FIRST: u32 = 256;

/// An SA that shall be.
struct Wish<'a> {
    /// Place of its tunnel in the configuration.
    tunnel: usize,
    child: &'a str,
    worker: Option<u16>,
    inbound: bool,
    spi: u32,
    cipher: Cipher,
    key: &'a [u8],
    salt: [u8; 4],
    esn: bool,
    selectors: Vec<SelectorRecord>,
    numbering: Numbering,
    fingerprint: String,
}

/// What a tunnel seals with.
#[derive(Clone, Copy)]
pub(crate) struct Outbound {
    /// The first SA to try, or `wildcard::NONE`.
    pub(crate) first: u32,
    /// There are others, or not every packet may use it.
    pub(crate) chooses: bool,
}

/// Fills the tables of SAs and selectors; what each tunnel of the configuration seals with.
pub(crate) fn fill(draft: &mut Draft<'_>) -> Vec<Outbound> {
    let wishes = wishes(draft);
    let given = assign(draft, &wishes);
    draft.plan.world.sas = vec![SaRecord::new_zeroed(); draft.plan.indices.sas.used()];
    let mut outbound: Vec<Vec<usize>> = vec![Vec::new(); draft.desired.tunnels.len()];
    for (at, (wish, given)) in wishes.iter().zip(&given).enumerate() {
        let Some(given) = *given else { continue };
        let record = record(draft, wish, given);
        draft.plan.world.sas[given.index as usize] = record;
        if !wish.inbound {
            outbound[wish.tunnel].push(at);
        }
        draft.plan.sas.push(PlannedSa {
            tunnel: draft.desired.tunnels[wish.tunnel].name.to_string(),
            child: wish.child.to_owned(),
            inbound: wish.inbound,
            spi: wish.spi,
            sa: SaIndex(given.index),
        });
    }
    outbound
        .into_iter()
        .map(|all| link(&mut draft.plan.world.sas, &wishes, &given, all))
        .collect()
}

/// Links the outbound SAs of a tunnel in the order in which workers shall try them.
fn link(sas: &mut [SaRecord], wishes: &[Wish<'_>], given: &[Option<Given>], mut all: Vec<usize>) -> Outbound {
    let mut children: Vec<&str> = Vec::new();
    for at in &all {
        if !children.contains(&wishes[*at].child) {
            children.push(wishes[*at].child);
        }
    }
    let place = |at: &usize| children.iter().position(|child| *child == wishes[*at].child);
    all.sort_by_key(|at| (place(at), wishes[*at].worker.is_none()));
    all.truncate(OUTBOUND_MAX);
    let everything = |at: &usize| covers_everything(&wishes[*at].selectors);
    let chooses = all.len() > 1 || !all.iter().all(everything) || all.iter().any(|at| wishes[*at].worker.is_some());
    let mut first = wildcard::NONE;
    for at in all.iter().rev() {
        if let Some(given) = given[*at] {
            sas[given.index as usize].next = core::mem::replace(&mut first, given.index);
        }
    }
    Outbound { first, chooses }
}

/// Whether any packet of either family is inside.
fn covers_everything(selectors: &[SelectorRecord]) -> bool {
    let all = |v6: bool| configured_range(Prefix::all(v6));
    [false, true].into_iter().map(all).all(|(first, last)| {
        selectors.iter().any(|selector| {
            (selector.local_first, selector.remote_first) == (first, first)
                && (selector.local_last, selector.remote_last) == (last, last)
        })
    })
}

fn configured_range(prefix: Prefix) -> (Address, Address) {
    (prefix.address().into(), prefix.last().into())
}

/// What is in use already: one nonce must never come twice, and one SPI must find one SA.
#[derive(Default)]
struct Used {
    keys: BTreeSet<String>,
    spis: BTreeSet<(u32, IpAddr)>,
}

fn wishes<'a>(draft: &mut Draft<'a>) -> Vec<Wish<'a>> {
    let (desired, learned) = (draft.desired, draft.learned);
    let (mut wishes, mut used) = (Vec::new(), Used::default());
    for (at, tunnel) in desired.tunnels.iter().enumerate() {
        let name = tunnel.name.as_str();
        if let Some(negotiated) = learned.negotiated.get(name) {
            negotiated_wishes(draft, &mut used, at, negotiated, &mut wishes);
        } else if let Some(pair) = learned.sa_keys.get(name) {
            manual_wishes(draft, &mut used, at, pair, &mut wishes);
        } else if tunnel.ike().is_some() {
            draft.warn(format!(
                "tunnel {name} is down: no keys are agreed on with its peer yet"
            ));
        } else {
            draft.warn(format!("tunnel {name} is down: it has no keys"));
        }
    }
    wishes
}

/// Both directions, or neither.
fn manual_wishes<'a>(draft: &mut Draft<'a>, used: &mut Used, at: usize, pair: &'a SaPair, wishes: &mut Vec<Wish<'a>>) {
    let tunnel = &draft.desired.tunnels[at];
    let selectors: Vec<SelectorRecord> = tunnel.selectors.iter().map(configured).collect();
    let wish = |key: &'a SaKey, inbound| Wish {
        tunnel: at,
        child: "",
        worker: None,
        inbound,
        spi: key.spi(),
        cipher: pair.cipher,
        key: key.key(),
        salt: key.salt(),
        esn: pair.esn,
        selectors: selectors.clone(),
        numbering: Numbering::Leased,
        fingerprint: fingerprint(pair.cipher, key.key(), &key.salt()),
    };
    let (outbound, inbound) = (wish(&pair.outbound, false), wish(&pair.inbound, true));
    if !used.keys.insert(outbound.fingerprint.clone()) {
        draft.warn(format!(
            "tunnel {} is down: another tunnel has the same keys",
            tunnel.name
        ));
    } else if !used.spis.insert((inbound.spi, tunnel.local)) {
        draft.warn(format!(
            "tunnel {} is down: another tunnel has its inbound SPI {:#x}",
            tunnel.name, inbound.spi
        ));
    } else {
        wishes.extend([outbound, inbound]);
    }
}

/// Each by itself: an SA that cannot be used takes no other with it.
fn negotiated_wishes<'a>(
    draft: &mut Draft<'a>,
    used: &mut Used,
    at: usize,
    negotiated: &'a Negotiated,
    wishes: &mut Vec<Wish<'a>>,
) {
    let tunnel = &draft.desired.tunnels[at];
    if let Some(why) = tunnels::wrong_path(draft.desired, tunnel, &negotiated.path) {
        draft.warn(format!("tunnel {} is down: {why}", tunnel.name));
        return;
    }
    let inbound = negotiated.inbound.iter().map(|sa| (sa, true));
    for (sa, inbound) in negotiated.outbound.iter().map(|sa| (sa, false)).chain(inbound) {
        let wish = negotiated_wish(at, sa, inbound);
        let why = if sa.spi < SPI_FIRST {
            Some("is reserved")
        } else if sa.selectors.len() > usize::from(u16::MAX) {
            Some("has more selectors than there is room for")
        } else if wish.selectors.len() != sa.selectors.len() {
            Some("has selectors of two families in one pair, or none between their ends")
        } else if inbound && !used.spis.insert((sa.spi, negotiated.path.local)) {
            Some("is another inbound SA's")
        } else if !inbound && !used.keys.insert(wish.fingerprint.clone()) {
            Some("has the key of another outbound SA")
        } else {
            None
        };
        match why {
            Some(why) => draft.warn(format!(
                "tunnel {}: child {} is incomplete: SPI {:#x} {why}",
                tunnel.name, sa.child, sa.spi
            )),
            None => wishes.push(wish),
        }
    }
}

fn negotiated_wish(at: usize, sa: &NegotiatedSa, inbound: bool) -> Wish<'_> {
    let (cipher, key, salt) = (sa.secret.cipher(), sa.secret.key(), sa.secret.salt());
    Wish {
        tunnel: at,
        child: &sa.child,
        worker: sa.worker.filter(|_| !inbound),
        inbound,
        spi: sa.spi,
        cipher,
        key,
        salt,
        esn: sa.esn,
        selectors: sa.selectors.iter().filter_map(agreed).collect(),
        numbering: Numbering::FromOne,
        fingerprint: fingerprint(cipher, key, &salt),
    }
}

/// Indices of the wishes, in their order. A manual tunnel has two or none.
fn assign(draft: &mut Draft<'_>, wishes: &[Wish<'_>]) -> Vec<Option<Given>> {
    let desired = draft.desired;
    let name = |wish: &Wish<'_>| {
        let (tunnel, direction) = (
            &desired.tunnels[wish.tunnel].name,
            if wish.inbound { "in" } else { "out" },
        );
        Wanted::name(format!("{tunnel} {direction} {:08x} {}", wish.spi, wish.fingerprint))
    };
    let wanted: Vec<Wanted> = wishes.iter().map(name).collect();
    let mut given = draft.plan.indices.sas.assign_rows(&wanted, desired.limits.sas as usize);
    for (at, wish) in wishes.iter().enumerate() {
        let tunnel = &desired.tunnels[wish.tunnel].name;
        match wish.numbering {
            // Manual SAs come in pairs, outbound first: half of one is of no use.
            Numbering::Leased if !wish.inbound && given[at..].iter().take(2).any(Option::is_none) => {
                for half in given[at..].iter_mut().take(2).filter_map(Option::take) {
                    draft.plan.indices.sas.give_back(half);
                }
                draft.warn(format!("tunnel {tunnel} is down: no free SA; raise limits.sas"));
            }
            Numbering::FromOne if given[at].is_none() => draft.warn(format!(
                "tunnel {tunnel}: child {} is incomplete: no free SA; raise limits.sas",
                wish.child
            )),
            Numbering::Leased | Numbering::FromOne => {}
        }
    }
    for (wish, given) in wishes.iter().zip(&given) {
        if let Some(given) = given.filter(|given| given.fresh) {
            let (sa, tunnel) = (SaIndex(given.index), desired.tunnels[wish.tunnel].name.to_string());
            draft.plan.actions.push(if wish.inbound {
                Action::StartInbound { sa, tunnel }
            } else {
                Action::StartOutbound {
                    sa,
                    tunnel,
                    numbering: wish.numbering,
                }
            });
        }
    }
    given
}

fn fingerprint(cipher: Cipher, key: &[u8], salt: &[u8; 4]) -> String {
    let mut digest = Digest::new("tombolo sa 1");
    digest.add(cipher.name().as_bytes());
    digest.add(key);
    digest.add(salt);
    digest.hex()
}

fn record(draft: &mut Draft<'_>, wish: &Wish<'_>, given: Given) -> SaRecord {
    let tunnel = &draft.desired.tunnels[wish.tunnel];
    let index = draft.tunnels[wish.tunnel];
    let mut room = [0; 32];
    for (place, byte) in room.iter_mut().zip(wish.key) {
        *place = *byte;
    }
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    SaRecord {
        key: room,
        salt: wish.salt,
        spi: wish.spi,
        tunnel: index.0,
        selector_first: selectors(&mut draft.plan.world.selectors, &wish.selectors),
        next: wildcard::NONE,
        selector_count: wish.selectors.len() as u16,
        key_version: given.version,
        cipher: match wish.cipher {
            Cipher::Aes128Gcm => cipher::AES_128_GCM,
            Cipher::Aes256Gcm => cipher::AES_256_GCM,
            Cipher::ChaCha20Poly1305 => cipher::CHACHA20_POLY1305,
        },
        flags: flag(wish.inbound, sa_flag::INBOUND)
            | flag(wish.esn, sa_flag::ESN)
            | flag(wish.numbering == Numbering::FromOne, sa_flag::NEGOTIATED)
            | flag(wish.worker.is_some(), sa_flag::OWN_WORKER)
            | flag(tunnel.replay_window == 0, sa_flag::NO_REPLAY_CHECK)
            | flag(tunnel.peer_window >= WIDE_WINDOW, sa_flag::WIDE_PEER_WINDOW),
        replay_window: tunnel.replay_window.max(WINDOW_MIN),
        // Spread, so that one worker does not seal for every narrow peer.
        sealing_worker: wish
            .worker
            .unwrap_or((index.0 % u32::from(draft.desired.workers.max(1))) as u16),
    }
}

/// Where a list of selectors begins in the table. The SAs of a tunnel, which come one after the other, share theirs.
fn selectors(all: &mut Vec<SelectorRecord>, wanted: &[SelectorRecord]) -> u32 {
    if !all.ends_with(wanted) {
        all.extend_from_slice(wanted);
    }
    (all.len() - wanted.len()) as u32
}

fn configured(selector: &Selector) -> SelectorRecord {
    SelectorRecord {
        remote_first: selector.remote.address().into(),
        remote_last: selector.remote.last().into(),
        local_first: selector.local.address().into(),
        local_last: selector.local.last().into(),
    }
}

/// None if it is no pair of ranges of one family.
fn agreed(pair: &SelectorPair) -> Option<SelectorRecord> {
    let SelectorPair { local, remote } = *pair;
    let v4 = [local.0, local.1, remote.0, remote.1].map(|address| address.is_ipv4());
    let ordered = local.0 <= local.1 && remote.0 <= remote.1;
    (v4 == [v4[0]; 4] && ordered).then(|| SelectorRecord {
        remote_first: remote.0.into(),
        remote_last: remote.1.into(),
        local_first: local.0.into(),
        local_last: local.1.into(),
    })
}
