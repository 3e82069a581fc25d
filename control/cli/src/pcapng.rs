//! Writes captured packets as pcapng (draft-ietf-opsawg-pcapng): Wireshark then shows the fate as the packet's comment.

use std::io::{self, Write};
use tombolo_api::CapturedPacket;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_APPLICATION: u16 = 4;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_INTERFACE_DESCRIPTION: u16 = 3;
const OPTION_FLAGS: u16 = 2;
const OPTION_RESOLUTION: u16 = 9;
const LINK_TYPE_ETHERNET: u16 = 1;
/// Numbers of the interfaces, in the order of their blocks.
const WIRE: u32 = 0;
const INNER: u32 = 1;

/// A capture file of one port. It has two interfaces, so that a filter on their names tells the stages apart: the port
/// itself, and what its tunnels carry, before encryption and after decryption.
pub(crate) struct Writer<W: Write> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Writes the head of the file.
    pub(crate) fn new(mut output: W, port: &str) -> io::Result<Writer<W>> {
        let mut section = Vec::new();
        section.extend(0x1A2B_3C4D_u32.to_le_bytes());
        section.extend(1_u16.to_le_bytes());
        section.extend(0_u16.to_le_bytes());
        section.extend(u64::MAX.to_le_bytes());
        let application = concat!("tombolo ", env!("CARGO_PKG_VERSION"));
        option(&mut section, OPTION_APPLICATION, application.as_bytes());
        option(&mut section, OPTION_END, &[]);
        block(&mut output, SECTION_HEADER, &section)?;
        interface(&mut output, port, "as on the wire")?;
        interface(
            &mut output,
            &format!("{port} inner"),
            "inside the port's tunnels: not encrypted",
        )?;
        output.flush()?;
        Ok(Writer { output })
    }

    /// Adds a packet.
    pub(crate) fn packet(&mut self, packet: &CapturedPacket, bytes: &[u8]) -> io::Result<()> {
        let mut body = Vec::new();
        let captured = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let interface = if packet.stage == "inner" { INNER } else { WIRE };
        body.extend(interface.to_le_bytes());
        body.extend(((packet.time_ns >> 32) as u32).to_le_bytes());
        body.extend((packet.time_ns as u32).to_le_bytes());
        body.extend(captured.to_le_bytes());
        body.extend(packet.length.max(captured).to_le_bytes());
        body.extend(bytes);
        pad(&mut body);
        let inbound = if packet.direction == "in" { 1_u32 } else { 2 };
        option(&mut body, OPTION_FLAGS, &inbound.to_le_bytes());
        let comment = format!("{}; {} worker {}", packet.fate, packet.stage, packet.worker);
        option(&mut body, OPTION_COMMENT, comment.as_bytes());
        option(&mut body, OPTION_END, &[]);
        block(&mut self.output, ENHANCED_PACKET, &body)?;
        self.output.flush()
    }
}

fn interface(output: &mut impl Write, name: &str, description: &str) -> io::Result<()> {
    let mut body = Vec::new();
    body.extend(LINK_TYPE_ETHERNET.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    option(&mut body, OPTION_INTERFACE_NAME, name.as_bytes());
    option(&mut body, OPTION_INTERFACE_DESCRIPTION, description.as_bytes());
    option(&mut body, OPTION_RESOLUTION, &[9]);
    option(&mut body, OPTION_END, &[]);
    block(output, INTERFACE, &body)
}

fn block(output: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?;
    output.write_all(&kind.to_le_bytes())?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(body)?;
    output.write_all(&length.to_le_bytes())
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Everything is padded to 32 bits.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
    use pcap_file::pcapng::{Block, PcapNgReader};
    use tombolo_packet_io::PortSlot;
    use tombolo_packet_io::pcap::{FilePort, OutputFormat, Pcap};

    fn received() -> CapturedPacket {
        CapturedPacket {
            time_ns: 1_700_000_000_123_456_789,
            worker: 1,
            port: "uplink".into(),
            direction: "in".into(),
            stage: "wire".into(),
            fate: "drop ttl-expired".into(),
            length: 1500,
            bytes: String::new(),
        }
    }

    /// Neither what the port sent nor what was inside its tunnels is fed in again.
    #[test]
    fn a_replay_takes_what_the_port_received() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, "uplink").unwrap();
        let mut number = 0;
        for direction in ["in", "out"] {
            for stage in ["wire", "inner"] {
                let packet = CapturedPacket {
                    direction: direction.into(),
                    stage: stage.into(),
                    ..received()
                };
                number += 1;
                writer.packet(&packet, &[number; 60]).unwrap();
            }
        }
        let port = FilePort {
            name: "uplink".into(),
            slot: PortSlot(0),
            vlan: 0,
        };
        let mut replayed = Pcap::open(&file[..], io::sink(), OutputFormat::Pcap, vec![port], 0).unwrap();
        let mut first_bytes = Vec::new();
        while let Some(byte) = replayed.look_at_next(|bytes| bytes[0]) {
            first_bytes.push(byte);
            replayed.pass_over();
        }
        assert_eq!((first_bytes, replayed.summary().left_out), (vec![1], 3));
    }

    #[test]
    fn another_reader_finds_time_bytes_and_comment() {
        let packet = received();
        let mut file = Vec::new();
        let inner = CapturedPacket {
            stage: "inner".into(),
            ..packet.clone()
        };
        let mut writer = Writer::new(&mut file, "uplink").unwrap();
        writer.packet(&packet, &[1, 2, 3, 4, 5]).unwrap();
        writer.packet(&inner, &[6]).unwrap();
        let mut reader = PcapNgReader::new(file.as_slice()).unwrap();
        let mut found = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(read) = block.unwrap() {
                assert_eq!(read.original_len, 1500);
                let [EnhancedPacketOption::Flags(1), EnhancedPacketOption::Comment(comment)] = &read.options[..] else {
                    panic!("{:?}", read.options)
                };
                found.push((read.interface_id, read.data.to_vec(), comment.to_string()));
            }
        }
        let expected = [
            (0, vec![1, 2, 3, 4, 5], "drop ttl-expired; wire worker 1".to_owned()),
            (1, vec![6], "drop ttl-expired; inner worker 1".to_owned()),
        ];
        assert_eq!(found, expected);
        let names: Vec<&InterfaceDescriptionOption<'_>> = reader
            .interfaces()
            .iter()
            .filter_map(|interface| interface.options.first())
            .collect();
        let name = |text: &'static str| InterfaceDescriptionOption::IfName(text.into());
        assert_eq!(names, [&name("uplink"), &name("uplink inner")]);
    }
}
