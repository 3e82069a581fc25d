//! `tombolo preflight`: whether each tunnel will come up at its peer, and how large its packets may be. Offline.

use super::check;
use super::{print, print_json};
use crate::failure::Failure;
use crate::table::Table;
use std::fmt::Display;
use std::path::Path;
use tombolo_agent::ike::{clock, credentials};
use tombolo_agent::secret_files;
use tombolo_config::preflight::{self, Finding, Report, Size, Verdict};
use tombolo_config::{Gateway, Keying};

pub(super) fn run(file: &Path, secrets: Option<&Path>, json: bool) -> Result<(), Failure> {
    let (gateway, _) = check::gateway_in_silence(file)?;
    let mut reports = preflight::preflight(&gateway);
    if let Some(directory) = secrets {
        look_at_secrets(&gateway, directory, &mut reports);
    }
    if json {
        print_json(&reports)?;
    } else {
        print(&text(&reports))?;
    }
    match reports.iter().filter(|report| !report.ok).count() {
        0 => Ok(()),
        bad => Err(Failure::Told(format!(
            "{bad} of {} tunnels will not come up",
            reports.len()
        ))),
    }
}

/// Reads the secrets that the tunnels name, as tombolod would.
fn look_at_secrets(gateway: &Gateway, directory: &Path, reports: &mut [Report]) {
    let unix = clock::now().unix;
    for (tunnel, report) in gateway.tunnels.iter().zip(reports) {
        let bad = |about, why| Finding::new(about, Verdict::Bad, why, None);
        match &tunnel.keying {
            Keying::Manual(manual) => match secret_files::manual_keys(directory, manual) {
                Ok(_) => report.add(Finding::new("keys", Verdict::Good, "read".to_owned(), None)),
                Err(why) => report.add(bad("keys", why)),
            },
            Keying::Ike(ike) => match credentials::read(ike, directory) {
                Ok(secrets) => preflight::secrets(tunnel, &secrets, unix)
                    .into_iter()
                    .for_each(|finding| report.add(finding)),
                Err(unread) => unread.into_iter().for_each(|one| report.add(bad(one.what, one.why))),
            },
        }
    }
}

fn text(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "no tunnels\n".into();
    }
    let titles = [
        "TUNNEL",
        "PROFILE",
        "COMES UP",
        "MTU",
        "MSS",
        "MSS6",
        "MTU IN UDP",
        "MBIT/S",
        "PACKETS/S",
    ];
    let mut summary = Table::new(&titles);
    for report in reports {
        let size = report.sizes.plain.or(report.sizes.udp);
        let or_dash = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let mtu = |size: Option<Size>| or_dash(size.map(|size| size.mtu.into()));
        summary.row([
            &report.tunnel,
            &report.profile,
            &if report.ok { "yes" } else { "no" },
            &mtu(report.sizes.plain),
            &or_dash(size.map(|size| size.mss4.into())),
            &or_dash(size.map(|size| size.mss6.into())),
            &mtu(report.sizes.udp),
            &or_dash(report.bits_max.map(|bits| bits / 1_000_000)),
            &or_dash(report.packets_max),
        ]);
    }
    let mut findings = Table::new(&["TUNNEL", "ABOUT", "", "WHAT"]);
    for report in reports {
        for finding in &report.findings {
            findings.row([
                &report.tunnel,
                &finding.about,
                &verdict(finding.verdict),
                &words(finding),
            ]);
        }
        if report.sizes.link_assumed {
            let text = format!(
                "the underlay's port says no `mtu`: taken for {} bytes",
                report.sizes.link
            );
            findings.row([&report.tunnel as &dyn Display, &"mtu", &verdict(Verdict::Note), &text]);
        }
    }
    format!("{summary}\n{findings}")
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Note => "note",
        Verdict::Bad => "BAD",
    }
}

fn words(finding: &Finding) -> String {
    match &finding.hint {
        Some(hint) => format!("{}; {hint}", finding.text),
        None => finding.text.clone(),
    }
}
