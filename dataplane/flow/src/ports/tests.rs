//! Ports: every one once, all of a range, none outside of it.

use super::*;
use std::collections::HashSet;

const RANGE: PortRange = PortRange {
    first: 20_000,
    last: 20_299,
};

fn state(rows: usize) -> Vec<AtomicU64> {
    (0..Ports::words(rows)).map(|_| AtomicU64::new(0)).collect()
}

#[test]
fn a_range_is_handed_out_whole_and_once() {
    let words = state(2);
    let ports = Ports::open(&words);
    let mut locals = [PortLocal::new(0, 1), PortLocal::new(1, 1)];
    let mut seen = HashSet::new();
    for turn in 0..300 {
        let port = ports
            .allocate(&mut locals[turn % 2], 1, protocol::UDP, RANGE, 0)
            .unwrap();
        assert!(
            (RANGE.first..=RANGE.last).contains(&port) && seen.insert(port),
            "{port}"
        );
    }
    let mut again = |now| ports.allocate(&mut locals[0], 1, protocol::UDP, RANGE, now);
    assert_eq!(again(0), Err(PortsError::Exhausted));
    ports.release(1, protocol::UDP, 20_123);
    assert_eq!(again(0), Err(PortsError::Exhausted), "one search a second");
    assert_eq!(again(1), Ok(20_123));
    assert_eq!(
        (
            ports.taken(1, protocol::UDP),
            ports.taken(0, protocol::UDP),
            ports.taken(1, protocol::TCP)
        ),
        (300, 0, 0)
    );
    assert!(
        ports.allocate(&mut locals[0], 1, protocol::TCP, RANGE, 1).is_ok(),
        "each protocol has its own"
    );
}

#[test]
fn workers_keep_to_blocks_of_their_own() {
    let words = state(1);
    let ports = Ports::open(&words);
    let wide = PortRange {
        first: 1_024,
        last: u16::MAX,
    };
    let mut locals = [PortLocal::new(0, 7), PortLocal::new(1, 7)];
    let mut blocks = [HashSet::new(), HashSet::new()];
    for turn in 0..4_000 {
        let port = ports
            .allocate(&mut locals[turn % 2], 0, protocol::TCP, wide, 0)
            .unwrap();
        blocks[turn % 2].insert(port / 64);
    }
    assert!(blocks[0].is_disjoint(&blocks[1]));
    assert!(blocks[0].len() <= 34, "{} blocks for 2,000 ports", blocks[0].len());
}

#[test]
fn hosts_on_many_addresses_keep_their_blocks() {
    const ROWS: u32 = 1_000;
    let words = state(ROWS as usize);
    let ports = Ports::open(&words);
    let mut local = PortLocal::new(0, 7);
    let wide = PortRange {
        first: 1_024,
        last: u16::MAX,
    };
    let mut blocks = HashSet::new();
    for turn in 0..40 * ROWS {
        let row = turn % ROWS;
        let port = ports.allocate(&mut local, row, protocol::UDP, wide, 0).unwrap();
        blocks.insert((row, port / 64));
    }
    assert_eq!(blocks.len(), ROWS as usize);
}

#[test]
fn what_has_no_ports_is_refused() {
    let words = state(1);
    let ports = Ports::open(&words);
    let mut local = PortLocal::new(0, 1);
    assert_eq!(
        ports.allocate(&mut local, 0, 50, RANGE, 0),
        Err(PortsError::Untranslatable)
    );
    assert_eq!(ports.allocate(&mut local, 1, 6, RANGE, 0), Err(PortsError::RowInvalid));
    assert_eq!(
        ports.allocate(&mut local, u32::MAX, 6, RANGE, 0),
        Err(PortsError::RowInvalid)
    );
    let backwards = PortRange { first: 9, last: 8 };
    assert_eq!(
        ports.allocate(&mut local, 0, 6, backwards, 0),
        Err(PortsError::Exhausted)
    );
    ports.release(9, 6, 1);
}

#[test]
fn edges_of_ranges_lie_within_blocks() {
    for (first, last) in [(0, 0), (63, 64), (65_535, 65_535), (1, 62), (0, 65_535)] {
        let range = PortRange { first, last };
        let bits: u32 = (0..BLOCKS).map(|block| range.bits(block).count_ones()).sum();
        assert_eq!(bits, u32::from(last - first) + 1);
    }
}
