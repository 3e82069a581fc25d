//! ECN and DSCP across a tunnel: RFC 6040 normal mode, RFC 2983 for DSCP. Works on the TOS / traffic class byte.

/// The two ECN bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable.
    NotEct = 0,
    /// ECN-capable, ECT(1).
    Ect1 = 1,
    /// ECN-capable, ECT(0).
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

/// Where the outer header's DSCP comes from (RFC 2983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dscp {
    /// From the inner header (uniform model).
    Copy,
    /// Always this value, 0–63 (pipe model).
    Fixed(u8),
}

const ECN_MASK: u8 = 0b11;

impl Ecn {
    /// The ECN bits of a TOS or traffic class byte.
    #[inline]
    pub fn of(tos: u8) -> Self {
        match tos & ECN_MASK {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }
}

/// The outer TOS for an inner one: ECN is copied (RFC 6040 §4.1, normal mode), DSCP as `dscp` says.
#[inline]
pub fn encapsulate(inner_tos: u8, dscp: Dscp) -> u8 {
    match dscp {
        Dscp::Copy => inner_tos,
        Dscp::Fixed(value) => value << 2 | inner_tos & ECN_MASK,
    }
}

/// The inner TOS after decapsulation, `None` if the packet must be dropped (RFC 6040 §4.2, figure 4): a router on the way
/// marked congestion that the inner transport could not understand. The inner DSCP stays.
#[inline]
pub fn decapsulate(inner_tos: u8, outer_tos: u8) -> Option<u8> {
    let ecn = match (Ecn::of(inner_tos), Ecn::of(outer_tos)) {
        (Ecn::NotEct, Ecn::Ce) => return None,
        (Ecn::NotEct, Ecn::NotEct | Ecn::Ect0 | Ecn::Ect1) => Ecn::NotEct,
        (Ecn::Ect0 | Ecn::Ect1 | Ecn::Ce, Ecn::Ce) | (Ecn::Ce, Ecn::NotEct | Ecn::Ect0 | Ecn::Ect1) => Ecn::Ce,
        (Ecn::Ect0, Ecn::Ect1) | (Ecn::Ect1, Ecn::NotEct | Ecn::Ect0 | Ecn::Ect1) => Ecn::Ect1,
        (Ecn::Ect0, Ecn::NotEct | Ecn::Ect0) => Ecn::Ect0,
    };
    Some(inner_tos & !ECN_MASK | ecn as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decapsulation_follows_figure_4() {
        use Ecn::{Ce, Ect0, Ect1, NotEct};
        let outer = [NotEct, Ect0, Ect1, Ce];
        let table = [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ];
        for (inner, row) in table {
            for (outer, expected) in outer.into_iter().zip(row) {
                // The inner DSCP (46) stays, whatever the outer one (10) is.
                let got = decapsulate(46 << 2 | inner as u8, 10 << 2 | outer as u8);
                assert_eq!(
                    got,
                    expected.map(|ecn| 46 << 2 | ecn as u8),
                    "inner {inner:?}, outer {outer:?}"
                );
            }
        }
    }

    #[test]
    fn encapsulation_copies_ecn_and_treats_dscp_by_choice() {
        for ecn in 0..4u8 {
            assert_eq!(encapsulate(46 << 2 | ecn, Dscp::Copy), 46 << 2 | ecn);
            assert_eq!(encapsulate(46 << 2 | ecn, Dscp::Fixed(0)), ecn);
            assert_eq!(encapsulate(46 << 2 | ecn, Dscp::Fixed(10)), 10 << 2 | ecn);
        }
    }
}
