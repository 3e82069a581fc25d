use super::*;
use std::sync::{Arc, Mutex};

/// A file that the test can look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("one thread").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn packets(&self) -> Vec<(Duration, Vec<u8>)> {
        let mut capture = Capture::new(self.0.lock().expect("one thread").clone(), String::new()).expect("we wrote it");
        let mut packets = Vec::new();
        while let Some(packet) = capture.next(&mut 0).expect("we wrote it") {
            packets.push((packet.time, packet.bytes.to_vec()));
        }
        packets
    }
}

/// A little-endian pcap with microseconds.
fn pcap(link_type: u32, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, link_type] {
        file.extend_from_slice(&u32::to_le_bytes(word));
    }
    for (seconds, microseconds, bytes) in packets {
        for word in [*seconds, *microseconds, bytes.len() as u32, bytes.len() as u32] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(bytes);
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (12 + body.len().next_multiple_of(4)) as u32;
    let mut block = [kind.to_le_bytes(), length.to_le_bytes()].concat();
    block.extend_from_slice(body);
    block.resize(length as usize - 4, 0);
    block.extend_from_slice(&length.to_le_bytes());
    block
}

/// A pcapng with one interface that counts in nanoseconds.
fn pcapng(packets: &[(u64, &[u8])]) -> Vec<u8> {
    let header = [&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat();
    let mut file = block(0x0a0d_0d0a, &header);
    file.extend(block(1, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]));
    for (nanoseconds, bytes) in packets {
        let length = (bytes.len() as u32).to_le_bytes();
        let high = ((nanoseconds >> 32) as u32).to_le_bytes();
        let low = (*nanoseconds as u32).to_le_bytes();
        file.extend(block(6, &[&[0; 4][..], &high, &low, &length, &length, bytes].concat()));
    }
    file
}

/// Ports on two devices; the second bears VLAN 7, too.
fn ports() -> Vec<FilePort> {
    let port = |name: &str, slot, vlan| FilePort {
        name: name.into(),
        slot: PortSlot(slot),
        vlan,
    };
    vec![port("uplink", 0, 0), port("cloud", 1, 0), port("guests", 1, 7)]
}

fn open(input: &[u8], output: impl Write + Send + 'static) -> Result<Pcap, PcapError> {
    Pcap::open(input, output, OutputFormat::Pcap, ports(), 0)
}

/// Sends all that comes in out of port 1; the first byte is changed.
fn replay(input: &[u8]) -> (Result<PcapSummary, PcapError>, Shared) {
    let output = Shared::default();
    let mut io = open(input, output.clone()).expect("a capture");
    let mut batch = FrameBatch::new();
    while !io.ended() {
        assert_eq!(io.receive(PortSlot(1), &mut batch), 0);
        io.receive(PortSlot(0), &mut batch);
        for mut frame in batch.drain() {
            frame.packet_mut()[0] = 9;
            io.punt(PortSlot(0), &frame);
            io.transmit(PortSlot(1), frame).expect("there is room");
        }
        assert!(io.census().balanced());
        io.flush();
        assert!(io.census().balanced());
    }
    (io.finish(), output)
}

#[test]
fn what_is_sent_bears_the_time_of_its_cause() {
    let at = |seconds, microseconds: u32| Duration::new(seconds, microseconds * 1000);
    let (summary, output) = replay(&pcap(1, &[(5, 7, &[1; 60]), (6, 999_999, &[2; 61])]));
    let expected = PcapSummary {
        received: 2,
        sent: vec![0, 2],
        punted: vec![2, 0],
        ..PcapSummary::default()
    };
    assert_eq!(summary.expect("no error"), expected);
    let packets = output.packets();
    assert_eq!(
        packets.iter().map(|packet| packet.0).collect::<Vec<_>>(),
        [at(5, 7), at(6, 999_999)]
    );
    assert_eq!((packets[0].1[0], packets[0].1[1], packets[1].1.len()), (9, 1, 61));
}

#[test]
fn a_packet_arrives_when_it_is_admitted() {
    let file = pcap(1, &[(5, 0, &[1; 60]), (7, 0, &[2; 60])]);
    let mut io = open(&file, io::sink()).expect("a capture");
    let mut batch = FrameBatch::new();
    let mut times = Vec::new();
    io.admit(0);
    while let Some(time) = io.next_time() {
        assert_eq!(io.receive(PortSlot(0), &mut batch), 0);
        io.admit(1);
        assert!(io.census().balanced() && !io.ended());
        assert_eq!(io.receive(PortSlot(0), &mut batch), 1);
        assert_eq!(io.receive(PortSlot(0), &mut batch), 0);
        assert_eq!(io.time(), time);
        times.push(time.as_secs());
        io.release(batch.pop().expect("received"));
    }
    assert_eq!(times, [5, 7]);
    assert!(io.ended());
}

#[test]
fn pcapng_is_read_too() {
    let time = 1_700_000_000_123_456_789;
    let (summary, output) = replay(&pcapng(&[(time, &[1; 60]), (time + 1, &[2; 63])]));
    assert_eq!(summary.expect("no error").received, 2);
    let times: Vec<_> = output
        .packets()
        .iter()
        .map(|packet| packet.0.as_nanos() as u64)
        .collect();
    assert_eq!(times, [time, time + 1]);
}

fn pass_over_all(mut io: Pcap) -> PcapSummary {
    while io.next_time().is_some() {
        io.pass_over();
    }
    io.finish().expect("no error")
}

/// What is written by port is no input: it says what left.
#[test]
fn a_pcapng_names_the_port_that_a_packet_left_by() {
    let (untagged, mut tagged) = ([1; 60], [1; 60]);
    tagged[12..16].copy_from_slice(&[0x81, 0, 0x20, 7]);
    let output = Shared::default();
    let input = pcap(1, &[(5, 7, &untagged), (6, 0, &tagged)]);
    let mut io = Pcap::open(&input[..], output.clone(), OutputFormat::PcapNg, ports(), 0).expect("a capture");
    let mut batch = FrameBatch::new();
    while !io.ended() {
        io.receive(PortSlot(0), &mut batch);
        for frame in batch.drain() {
            io.transmit(PortSlot(1), frame).expect("there is room");
        }
    }
    io.finish().expect("no error");
    let file = output.0.lock().expect("one thread").clone();
    let mut reader = pcap_file::pcapng::PcapNgReader::new(&file[..]).expect("we wrote it");
    let mut left = Vec::new();
    while let Some(block) = reader.next_block() {
        if let pcap_file::pcapng::Block::EnhancedPacket(packet) = block.expect("we wrote it") {
            left.push((packet.interface_id, packet.timestamp.as_micros(), packet.data.to_vec()));
        }
    }
    let expected = [(1, 5_000_007, untagged.to_vec()), (2, 6_000_000, tagged.to_vec())];
    assert_eq!(left, expected);
    let again = pass_over_all(open(&file, io::sink()).expect("a capture"));
    assert_eq!((again.received, again.left_out), (0, 2));
}

/// A capture of ours: interfaces "uplink" and "uplink inner", packets with their flags.
fn ours(application: &[u8; 8], packets: &[(u32, u32)]) -> Vec<u8> {
    let header = [
        &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..],
        &[0xff; 8],
        &[4, 0, 8, 0],
        application,
        &[0; 4],
    ];
    let mut file = block(0x0a0d_0d0a, &header.concat());
    for name in [&b"uplink\0\0"[..], b"uplink inner"] {
        let length = name.iter().filter(|byte| **byte != 0).count() as u8;
        file.extend(block(
            1,
            &[&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, length, 0], name, &[0; 4]].concat(),
        ));
    }
    for (interface, flags) in packets {
        let fixed = [*interface, 0, 1, 60, 60].map(u32::to_le_bytes).concat();
        file.extend(block(
            6,
            &[&fixed[..], &[1; 60], &[2, 0, 4, 0], &flags.to_le_bytes(), &[0; 4]].concat(),
        ));
    }
    file
}

#[test]
fn only_what_the_port_received_arrives() {
    let records = [(0, 1), (0, 2), (1, 1), (1, 2), (0, 0)];
    let counts = |application, place| {
        let file = ours(application, &records);
        let io = Pcap::open(&file[..], io::sink(), OutputFormat::Pcap, ports(), place).expect("a capture");
        let summary = pass_over_all(io);
        (summary.received, summary.left_out)
    };
    assert_eq!(counts(b"tombolo ", 0), (2, 3));
    // Of another port, nothing; of another program, whatever was not sent.
    assert_eq!(counts(b"tombolo ", 1), (0, 5));
    assert_eq!(counts(b"wireshar", 1), (3, 2));
}

#[test]
fn a_packet_can_be_looked_at_and_passed_over() {
    let file = pcap(1, &[(5, 0, &[1; 60]), (7, 0, &[2; 60])]);
    let mut io = open(&file, io::sink()).expect("a capture");
    assert_eq!(io.look_at_next(|bytes| bytes[0]), Some(1));
    io.pass_over();
    assert!(io.census().balanced());
    assert_eq!(io.look_at_next(|bytes| bytes[0]), Some(2));
    let mut batch = FrameBatch::new();
    assert_eq!(io.receive(PortSlot(0), &mut batch), 1);
    io.release(batch.pop().expect("received"));
    assert_eq!(io.look_at_next(|bytes| bytes[0]), None);
    assert!(io.ended() && io.census().balanced());
}

#[test]
fn cut_and_long_packets_are_counted() {
    let mut file = pcap(1, &[(0, 0, &vec![0; FRAME_CAPACITY + 1]), (1, 0, &[1; 60])]);
    let wire_length = file.len() - 64;
    file[wire_length..wire_length + 2].copy_from_slice(&[0xe8, 0x03]);
    let (summary, _) = replay(&file);
    let summary = summary.expect("no error");
    assert_eq!((summary.received, summary.cut, summary.too_long), (1, 1, 1));
}

#[test]
fn damage_is_told_after_the_packets_before_it() {
    let mut file = pcap(1, &[(5, 7, &[1; 60]), (6, 0, &[2; 61])]);
    file.truncate(file.len() - 3);
    let (summary, output) = replay(&file);
    assert!(matches!(summary, Err(PcapError::Damaged)), "{summary:?}");
    assert_eq!(output.packets().len(), 1);
    assert!(matches!(open(b"no capture", io::sink()), Err(PcapError::Damaged)));
    let raw_ip = pcap(101, &[]);
    assert!(matches!(open(&raw_ip, io::sink()), Err(PcapError::LinkType(_))));
}

/// The committed corpus, each file cut at every length, and seeded mutations of each.
#[test]
fn no_capture_panics() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/capture");
    let mut seeds = vec![pcap(1, &[(5, 7, &[1; 60])]), pcapng(&[(1, &[1; 60]), (2, &[2; 63])])];
    for entry in std::fs::read_dir(corpus).expect("the corpus is committed") {
        seeds.push(std::fs::read(entry.expect("readable").path()).expect("readable"));
    }
    assert!(seeds.len() >= 5);
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for seed in seeds {
        for length in 0..seed.len() {
            fuzz_capture(&seed[..length]);
        }
        for _ in 0..2000 {
            let mut mutated = seed.clone();
            for _ in 0..=next(4) {
                let at = next(mutated.len());
                mutated[at] = [0, 0xff, 1, mutated[at] ^ 1 << next(8), next(256) as u8][next(5)];
            }
            fuzz_capture(&mutated);
        }
    }
}
