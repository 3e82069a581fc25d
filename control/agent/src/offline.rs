//! `tombolo sa init --offline`: accepts a new key before tombolod runs for the first time.

use crate::files::{self, Lock};
use crate::leases::{Fingerprint, Leases};
use crate::paths::Paths;
use crate::secret_files;
use anyhow::Context;
use std::path::Path;
use tombolo_api::SaInitDone;

/// Declares the outbound key of `tunnel` new. The configuration is `config`, else the stored one. Holds tombolod's lock: two
/// writers of leases could lose one of two limits.
pub fn sa_init(paths: &Paths, config: Option<&Path>, tunnel: &str) -> anyhow::Result<SaInitDone> {
    paths.create().context("cannot make the gateway's directories")?;
    let _lock = Lock::take(&paths.lock()).context("tombolod runs: leave out --offline")?;
    let stored = paths.stored_config();
    let config = config.unwrap_or(&stored);
    let text = files::read_text(config).with_context(|| format!("cannot read {}", config.display()))?;
    let desired = tombolo_config::parse(&text, &config.display().to_string())
        .map_err(|problems| anyhow::anyhow!("{}", problems.first().map(ToString::to_string).unwrap_or_default()))?;
    let known = desired.tunnels.iter().find(|known| known.name.as_str() == tunnel);
    let known = known.with_context(|| format!("there is no tunnel {tunnel}"))?;
    let manual = known
        .manual()
        .with_context(|| format!("tunnel {tunnel} is keyed by IKEv2 and has no key file"))?;
    let pair = secret_files::manual_keys(&paths.secrets, manual).map_err(anyhow::Error::msg)?;
    let fingerprint = Fingerprint::from(&pair);
    let fresh = Leases::new(paths.leases()).init(tunnel, &fingerprint)?;
    Ok(SaInitDone {
        tunnel: tunnel.into(),
        fingerprint: fingerprint.to_string(),
        fresh,
    })
}
