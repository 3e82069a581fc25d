//! Whether a pre-shared key is fit for its tunnel. No error repeats what the key says.

use crate::model::{Credentials, IkeTunnel};
use crate::profile::profile;

/// Bytes of the shortest key that is accepted without `allow-short-secret`.
pub const PSK_BYTES_MIN: usize = 20;
/// Bytes of the longest key or file with one.
pub const PSK_BYTES_MAX: usize = 512;

/// The key in the text of its file: all of it but one line break at the end.
pub fn from_file(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Checks a key for a tunnel.
///
/// # Errors
/// Why the key is unfit and what to do; without a byte of it.
pub fn check(tunnel: &IkeTunnel, key: &[u8]) -> Result<(), String> {
    let Credentials::Psk { allow_short, .. } = &tunnel.credentials else {
        return Ok(());
    };
    if key.is_empty() || key.len() > PSK_BYTES_MAX {
        return Err(format!(
            "the secret has {} bytes: it has 1 to {PSK_BYTES_MAX}",
            key.len()
        ));
    }
    if key.len() < PSK_BYTES_MIN && !allow_short {
        return Err(format!(
            "the secret has {} bytes, and fewer than {PSK_BYTES_MIN} can be guessed by who recorded the first exchange; \
             make a longer one, or say `allow-short-secret: true`",
            key.len()
        ));
    }
    by_profile(tunnel, key)
}

fn by_profile(tunnel: &IkeTunnel, key: &[u8]) -> Result<(), String> {
    let profile = profile(tunnel.profile)?;
    let Some(rule) = profile.values.as_ref().and_then(|values| values.psk.as_ref()) else {
        return Ok(());
    };
    let (rule, peer) = (&rule.value, &profile.peer);
    if !(rule.least..=rule.most).contains(&key.len()) {
        let (least, most) = (rule.least, rule.most);
        return Err(format!(
            "{peer} takes secrets of {least} to {most} bytes, this one has {}",
            key.len()
        ));
    }
    if let Some(punctuation) = &rule.punctuation {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || punctuation.as_bytes().contains(byte);
        if !key.iter().all(allowed) {
            return Err(format!(
                "{peer} takes secrets of letters, digits and '{punctuation}' only"
            ));
        }
    }
    match key.first() {
        Some(first) if rule.not_first.as_bytes().contains(first) => {
            Err(format!("{peer} takes no secret that starts with '{}'", rule.not_first))
        }
        Some(_) | None => Ok(()),
    }
}
