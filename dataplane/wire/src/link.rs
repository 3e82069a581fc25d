//! The link header: Ethernet with at most one 802.1Q or 802.1ad tag.

use crate::headers::ParseError;

/// Bytes of an Ethernet header without a tag.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of an Ethernet header with one tag.
pub const TAGGED_LEN: usize = 18;

/// EtherTypes that the gateway knows.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q customer tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// EtherTypes below this are 802.3 lengths.
const ETHERTYPE_MIN: u16 = 0x0600;

/// A frame's link header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Offset of what the link header carries: 14, or 18 behind a tag.
    pub l3: u16,
    /// EtherType of what it carries.
    pub ethertype: u16,
    /// VLAN identifier 1–4095; `None` without a tag and for the priority tag (identifier 0).
    pub vlan: Option<u16>,
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// Source MAC address.
    pub source_mac: [u8; 6],
}

/// Reads the link header. What it carries need not be IP: look at `ethertype`.
///
/// # Errors
/// `LinkTruncated`; `NotIp` for an 802.3 length field or a second tag.
#[inline]
pub fn parse_link(frame: &[u8]) -> Result<Link, ParseError> {
    let (destination_mac, rest) = frame.split_first_chunk().ok_or(ParseError::LinkTruncated)?;
    let (source_mac, rest) = rest.split_first_chunk().ok_or(ParseError::LinkTruncated)?;
    let (ethertype, rest) = rest.split_first_chunk().ok_or(ParseError::LinkTruncated)?;
    let mut link = Link {
        l3: ETHERNET_LEN as u16,
        ethertype: u16::from_be_bytes(*ethertype),
        vlan: None,
        destination_mac: *destination_mac,
        source_mac: *source_mac,
    };
    if is_tag(link.ethertype) {
        let &[tag0, tag1, type0, type1] = rest.first_chunk().ok_or(ParseError::LinkTruncated)?;
        let identifier = u16::from_be_bytes([tag0, tag1]) & 0x0fff;
        link.vlan = (identifier != 0).then_some(identifier);
        link.ethertype = u16::from_be_bytes([type0, type1]);
        link.l3 = TAGGED_LEN as u16;
    }
    if link.ethertype < ETHERTYPE_MIN || is_tag(link.ethertype) {
        return Err(ParseError::NotIp);
    }
    Ok(link)
}

#[inline]
fn is_tag(ethertype: u16) -> bool {
    ethertype == ethertype::VLAN || ethertype == ethertype::SERVICE_VLAN
}
