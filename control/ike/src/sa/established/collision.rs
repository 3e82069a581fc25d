//! Who wins when both sides replace the same SA at once (RFC 7296 §2.8.1, §2.8.2): of the four nonces, the exchange with the lowest
//! one loses, and who began it deletes what it made.

use crate::wire::Nonce;

/// The lower of an exchange's two nonces, compared byte by byte.
pub(crate) fn lowest(one: &Nonce, other: &Nonce) -> Nonce {
    if one.bytes() <= other.bytes() {
        one.clone()
    } else {
        other.clone()
    }
}

/// Whether our exchange loses.
pub(super) fn ours_loses(ours: &Nonce, theirs: &Nonce) -> bool {
    ours.bytes() < theirs.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(first: u8) -> Nonce {
        Nonce::new(vec![first; 32]).unwrap()
    }

    #[test]
    fn the_lowest_of_four_loses_on_both_sides() {
        let (a, b) = (lowest(&nonce(4), &nonce(9)), lowest(&nonce(7), &nonce(5)));
        assert_eq!((a.bytes()[0], b.bytes()[0]), (4, 5));
        assert!(ours_loses(&a, &b) && !ours_loses(&b, &a));
    }
}
