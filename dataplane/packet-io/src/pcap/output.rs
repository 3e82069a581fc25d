//! Writing what a replay sends: pcap, which cannot say by which port, or pcapng with an interface for each port.

use super::{FilePort, PcapError};
use crate::packet_io::PortSlot;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, TsResolution};
use std::io::{self, Write};
use std::time::Duration;

/// `if_tsresol`: nanoseconds.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: the packet went out.
const OUTBOUND: u32 = 2;
/// 802.1Q.
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0];

/// The kind of file that a replay writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// Packets and times; which port a packet left by is lost.
    Pcap,
    /// An interface for each port, by its name.
    PcapNg,
}

pub(super) enum Output {
    Pcap(PcapWriter<Box<dyn Write + Send>>),
    PcapNg(Box<PcapNgWriter<Box<dyn Write + Send>>>),
}

impl Output {
    /// Writes the head of the file; `ports` are the interfaces of a pcapng.
    pub(super) fn new(
        file: Box<dyn Write + Send>,
        format: OutputFormat,
        ports: &[FilePort],
    ) -> Result<Output, PcapError> {
        match format {
            OutputFormat::Pcap => {
                let header = PcapHeader {
                    ts_resolution: TsResolution::NanoSecond,
                    datalink: DataLink::ETHERNET,
                    ..PcapHeader::default()
                };
                Ok(Output::Pcap(PcapWriter::with_header(file, header)?))
            }
            OutputFormat::PcapNg => {
                let application = concat!("tombolo ", env!("CARGO_PKG_VERSION"));
                let section = SectionHeaderBlock {
                    options: vec![SectionHeaderOption::UserApplication(application.into())],
                    ..SectionHeaderBlock::default()
                };
                let mut writer = PcapNgWriter::with_section_header(file, section)?;
                for port in ports {
                    writer.write_pcapng_block(interface(port))?;
                }
                Ok(Output::PcapNg(Box::new(writer)))
            }
        }
    }

    /// Adds a packet that left on `slot`, by the one of `ports` whose tag it bears.
    pub(super) fn packet(
        &mut self,
        ports: &[FilePort],
        slot: PortSlot,
        time: Duration,
        bytes: &[u8],
    ) -> Result<(), PcapError> {
        match self {
            Output::Pcap(writer) => writer.write_packet(&PcapPacket::new(time, bytes.len() as u32, bytes))?,
            Output::PcapNg(writer) => {
                let place = port_of(ports, slot, bytes).ok_or_else(|| io::Error::other("a packet left by no port"))?;
                writer.write_pcapng_block(EnhancedPacketBlock {
                    interface_id: place as u32,
                    timestamp: time,
                    original_len: bytes.len() as u32,
                    data: bytes.into(),
                    options: vec![EnhancedPacketOption::Flags(OUTBOUND)],
                })?
            }
        };
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Output::Pcap(writer) => writer.into_writer().flush(),
            Output::PcapNg(writer) => writer.into_inner().flush(),
        }
    }
}

fn interface(port: &FilePort) -> InterfaceDescriptionBlock<'static> {
    InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(port.name.clone().into()),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    }
}

fn port_of(ports: &[FilePort], slot: PortSlot, bytes: &[u8]) -> Option<usize> {
    let vlan = match bytes.get(12..16) {
        Some([first, second, tag @ ..]) if [*first, *second] == ETHERTYPE_VLAN => {
            u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff
        }
        Some(_) | None => 0,
    };
    ports.iter().position(|port| port.slot == slot && port.vlan == vlan)
}
