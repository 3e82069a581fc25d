//! NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP (RFC 7296 §2.23).

use core::net::SocketAddr;
use ring::digest;

/// `SHA-1(SPIi | SPIr | address | port)`. It hides nothing and proves nothing: SHA-1 is what the RFC names.
pub fn nat_detection_hash(spi_i: u64, spi_r: u64, end: SocketAddr) -> [u8; 20] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&spi_i.to_be_bytes());
    context.update(&spi_r.to_be_bytes());
    match end {
        SocketAddr::V4(end) => context.update(&end.ip().octets()),
        SocketAddr::V6(end) => context.update(&end.ip().octets()),
    }
    context.update(&end.port().to_be_bytes());
    let mut hash = [0; 20];
    hash.iter_mut()
        .zip(context.finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// Values of `sha1sum` over the bytes written down by hand.
    #[test]
    fn hashes_of_both_families() {
        let v4 = nat_detection_hash(0x0102030405060708, 0, "192.0.2.1:500".parse().unwrap());
        assert_eq!(hex(&v4), "644b4575455bd6fcc1efe2be8162a9218e448e5f");
        let v6 = nat_detection_hash(
            0x0102030405060708,
            0x1112131415161718,
            "[2001:db8::1]:4500".parse().unwrap(),
        );
        assert_eq!(hex(&v6), "1ee24423bf8f59515e0265c6d0f08be3d038f7e5");
    }
}
