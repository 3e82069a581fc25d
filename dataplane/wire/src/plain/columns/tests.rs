use super::*;
use crate::edit::{self, Rewrite};
use crate::headers::{Addresses, Headers};
use crate::parse::parse_frame;
use crate::plain::{is_for, read, station};
use crate::testing::{V4, packets, tcp, udp, udp_unchecked};
use proptest::prelude::*;

fn head_of(frame: &[u8], behind: u8) -> [u8; HEAD] {
    let mut head = [behind; HEAD];
    let length = frame.len().min(HEAD);
    head[..length].copy_from_slice(&frame[..length]);
    head
}

fn station_of(frame: &[u8]) -> u64 {
    station(frame.first_chunk().expect("a frame has a link header"))
}

/// Frames by lane; a lane without one holds what was there before.
fn columns_of(frames: &[Vec<u8>], behind: u8) -> Columns {
    let mut columns = Columns::default();
    for (lane, frame) in frames.iter().enumerate() {
        columns.load(lane, &head_of(frame, behind), frame.len());
    }
    columns
}

fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() >= 34 {
        frame[24..26].fill(0);
        let checksum = crate::testing::naive_checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    frame
}

/// A packet of the generator, damaged at a byte and perhaps with a right checksum again; or a usual one.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let usual = (any::<[u16; 2]>(), any::<u8>(), 0usize..40).prop_map(|([from, to], kind, data)| {
        let data = vec![kind; data];
        match kind % 4 {
            0 => udp_unchecked(&V4, (from, to), &data),
            1 => udp(&V4, (from, to), &data),
            2 => tcp(&V4, (from, to), 0x10, &[], &data),
            _ => tcp(&V4, (from, to), kind & !2, &[1; 8], &data),
        }
    });
    let damaged = (packets(), 0usize..60, any::<u8>(), any::<bool>(), 0usize..40).prop_map(
        |(mut frame, at, value, repair, cut)| {
            if at < frame.len() {
                frame[at] = value;
            }
            frame.truncate(frame.len() - cut.saturating_sub(20).min(frame.len() - 14.min(frame.len())));
            if repair { repaired(frame) } else { frame }
        },
    );
    prop::collection::vec(prop_oneof![usual, damaged], 1..=LANES)
}

proptest! {
    /// Whatever the frames: each lane is read as `read` does it, and edited as the general edits do.
    #[test]
    fn sixteen_are_seen_and_edited_as_others_do_it(
        frames in frames(), behind: u8, from in 0usize..LANES, addresses: Column, ports: [u32; LANES], translated: u16, accepted: u16, left_out: usize,
    ) {
        let frames: Vec<_> = frames.into_iter().filter(|frame| frame.len() >= 14).collect();
        let Some(first) = frames.get(from % frames.len().max(1)) else { return Ok(()) };
        let station = station_of(first);
        let mut columns = columns_of(&frames, behind);
        for lane in (0..frames.len()).filter(|lane| accepted >> lane & 1 == 1) {
            columns.accept(lane, station);
        }
        columns.leave_out(left_out % LANES);
        columns.read(station);
        prop_assert!(!columns.is_plain(left_out % LANES));
        for (lane, frame) in frames.iter().enumerate().filter(|(lane, _)| *lane != left_out % LANES) {
            let head = head_of(frame, behind);
            let accepted = accepted >> lane & 1 == 1;
            let wanted = if accepted || is_for(&head, station) { read(&head, frame.len()) } else { None };
            prop_assert_eq!(columns.is_plain(lane).then(|| columns.packet(lane)), wanted, "lane {}", lane);
        }

        let mut aged = columns_of(&frames, behind);
        aged.decrement_ttls();
        let mask: Column = std::array::from_fn(|lane| if translated >> lane & 1 == 1 { u64::MAX } else { 0 });
        columns.translate(&addresses, &ports.map(u64::from), &mask);
        for (lane, frame) in frames.iter().enumerate() {
            let Ok((_, headers)) = parse_frame(frame) else { continue };
            if read(&head_of(frame, behind), frame.len()).is_none() || headers.l4 != 34 {
                continue;
            }
            let mut general = frame.clone();
            prop_assert!(edit::decrement_ttl(&mut general, &headers));
            let mut head = head_of(frame, behind);
            aged.write_ttl(lane, &mut head);
            prop_assert_eq!(head, head_of(&general, behind), "lane {}", lane);
            if mask[lane] != 0 {
                rewrite(&mut general, &headers, addresses[lane], ports[lane]);
            }
            let mut head = head_of(frame, behind);
            columns.write(lane, &mut head);
            prop_assert_eq!(head, head_of(&general, behind), "lane {}, translated: {}", lane, mask[lane] != 0);
        }
    }
}

/// The general edit.
fn rewrite(frame: &mut [u8], headers: &Headers, addresses: u64, ports: u32) {
    let to = Rewrite {
        addresses: Addresses::V4 {
            source: (addresses >> 32) as u32,
            destination: addresses as u32,
        },
        source_port: (ports >> 16) as u16,
        destination_port: ports as u16,
    };
    edit::rewrite(frame, headers, &to);
}

/// Checksums of all sixteen bits before and after, ends included, where one's complement has two zeros.
#[test]
fn every_checksum_moves_as_in_the_general_edits() {
    let (to, to_ports) = (0xffff_0000_0001_fffe_u64, 0x0000_ffff_u32);
    for frame in [
        udp(&V4, (4000, 53), b"some data of a packet"),
        tcp(&V4, (4000, 53), 0x10, &[], b"some data"),
    ] {
        let (_, headers) = parse_frame(&frame).expect("a right packet");
        for checksums in (0..=u16::MAX).collect::<Vec<_>>().chunks(LANES) {
            let frames: Vec<_> = checksums
                .iter()
                .map(|checksum| {
                    let mut frame = frame.clone();
                    for at in [24, if frame[23] == protocol::TCP { 50 } else { 40 }] {
                        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
                    }
                    frame
                })
                .collect();
            let mut columns = columns_of(&frames, 0);
            columns.translate(&[to; LANES], &[to_ports.into(); LANES], &[u64::MAX; LANES]);
            for (lane, frame) in frames.iter().enumerate() {
                let mut head = head_of(frame, 0);
                columns.write(lane, &mut head);
                let mut general = frame.clone();
                assert!(edit::decrement_ttl(&mut general, &headers));
                rewrite(&mut general, &headers, to, to_ports);
                assert_eq!(head, head_of(&general, 0), "checksum {:#x}", checksums[lane]);
            }
        }
    }
}
