//! Whether a tunnel will come up at its peer, and how large its packets may be: the configuration held against the profile's
//! data, offline. The data may be older than the cloud, so its objections are warnings for `check` and failures for `preflight`.

mod secrets;
mod terms;

pub use secrets::secrets;

use crate::model::{Gateway, IkeTunnel, Keying, Remote, Tunnel};
use crate::profile::{Profile, Values, profile};
use core::net::IpAddr;
use serde::Serialize;
use tombolo_ike::identity::Identity;
use tombolo_wire::mtu::mss;

/// What a link carries whose port does not say it.
pub const LINK_MTU_DEFAULT: u16 = 1500;

/// What is to be expected of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its name.
    pub tunnel: String,
    /// Its profile; `manual` for a tunnel with manual keys.
    pub profile: String,
    /// No finding is bad.
    pub ok: bool,
    /// One by one.
    pub findings: Vec<Finding>,
    /// Sizes of inner packets.
    pub sizes: Sizes,
    /// Bit per second that the peer's operator lets through.
    pub bits_max: Option<u64>,
    /// Packets per second.
    pub packets_max: Option<u64>,
}

/// Sizes in bytes: what goes through in one piece. Nothing is said of an encapsulation that the tunnel does not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// What the underlay's link carries.
    pub link: u16,
    /// The link's size was not stated but taken for the usual one.
    pub link_assumed: bool,
    /// ESP straight in IP.
    pub plain: Option<Size>,
    /// ESP in UDP.
    pub udp: Option<Size>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Largest inner packet.
    pub mtu: u16,
    /// TCP payload over IPv4.
    pub mss4: u16,
    /// TCP payload over IPv6.
    pub mss6: u16,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: "ike", "pfs", ….
    pub about: &'static str,
    /// How it looks.
    pub verdict: Verdict,
    /// In words.
    pub text: String,
    /// What to do, where something is to be done.
    pub hint: Option<String>,
}

/// How something looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As the peer wants it.
    Good,
    /// Good to know.
    Note,
    /// The tunnel will not come up, or not carry what it shall.
    Bad,
}

/// Reports on all tunnels, in the order of the file.
pub fn preflight(gateway: &Gateway) -> Vec<Report> {
    gateway.tunnels.iter().map(|tunnel| report(gateway, tunnel)).collect()
}

/// What the profile's data says against a tunnel.
pub(crate) fn objections(gateway: &Gateway, tunnel: &Tunnel) -> Vec<String> {
    let bad = |finding: &Finding| finding.verdict == Verdict::Bad;
    let report = report(gateway, tunnel);
    report
        .findings
        .into_iter()
        .filter(bad)
        .map(|finding| finding.text)
        .collect()
}

impl Report {
    /// Adds what was found elsewhere.
    pub fn add(&mut self, finding: Finding) {
        self.ok &= finding.verdict != Verdict::Bad;
        self.findings.push(finding);
    }
}

impl Finding {
    pub(crate) fn good(about: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(about, Verdict::Good, text.into(), None)
    }

    pub(crate) fn note(about: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(about, Verdict::Note, text.into(), None)
    }

    pub(crate) fn bad(about: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding::new(about, Verdict::Bad, text.into(), Some(hint.into()))
    }

    /// A finding.
    pub fn new(about: &'static str, verdict: Verdict, text: String, hint: Option<String>) -> Finding {
        Finding {
            about,
            verdict,
            text,
            hint,
        }
    }
}

fn report(gateway: &Gateway, tunnel: &Tunnel) -> Report {
    let ceiling = tunnel.ike().map(|ike| ike.ceiling).unwrap_or_default();
    let mut report = Report {
        tunnel: tunnel.name.to_string(),
        profile: tunnel.ike().map_or("manual".into(), |ike| ike.profile.to_string()),
        ok: true,
        findings: Vec::new(),
        sizes: sizes(gateway, tunnel),
        bits_max: ceiling.bits,
        packets_max: ceiling.packets,
    };
    let Some(ike) = tunnel.ike() else { return report };
    match profile(ike.profile).map(|profile| (profile, &profile.values)) {
        Ok((profile, Some(values))) => findings(
            &Case {
                gateway,
                tunnel,
                ike,
                profile,
                values,
            },
            &mut report,
        ),
        Ok((profile, None)) => report.add(Finding::bad("profile", "it is refused", profile.policy.clone())),
        Err(error) => report.add(Finding::bad("profile", error, "this is a fault of Tombolo")),
    }
    report
}

/// A tunnel and what its peer wants.
struct Case<'a> {
    gateway: &'a Gateway,
    tunnel: &'a Tunnel,
    ike: &'a IkeTunnel,
    profile: &'a Profile,
    values: &'a Values,
}

fn findings(case: &Case<'_>, report: &mut Report) {
    terms::negotiation(case, report);
    terms::lifetimes(case, report);
    who_starts(case, report);
    proof(case, report);
    inside(case, report);
    path(case, report);
    limits(case, report);
}

fn sizes(gateway: &Gateway, tunnel: &Tunnel) -> Sizes {
    let stated = gateway.port(tunnel.port).mtu;
    let link = stated.unwrap_or(LINK_MTU_DEFAULT);
    let size = |udp: bool| {
        let mtu = tunnel.inner_mtu(link, udp);
        Size {
            mtu,
            mss4: mss(mtu, false),
            mss6: mss(mtu, true),
        }
    };
    let (plain, udp) = match &tunnel.keying {
        Keying::Manual(manual) => match manual.encapsulation {
            crate::Encapsulation::None => (true, false),
            crate::Encapsulation::Udp { .. } => (false, true),
        },
        Keying::Ike(ike) => (!ike.force_udp, true),
    };
    Sizes {
        link,
        link_assumed: stated.is_none(),
        plain: plain.then(|| size(false)),
        udp: udp.then(|| size(true)),
    }
}

fn who_starts(case: &Case<'_>, report: &mut Report) {
    let Case {
        ike,
        profile,
        values,
        tunnel,
        ..
    } = case;
    let peer = &profile.peer;
    if !ike.initiate && !values.start.value.responder {
        let hint = "leave `start` away";
        report.add(Finding::bad(
            "start",
            format!("{peer} never starts, and neither do we"),
            hint,
        ));
    } else {
        let who = if ike.initiate { "we start" } else { "the peer starts" };
        report.add(Finding::good("start", who));
    }
    if values.start.value.on_4500 && !ike.start_on_4500 && is_private(tunnel.local) {
        let text = format!(
            "{} is behind NAT, and {peer} does not follow from port 500 to 4500",
            tunnel.local
        );
        report.add(Finding::bad("nat-t", text, "leave `nat-t` away"));
    } else {
        let how = match (ike.start_on_4500, ike.force_udp) {
            (true, _) => "from the first message on UDP 4500",
            (false, true) => "ESP in UDP in any case",
            (false, false) => "ESP in UDP where a NAT is found",
        };
        report.add(Finding::good("nat-t", how));
    }
    if let Identity::Address(own) = ike.own_identity
        && is_private(own)
        && !matches!(ike.remote, Remote::Any)
        && values.ike_accepts.is_some()
    {
        let text = format!("we say that we are {own}; behind NAT, {peer} expects the address that it sees");
        report.add(Finding::new(
            "identity",
            Verdict::Note,
            text,
            Some("add `local-id: ip:PUBLIC-ADDRESS`".into()),
        ));
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64,
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

fn proof(case: &Case<'_>, report: &mut Report) {
    let Case {
        ike, profile, values, ..
    } = case;
    let method = match ike.credentials {
        crate::Credentials::Psk { .. } => "psk",
        crate::Credentials::Certificate { .. } => "certificate",
    };
    if values.authentication.value.iter().any(|known| known == method) {
        report.add(Finding::good("authentication", method));
    } else {
        let text = format!("{} does not take a {method}", profile.peer);
        report.add(Finding::bad("authentication", text, "use `secret: file:NAME`"));
    }
    match &ike.ppk {
        Some(ppk) if ppk.required && !values.ppk.value => {
            let text = format!(
                "{} knows no post-quantum pre-shared keys, and ours is required",
                profile.peer
            );
            report.add(Finding::bad("ppk", text, "remove `ppk`, or say `required: false`"));
        }
        Some(_) => report.add(Finding::good("ppk", "offered")),
        None => {}
    }
}

fn inside(case: &Case<'_>, report: &mut Report) {
    let Case {
        ike, profile, values, ..
    } = case;
    for address in &ike.inside {
        let rule = if address.address().is_ipv6() {
            &values.inside6
        } else {
            &values.inside4
        };
        match rule.as_ref().and_then(|rule| rule.value.unfit(address.prefix())) {
            Some(why) => {
                let hint = format!("use the address that {} gives for the tunnel", profile.peer);
                report.add(Finding::bad("inside", format!("{address}: {why}"), hint));
            }
            None => report.add(Finding::good("inside", address.to_string())),
        }
    }
}

/// A port whose MTU is larger than what the peer takes is no fault: packets are made to fit.
fn path(case: &Case<'_>, report: &mut Report) {
    let sizes = report.sizes.clone();
    let smallest = [sizes.plain, sizes.udp]
        .into_iter()
        .flatten()
        .map(|size| size.mtu)
        .min();
    let v6 = case.tunnel.selectors.iter().any(|selector| selector.local.is_v6());
    // RFC 8200 §5: IPv6 needs links of 1280 bytes.
    if v6 && smallest.is_some_and(|mtu| mtu < 1280) {
        let text = format!(
            "{} bytes are left for an inner packet, and IPv6 needs 1280",
            smallest.unwrap_or(0)
        );
        report.add(Finding::bad("mtu", text, "raise the MTU of the underlay's port"));
    } else if smallest.is_some_and(|mtu| mtu < 576) {
        report.add(Finding::bad(
            "mtu",
            "no usable packet fits",
            "raise the MTU of the underlay's port",
        ));
    }
}

fn limits(case: &Case<'_>, report: &mut Report) {
    let Case {
        values,
        profile,
        ike,
        tunnel,
        gateway,
    } = case;
    if let Some(prefixes) = values.prefixes.as_ref().map(|sourced| &sourced.value) {
        let mut parts = Vec::new();
        parts.extend(
            prefixes
                .announce
                .map(|most| format!("{} takes {most} BGP prefixes", profile.peer)),
        );
        parts.extend(prefixes.learn.map(|most| format!("sends up to {most}")));
        parts.extend(prefixes.note.clone());
        report.add(Finding::note("prefixes", parts.join("; ")));
    }
    let rows = values.ceilings.as_ref().map(|sourced| &sourced.value);
    if let Some(note) = rows
        .and_then(|rows| rows.get("tunnel"))
        .and_then(|row| row.note.as_ref())
    {
        report.add(Finding::note("ceiling", format!("packets per second: {note}")));
    }
    if rows.is_some() && ike.ceiling == Default::default() {
        let text = format!("depends on the size of {}'s gateway", profile.peer);
        report.add(Finding::new("ceiling", Verdict::Note, text, Some("add `sku`".into())));
    }
    let bundle = |bundle: &&crate::Bundle| bundle.tunnels.iter().any(|id| gateway.tunnel(*id).name == tunnel.name);
    if let Some(bundle) = gateway.bundles.iter().find(bundle) {
        report.add(Finding::note(
            "bundle",
            format!("one of {} in {}", bundle.tunnels.len(), bundle.name),
        ));
    }
}
