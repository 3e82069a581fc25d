//! Reading a capture: pcap or pcapng, one Ethernet packet after the other, with its time.
//!
//! Every byte of the file is untrusted. A damaged file ends in an error after the packets before the damage.

use super::PcapError;
use pcap_file::DataLink;
use pcap_file::pcap::PcapParser;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::{Block, PcapNgParser};
use std::time::Duration;

/// First bytes of a pcapng file.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// A capture in memory, read up to `position`.
pub(super) struct Capture {
    bytes: Vec<u8>,
    position: usize,
    format: Format,
}

enum Format {
    Pcap(PcapParser),
    PcapNg(Box<PcapNgParser>),
}

/// One captured packet.
pub(super) struct Captured<'a> {
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) bytes: &'a [u8],
    /// Length on the wire, which the capture may have cut.
    pub(super) wire_length: usize,
}

impl Capture {
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, PcapError> {
        let (left, format) = if bytes.starts_with(&PCAPNG_MAGIC) {
            let (left, parser) = PcapNgParser::new(&bytes)?;
            (left.len(), Format::PcapNg(Box::new(parser)))
        } else {
            let (left, parser) = PcapParser::new(&bytes)?;
            check_link_type(parser.header().datalink)?;
            (left.len(), Format::Pcap(parser))
        };
        Ok(Self {
            position: bytes.len() - left,
            bytes,
            format,
        })
    }

    /// The next packet, or none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Captured<'_>>, PcapError> {
        while self.position < self.bytes.len() {
            let rest = &self.bytes[self.position..];
            match &mut self.format {
                Format::Pcap(parser) => {
                    let (left, packet) = parser.next_raw_packet(rest)?;
                    self.position = self.bytes.len() - left.len();
                    let nanosecond = parser.header().ts_resolution == pcap_file::TsResolution::NanoSecond;
                    let unit = if nanosecond { 1 } else { 1000 };
                    let time = Duration::from_secs(packet.ts_sec.into())
                        + Duration::from_nanos(u64::from(packet.ts_frac) * unit);
                    let end = self.position;
                    let bytes = &self.bytes[end - packet.incl_len as usize..end];
                    return Ok(Some(Captured {
                        time,
                        bytes,
                        wire_length: packet.orig_len as usize,
                    }));
                }
                Format::PcapNg(parser) => {
                    let (left, block) = parser.next_block(rest)?;
                    self.position = self.bytes.len() - left.len();
                    if let Some(packet) = packet_of(block, parser.interfaces())? {
                        return Ok(Some(packet));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The packet in a block, if the block is one of the kinds that hold packets with a time.
fn packet_of<'a>(
    block: Block<'a>,
    interfaces: &[InterfaceDescriptionBlock<'_>],
) -> Result<Option<Captured<'a>>, PcapError> {
    let Block::EnhancedPacket(packet) = block else {
        return Ok(None);
    };
    let interface = interfaces.get(packet.interface_id as usize).ok_or(PcapError::Damaged)?;
    check_link_type(interface.linktype)?;
    let std::borrow::Cow::Borrowed(bytes) = packet.data else {
        return Err(PcapError::Damaged);
    };
    // The parser hands the raw count of the interface's units over as nanoseconds.
    let time = in_units(packet.timestamp.as_nanos() as u64, resolution(interface));
    Ok(Some(Captured {
        time,
        bytes,
        wire_length: packet.original_len as usize,
    }))
}

/// `if_tsresol`: a negative power of ten, or of two with the top bit; microseconds when it is missing.
fn resolution(interface: &InterfaceDescriptionBlock<'_>) -> u8 {
    let found = interface.options.iter().find_map(|option| {
        if let InterfaceDescriptionOption::IfTsResol(resolution) = option {
            Some(*resolution)
        } else {
            None
        }
    });
    found.unwrap_or(6)
}

fn in_units(count: u64, resolution: u8) -> Duration {
    let exponent = u32::from(resolution & 0x7f);
    let per_second = if resolution & 0x80 == 0 {
        10u128.checked_pow(exponent)
    } else {
        1u128.checked_shl(exponent)
    };
    let Some(per_second) = per_second.filter(|&units| units > 0) else {
        return Duration::ZERO;
    };
    let count = u128::from(count);
    let nanoseconds = (count % per_second)
        .checked_mul(1_000_000_000)
        .map_or(0, |scaled| scaled / per_second);
    // The remainder is below one second, and the quotient is at most the u64 that was read.
    Duration::new((count / per_second) as u64, nanoseconds as u32)
}

fn check_link_type(link_type: DataLink) -> Result<(), PcapError> {
    if link_type == DataLink::ETHERNET {
        Ok(())
    } else {
        Err(PcapError::LinkType(u32::from(link_type)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_an_interface_become_a_duration() {
        assert_eq!(in_units(1_500_000, 6), Duration::from_millis(1500));
        assert_eq!(in_units(1_500_000_000, 9), Duration::from_millis(1500));
        assert_eq!(in_units(3 << 9, 0x80 | 10), Duration::from_millis(1500));
        assert_eq!(in_units(7, 0), Duration::from_secs(7));
        for resolution in 0..=255 {
            in_units(u64::MAX, resolution);
        }
    }
}
