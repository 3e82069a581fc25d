//! Lifetimes, rekeying and liveness.

use super::Stated;
use crate::problem::{Place, Problems};
use tombolo_ike::connection::Lifetime;

/// A child SA without extended sequence numbers is rekeyed long before they end (RFC 4303 §3.3.3).
const PACKETS_MAX: u64 = 3 << 30;

pub(super) struct Timing {
    pub(super) ike: Lifetime,
    pub(super) child: Lifetime,
    pub(super) bytes_max: u64,
    pub(super) packets_max: u64,
    pub(super) dpd_delay_ms: u64,
    pub(super) dpd_timeout_ms: u64,
}

pub(super) fn resolve(stated: &Stated<'_>, problems: &mut Problems) -> Timing {
    let (raw, values) = (stated.raw, stated.values);
    let esp = raw.esp.as_ref();
    let ike_stated = raw.ike.as_ref().and_then(|ike| ike.lifetime.as_ref());
    let child_stated = esp.and_then(|esp| esp.lifetime.as_ref());
    let ike_seconds = ike_stated.map_or(values.ike_lifetime.value.seconds, |at| at.value.0);
    let child_seconds = child_stated.map_or(values.child_lifetime.value.seconds, |at| at.value.0);
    let place = |at: Option<Place>| at.unwrap_or(raw.place);
    if child_seconds > ike_seconds {
        let message = format!("a child SA of {child_seconds} s outlives its IKE SA of {ike_seconds} s");
        let stated = child_stated.map(|at| at.place).or(ike_stated.map(|at| at.place));
        problems.add(place(stated), message);
    }
    let packets = esp.and_then(|esp| esp.packets.as_ref());
    if let Some(at) = packets.filter(|at| at.value.0 > PACKETS_MAX) {
        problems.add(at.place, format!("at most {PACKETS_MAX}: sequence numbers end"));
    }
    let dpd = raw.dpd.as_ref();
    let delay = dpd
        .and_then(|dpd| dpd.delay.as_ref())
        .map_or(values.dpd.value.delay_seconds, |at| at.value.0);
    let timeout = dpd.and_then(|dpd| dpd.timeout.as_ref());
    Timing {
        ike: lifetime(stated, ike_seconds, place(ike_stated.map(|at| at.place)), problems),
        child: lifetime(stated, child_seconds, place(child_stated.map(|at| at.place)), problems),
        // Before the peer does it.
        bytes_max: esp.and_then(|esp| esp.bytes.as_ref()).map_or_else(
            || values.child_bytes.as_ref().map_or(0, |bytes| bytes.value / 5 * 4),
            |at| at.value.0,
        ),
        packets_max: packets
            .map(|at| at.value.0)
            .filter(|packets| *packets != 0)
            .unwrap_or(PACKETS_MAX),
        dpd_delay_ms: u64::from(delay) * 1000,
        dpd_timeout_ms: timeout.map_or(values.dpd.value.timeout_seconds, |at| at.value.0) as u64 * 1000,
    }
}

/// Rekeying comes `margin * (1 ..= 1 + fuzz)` before the end. A profile's margin shrinks with a lifetime that was shortened.
fn lifetime(stated: &Stated<'_>, seconds: u32, place: Place, problems: &mut Problems) -> Lifetime {
    let rekey = stated.raw.rekey.as_ref();
    let hard_ms = u64::from(seconds) * 1000;
    let stated_margin = rekey.and_then(|rekey| rekey.margin.as_ref());
    let percent = rekey.and_then(|rekey| rekey.fuzz_percent.as_ref());
    let percent = u64::from(percent.map_or(stated.values.rekey.value.fuzz_percent, |at| at.value.0));
    let margin_ms = match stated_margin {
        Some(margin) => u64::from(margin.value.0) * 1000,
        None => (u64::from(stated.values.rekey.value.margin_seconds) * 1000).min(hard_ms / 4),
    };
    let fuzz_ms = margin_ms.saturating_mul(percent) / 100;
    let rekey_ms = hard_ms.saturating_sub(margin_ms);
    if margin_ms.saturating_add(fuzz_ms) >= hard_ms {
        let place = stated_margin.map_or(place, |at| at.place);
        let message = format!(
            "rekeying would come {} s before the end of a lifetime of {seconds} s",
            (margin_ms + fuzz_ms) / 1000
        );
        problems.hint(
            place,
            message,
            "shorten `rekey: margin` or `fuzz-percent`, or lengthen the lifetime",
        );
    }
    Lifetime {
        rekey_ms,
        fuzz_ms: fuzz_ms.min(rekey_ms),
        hard_ms,
    }
}
