//! Translation of an ICMP error through NAT (RFC 5508 §4): the quoted packet goes back to what its sender wrote, the outer
//! packet to whom it concerns, and every checksum follows.

use crate::checksum::{Delta, Sum};
use crate::edit::{self, ICMP_CHECKSUM, Rewrite, covered_by_icmp, patch};
use crate::headers::{Addresses, Headers};

/// The part of an L4 header that a rewrite can touch: up to the end of the TCP checksum, rounded up.
const L4_TOUCHED: usize = 20;

/// Rewrites an ICMP error in place, in either direction: the outer addresses become `outer_to`, the quoted packet's
/// addresses and ports `quoted_to` (in the quoted packet's own orientation). Corrects the outer IPv4 header checksum, the
/// quoted one, the quoted L4 checksum if the quote holds it, and the ICMP checksum over all that.
///
/// `outer` comes from `parse_ip`, `quoted` from [`super::quoted`], both of this frame.
///
/// # Panics
/// If a target is of another address family than what it replaces.
pub fn translate_error(frame: &mut [u8], outer: &Headers, quoted: &Headers, outer_to: &Addresses, quoted_to: &Rewrite) {
    let touched = touched(quoted);
    let before = Sum::default().bytes(&frame[touched.clone()]);
    edit::rewrite(frame, quoted, quoted_to);
    let after = Sum::default().bytes(&frame[touched]);

    let addresses = edit::rewrite_addresses(frame, outer, outer_to);
    let delta = covered_by_icmp(outer, addresses).and(Delta::default().sums(before, after));
    patch(
        &mut frame[..usize::from(outer.end)],
        usize::from(outer.l4) + ICMP_CHECKSUM,
        delta,
    );
}

/// All bytes of the quote that a rewrite may change. They begin an even number of bytes into the ICMP message, so their sum
/// is a part of the message's.
fn touched(quoted: &Headers) -> std::ops::Range<usize> {
    let end = usize::from(quoted.end).min(usize::from(quoted.l4) + L4_TOUCHED);
    usize::from(quoted.l3)..end
}
