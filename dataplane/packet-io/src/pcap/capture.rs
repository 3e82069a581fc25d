//! Reading a capture: pcap or pcapng, one Ethernet packet after the other, with its time.
//!
//! Every byte of the file is untrusted. A damaged file ends in an error after the packets before the damage.

use super::PcapError;
use pcap_file::DataLink;
use pcap_file::pcap::PcapParser;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use pcap_file::pcapng::{Block, PcapNgParser};
use std::time::Duration;

/// `shb_userappl` of what `tombolo` writes begins so.
const OUR_APPLICATION: &str = "tombolo ";
/// Lowest two bits of `epb_flags`, and what they say of a packet that was sent.
const DIRECTION: u32 = 3;
const OUTBOUND: u32 = 2;
/// First bytes of a pcapng file.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// A capture in memory, read up to `position`.
pub(super) struct Capture {
    bytes: Vec<u8>,
    position: usize,
    format: Format,
    /// Name of the port on which packets arrive.
    port: String,
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
    pub(super) fn new(bytes: Vec<u8>, port: String) -> Result<Self, PcapError> {
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
            port,
        })
    }

    /// The next packet that arrived, or none at the end; counts the records in between that tell of another in `left_out`.
    pub(super) fn next(&mut self, left_out: &mut u64) -> Result<Option<Captured<'_>>, PcapError> {
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
                    let Block::EnhancedPacket(packet) = block else {
                        continue;
                    };
                    let interface = parser.interfaces().get(packet.interface_id as usize);
                    let interface = interface.ok_or(PcapError::Damaged)?;
                    if arrived(parser, interface, &packet, &self.port) {
                        return captured(packet, interface).map(Some);
                    }
                    *left_out += 1;
                }
            }
        }
        Ok(None)
    }
}

/// Whether the record is of a packet that came in on `port`. Only of our own captures is it known what the interfaces are.
fn arrived(
    parser: &PcapNgParser,
    interface: &InterfaceDescriptionBlock<'_>,
    packet: &EnhancedPacketBlock<'_>,
    port: &str,
) -> bool {
    let sent = |option: &EnhancedPacketOption<'_>| matches!(option, EnhancedPacketOption::Flags(flags) if flags & DIRECTION == OUTBOUND);
    let ours = |option: &SectionHeaderOption<'_>| matches!(option, SectionHeaderOption::UserApplication(name) if name.starts_with(OUR_APPLICATION));
    let of_port = |option: &InterfaceDescriptionOption<'_>| matches!(option, InterfaceDescriptionOption::IfName(name) if name == port);
    !packet.options.iter().any(sent)
        && (!parser.section().options.iter().any(ours) || interface.options.iter().any(of_port))
}

fn captured<'a>(
    packet: EnhancedPacketBlock<'a>,
    interface: &InterfaceDescriptionBlock<'_>,
) -> Result<Captured<'a>, PcapError> {
    check_link_type(interface.linktype)?;
    let std::borrow::Cow::Borrowed(bytes) = packet.data else {
        return Err(PcapError::Damaged);
    };
    // The parser hands the raw count of the interface's units over as nanoseconds.
    let time = in_units(packet.timestamp.as_nanos() as u64, resolution(interface));
    Ok(Captured {
        time,
        bytes,
        wire_length: packet.original_len as usize,
    })
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
