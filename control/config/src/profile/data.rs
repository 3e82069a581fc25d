//! The shape of a profile's data file, and what must hold in it.

use super::algorithms::{self, Kind, Transforms};
use crate::model::{Ceiling, ProfileName};
use crate::value::{Prefix, shorten};
use core::net::IpAddr;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A kind of peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// As in the configuration.
    pub profile: String,
    /// What messages call the peer: "AWS".
    pub peer: String,
    /// Its full name.
    pub title: String,
    /// What to set at the peer so that it speaks what Tombolo speaks.
    pub policy: String,
    /// Where the values are from, by the names that they use.
    pub sources: BTreeMap<String, Source>,
    /// Why no tunnel can have this profile.
    #[serde(default)]
    pub refused: Option<Sourced<String>>,
    /// What a tunnel with this profile is made of; none if it is refused.
    #[serde(default)]
    pub values: Option<Values>,
}

/// Where a value is from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Address of the page, or file of a repository.
    pub url: String,
    /// When it was read: YYYY-MM-DD.
    pub date: String,
}

/// A value and the name of its source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Key of [`Profile::sources`].
    pub source: String,
}

/// Everything that a profile says of a tunnel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Values {
    /// What the peer accepts for an IKE SA; none = anything.
    #[serde(default)]
    pub ike_accepts: Option<Sourced<Transforms>>,
    /// What we propose for it, best first.
    pub ike_offer: Sourced<Vec<Transforms>>,
    /// What the peer accepts for ESP; none = anything.
    #[serde(default)]
    pub esp_accepts: Option<Sourced<Transforms>>,
    /// What we propose for it, best first.
    pub esp_offer: Sourced<Vec<Transforms>>,
    /// A child SA is rekeyed with a key exchange of its own.
    pub pfs_required: Sourced<bool>,
    /// Extended sequence numbers.
    pub esn: Sourced<Esn>,
    /// Of an IKE SA.
    pub ike_lifetime: Sourced<Span>,
    /// Of a child SA.
    pub child_lifetime: Sourced<Span>,
    /// Bytes after which the peer replaces a child SA.
    #[serde(default)]
    pub child_bytes: Option<Sourced<u64>>,
    /// How long before the end of a lifetime.
    pub rekey: Sourced<Rekey>,
    /// Dead peer detection.
    pub dpd: Sourced<Dpd>,
    /// Our window in packets, 0 = none.
    pub replay_window: Sourced<u16>,
    /// The peer's window in packets.
    pub peer_window: Sourced<u16>,
    /// Who starts, and how.
    pub start: Sourced<Start>,
    /// `psk` and `certificate`.
    pub authentication: Sourced<Vec<String>>,
    /// What a pre-shared key may look like; none = anything.
    #[serde(default)]
    pub psk: Option<Sourced<PskRule>>,
    /// Post-quantum pre-shared keys (RFC 8784).
    pub ppk: Sourced<bool>,
    /// Child SAs.
    pub children: Sourced<Children>,
    /// Addresses inside the tunnel, IPv4; none = any.
    #[serde(default)]
    pub inside4: Option<Sourced<InsideRule>>,
    /// IPv6; none = any.
    #[serde(default)]
    pub inside6: Option<Sourced<InsideRule>>,
    /// Largest outer packet that the peer takes, in bytes.
    #[serde(default)]
    pub outer_mtu: Option<Sourced<u16>>,
    /// Largest inner packet that it publishes, in bytes.
    #[serde(default)]
    pub inner_mtu: Option<Sourced<InnerMtuTable>>,
    /// BGP prefixes.
    #[serde(default)]
    pub prefixes: Option<Sourced<Prefixes>>,
    /// What passes a tunnel.
    #[serde(default)]
    pub ceilings: Option<Sourced<Ceilings>>,
    /// Largest IKE datagram in bytes.
    pub fragment_bytes: Sourced<u16>,
    /// One child SA for each worker (RFC 9611).
    pub per_worker: Sourced<bool>,
}

/// Extended sequence numbers: what we propose, best first, and what the peer takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Esn {
    /// Ours.
    pub offer: Vec<bool>,
    /// The peer's.
    pub accepts: Vec<bool>,
}

/// A lifetime in seconds, and its bounds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Unless the tunnel says otherwise.
    pub seconds: u32,
    /// Shortest.
    pub least: u32,
    /// Longest.
    pub most: u32,
}

/// Rekeying comes `margin * (1 to 1 + fuzz)` before the end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rekey {
    /// Margin.
    pub margin_seconds: u32,
    /// Fuzz.
    pub fuzz_percent: u32,
}

/// Dead peer detection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dpd {
    /// Silence before we ask.
    pub delay_seconds: u32,
    /// Without an answer.
    pub timeout_seconds: u32,
    /// Shortest timeout that is of use.
    pub timeout_least: u32,
}

/// Who starts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Start {
    /// We may wait for the peer.
    pub responder: bool,
    /// From UDP 4500 on.
    #[serde(rename = "on-4500")]
    pub on_4500: bool,
    /// `remote: any` makes sense.
    pub anywhere: bool,
}

/// What a pre-shared key may look like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PskRule {
    /// Least bytes.
    pub least: usize,
    /// Most bytes.
    pub most: usize,
    /// Beside letters and digits; none = any character.
    #[serde(default)]
    pub punctuation: Option<String>,
    /// Characters that it must not start with.
    #[serde(default)]
    pub not_first: String,
}

/// How many child SAs, and of which families.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Children {
    /// Most of one tunnel.
    pub most: usize,
    /// IPv6 through the tunnel.
    pub v6: Families,
}

/// IPv6 through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Families {
    /// No.
    Never,
    /// Instead of IPv4.
    Alone,
    /// Beside IPv4.
    Both,
}

/// Which addresses a tunnel may have inside.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsideRule {
    /// Prefix lengths; empty = any.
    pub lengths: Vec<u8>,
    /// Networks or ranges.
    pub within: Vec<String>,
    /// Reserved networks.
    #[serde(default)]
    pub except: Vec<String>,
}

/// Published sizes of inner packets in bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerMtuTable {
    /// ESP in IPv4.
    #[serde(default)]
    pub plain: Option<u16>,
    /// ESP in UDP in IPv4.
    #[serde(default)]
    pub udp: Option<u16>,
    /// ESP in IPv6.
    #[serde(default)]
    pub plain6: Option<u16>,
}

/// BGP prefixes that the peer takes and sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefixes {
    /// Most that we may announce.
    #[serde(default)]
    pub announce: Option<u32>,
    /// Most that it announces.
    #[serde(default)]
    pub learn: Option<u32>,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

/// What passes a tunnel, by what it depends on: `tunnel`, or the size of the peer's gateway.
pub type Ceilings = BTreeMap<String, CeilingRow>;

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilingRow {
    /// Bit per second.
    #[serde(default)]
    pub bits: Option<u64>,
    /// Packets per second.
    #[serde(default)]
    pub packets: Option<u64>,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

impl From<&CeilingRow> for Ceiling {
    fn from(row: &CeilingRow) -> Ceiling {
        Ceiling {
            bits: row.bits,
            packets: row.packets,
        }
    }
}

impl InsideRule {
    /// Why a network cannot be used, if so.
    pub(crate) fn unfit(&self, network: Prefix) -> Option<String> {
        if !self.lengths.is_empty() && !self.lengths.contains(&network.length()) {
            let lengths: Vec<String> = self.lengths.iter().map(|length| format!("/{length}")).collect();
            return Some(format!("{network} is no {}", lengths.join(" or ")));
        }
        if let Some(reserved) = self.except.iter().find(|except| {
            range(except).is_some_and(|(first, last)| first <= network.last() && network.address() <= last)
        }) {
            return Some(format!("{reserved} is reserved"));
        }
        let holds = |within: &String| {
            range(within).is_some_and(|(first, last)| {
                first.is_ipv4() == network.address().is_ipv4() && first <= network.address() && network.last() <= last
            })
        };
        (!self.within.iter().any(holds)).then(|| format!("{network} is not within {}", self.within.join(", ")))
    }
}

/// First and last address of a network or range.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        return Some((first.parse().ok()?, last.parse().ok()?));
    }
    let prefix = Prefix::parse(text).ok()?;
    Some((prefix.address(), prefix.last()))
}

/// Reads one file.
pub(super) fn read(name: ProfileName, text: &str) -> Result<Profile, String> {
    let profile: Profile = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    if profile.profile != name.as_str() {
        return Err(format!("it is called {}", shorten(&profile.profile)));
    }
    if profile.refused.is_some() == profile.values.is_some() {
        return Err("either it is refused, or it has values".into());
    }
    for (key, source) in &profile.sources {
        if source.url.is_empty() || !is_date(&source.date) {
            return Err(format!("source {key} lacks its address or date"));
        }
    }
    check_sources(&profile)?;
    match &profile.values {
        Some(values) => check_values(values)?,
        None if name == ProfileName::AzureDefault => {}
        None => return Err("only azure-default may be refused".into()),
    }
    Ok(profile)
}

fn is_date(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| {
        if at == 4 || at == 7 {
            byte == b'-'
        } else {
            byte.is_ascii_digit()
        }
    };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}

fn check_sources(profile: &Profile) -> Result<(), String> {
    let mut used: Vec<&str> = profile.refused.iter().map(|refused| refused.source.as_str()).collect();
    if let Some(values) = &profile.values {
        used.extend(sources(values));
    }
    match used.iter().find(|source| !profile.sources.contains_key(**source)) {
        Some(source) => Err(format!("there is no source {source}")),
        None => Ok(()),
    }
}

fn sources(values: &Values) -> Vec<&str> {
    macro_rules! sources {
        ($($field:ident)*; $($optional:ident)*) => {{
            let mut all = vec![$(values.$field.source.as_str()),*];
            $(all.extend(values.$optional.iter().map(|sourced| sourced.source.as_str()));)*
            all
        }};
    }
    sources!(ike_offer esp_offer pfs_required esn ike_lifetime child_lifetime rekey dpd replay_window peer_window start
        authentication ppk children fragment_bytes per_worker;
        ike_accepts esp_accepts child_bytes psk inside4 inside6 outer_mtu inner_mtu prefixes ceilings)
}

/// What the rest of the crate relies on.
fn check_values(values: &Values) -> Result<(), String> {
    let offers = [(Kind::Ike, &values.ike_offer), (Kind::Esp, &values.esp_offer)];
    for (kind, offer) in offers {
        let accepts = if kind == Kind::Ike {
            &values.ike_accepts
        } else {
            &values.esp_accepts
        };
        if offer.value.is_empty() {
            return Err("nothing is offered".into());
        }
        for proposal in &offer.value {
            algorithms::check(kind, proposal)?;
            if let Some(accepts) = accepts
                && let Some(word) = accepts.value.lacks(proposal)
            {
                return Err(format!("{word} is offered, but not accepted"));
            }
        }
    }
    for span in [&values.ike_lifetime.value, &values.child_lifetime.value] {
        if !(span.least..=span.most).contains(&span.seconds) {
            return Err(format!("a lifetime of {} s is out of its own bounds", span.seconds));
        }
    }
    let known = |word: &String| word == "psk" || word == "certificate";
    if values.authentication.value.is_empty() || !values.authentication.value.iter().all(known) {
        return Err("authentication is psk or certificate".into());
    }
    if values.children.value.most == 0 || values.esn.value.offer.is_empty() {
        return Err("a tunnel has a child and says of ESN yes or no".into());
    }
    for rule in [&values.inside4, &values.inside6].into_iter().flatten() {
        if let Some(text) = rule
            .value
            .within
            .iter()
            .chain(&rule.value.except)
            .find(|text| range(text).is_none())
        {
            return Err(format!("{text} is no network"));
        }
    }
    let empty = |ceilings: &Sourced<Ceilings>| ceilings.value.is_empty();
    if values.ceilings.as_ref().is_some_and(empty) {
        return Err("ceilings without a row".into());
    }
    Ok(())
}
