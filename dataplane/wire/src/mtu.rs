//! Largest inner packet that a tunnel carries, and the MSS that follows: pure functions.
//!
//! The function is compared in the tests with the tables that AWS and Google publish. `decisions/tunnel-mtu.md` says why
//! the smaller of the computed and the published value counts ([`with_published`]).

/// Bytes of an IPv4 header without options.
const IPV4_HEADER: u16 = 20;
/// Bytes of an IPv6 header.
const IPV6_HEADER: u16 = 40;
/// Bytes of a UDP header.
const UDP_HEADER: u16 = 8;
/// Bytes of SPI and sequence number (RFC 4303 §2).
const ESP_HEADER: u16 = 8;
/// Bytes of pad length and next header (RFC 4303 §2).
const ESP_TRAILER: u16 = 2;
/// Bytes of a TCP header without options.
const TCP_HEADER: u16 = 20;
/// Bytes of a WireGuard data message around its payload: type, receiver, counter, tag.
const WIREGUARD_OVERHEAD: u16 = 32;

/// What ESP adds besides its header and trailer, all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspOverhead {
    /// Explicit IV.
    pub iv: u16,
    /// Integrity check value.
    pub icv: u16,
    /// Payload and trailer together are padded to a multiple of this.
    pub block: u16,
}

/// AES-GCM with a 16-byte ICV (RFC 4106) and ChaCha20-Poly1305 (RFC 7634) alike.
pub const AEAD: EspOverhead = EspOverhead {
    iv: 8,
    icv: 16,
    block: 4,
};

/// How a tunnel's outer packets look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Largest outer IP packet that the underlay carries, in bytes.
    pub mtu: u16,
    /// The outer header is IPv6.
    pub v6: bool,
    /// ESP in UDP (RFC 3948).
    pub udp: bool,
}

/// Largest inner IP packet of an ESP tunnel, in bytes; 0 if none fits.
#[inline]
pub fn esp_inner_mtu(outer: Outer, esp: EspOverhead) -> u16 {
    let fixed = ip_header(outer.v6) + if outer.udp { UDP_HEADER } else { 0 } + ESP_HEADER;
    let room = outer
        .mtu
        .saturating_sub(fixed)
        .saturating_sub(esp.iv)
        .saturating_sub(esp.icv);
    let padded = room - room % esp.block.max(1);
    padded.saturating_sub(ESP_TRAILER)
}

/// Largest inner IP packet of a WireGuard tunnel, in bytes. WireGuard pads to 16 bytes but never beyond the MTU, so nothing
/// is rounded here.
#[inline]
pub fn wireguard_inner_mtu(outer_mtu: u16, v6: bool) -> u16 {
    outer_mtu.saturating_sub(ip_header(v6) + UDP_HEADER + WIREGUARD_OVERHEAD)
}

/// The MTU to use where the peer's operator publishes one: never more than either says.
#[inline]
pub fn with_published(computed: u16, published: Option<u16>) -> u16 {
    published.map_or(computed, |published| computed.min(published))
}

/// TCP MSS for packets of `mtu` bytes: both headers without options.
#[inline]
pub fn mss(mtu: u16, v6: bool) -> u16 {
    mtu.saturating_sub(ip_header(v6) + TCP_HEADER)
}

#[inline]
fn ip_header(v6: bool) -> u16 {
    if v6 { IPV6_HEADER } else { IPV4_HEADER }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: EspOverhead = EspOverhead {
        iv: 16,
        icv: 12,
        block: 16,
    };
    const SHA256: EspOverhead = EspOverhead {
        iv: 16,
        icv: 16,
        block: 16,
    };
    const SHA384: EspOverhead = EspOverhead {
        iv: 16,
        icv: 24,
        block: 16,
    };
    const SHA512: EspOverhead = EspOverhead {
        iv: 16,
        icv: 32,
        block: 16,
    };

    fn outer(mtu: u16, v6: bool, udp: bool) -> Outer {
        Outer { mtu, v6, udp }
    }

    /// Name, outer packet, transform, published, computed.
    type Row = (&'static str, Outer, EspOverhead, u16, u16);

    fn table() -> Vec<Row> {
        let aws = |udp| outer(1500, false, udp);
        let gcp4 = outer(1460, false, false);
        let gcp6 = outer(1460, true, false);
        let interconnect = outer(1440, false, false);
        vec![
            ("AWS GCM", aws(false), AEAD, 1446, 1446),
            ("AWS GCM NAT-T", aws(true), AEAD, 1438, 1438),
            ("AWS CBC SHA1", aws(false), SHA1, 1438, 1438),
            ("AWS CBC SHA1 NAT-T", aws(true), SHA1, 1422, 1422),
            ("AWS CBC SHA256", aws(false), SHA256, 1438, 1438),
            ("AWS CBC SHA256 NAT-T", aws(true), SHA256, 1422, 1422),
            ("AWS CBC SHA384", aws(false), SHA384, 1422, 1422),
            ("AWS CBC SHA384 NAT-T", aws(true), SHA384, 1422, 1422),
            ("AWS CBC SHA512", aws(false), SHA512, 1422, 1422),
            ("AWS CBC SHA512 NAT-T", aws(true), SHA512, 1406, 1406),
            ("GCP GCM", gcp4, AEAD, 1406, 1406),
            ("GCP CBC SHA256", gcp4, SHA256, 1390, 1390),
            ("GCP CBC SHA1", gcp4, SHA1, 1390, 1390),
            ("GCP CBC SHA512", gcp4, SHA512, 1374, 1374),
            ("GCP IPv6 GCM", gcp6, AEAD, 1386, 1386),
            ("GCP IPv6 CBC SHA256", gcp6, SHA256, 1370, 1374),
            ("GCP IPv6 CBC SHA512", gcp6, SHA512, 1354, 1358),
            ("GCP Interconnect GCM", interconnect, AEAD, 1386, 1386),
            ("GCP Interconnect CBC SHA256", interconnect, SHA256, 1370, 1374),
            ("GCP Interconnect CBC SHA512", interconnect, SHA512, 1354, 1358),
        ]
    }

    #[test]
    fn computed_values_match_the_published_tables() {
        for (name, outer, esp, published, computed) in table() {
            assert_eq!(esp_inner_mtu(outer, esp), computed, "{name}");
            assert_eq!(
                with_published(computed, Some(published)),
                published,
                "{name}: the published value is smaller"
            );
        }
    }

    #[test]
    fn published_value_only_lowers() {
        assert_eq!(with_published(1446, None), 1446);
        assert_eq!(with_published(1374, Some(1370)), 1370);
        assert_eq!(with_published(1374, Some(1400)), 1374);
    }

    #[test]
    fn largest_inner_packet_fits_and_one_byte_more_does_not() {
        for (name, outer, esp, _, _) in table() {
            let inner = esp_inner_mtu(outer, esp);
            let outer_len = |inner: u16| {
                let padded = (inner + ESP_TRAILER).next_multiple_of(esp.block);
                ip_header(outer.v6) + if outer.udp { 8 } else { 0 } + 8 + esp.iv + padded + esp.icv
            };
            assert!(outer_len(inner) <= outer.mtu, "{name}");
            assert!(outer_len(inner + 1) > outer.mtu, "{name}");
        }
    }

    #[test]
    fn wireguard_and_mss() {
        assert_eq!(wireguard_inner_mtu(1500, false), 1440);
        assert_eq!(wireguard_inner_mtu(1500, true), 1420);
        assert_eq!(mss(1446, false), 1406);
        assert_eq!(mss(1446, true), 1386);
    }

    #[test]
    fn hopeless_outer_mtu_gives_zero() {
        for mtu in 0..54 {
            assert_eq!(esp_inner_mtu(outer(mtu, false, false), AEAD), 0);
        }
        assert_eq!(wireguard_inner_mtu(10, true), 0);
        assert_eq!(mss(10, true), 0);
    }
}
