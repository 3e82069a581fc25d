//! What an idle IKE SA costs in memory, its child SA and all that the endpoint keeps for it included, and how long many take to come up.
//! `TOMBOLO_IKE_IDLE=10000` asks for so many.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;
use tombolo_ike::connection::{Connection, Path};
use tombolo_ike::endpoint::{Endpoint, Limits};
use tombolo_ike::identity::Identity;
use tombolo_ike::now::{Milliseconds, Now};

mod lab;

/// Bytes that are allocated now.
static ALLOCATED: AtomicI64 = AtomicI64::new(0);

struct Counting;

// SAFETY: what the system's allocator gives and takes is only counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes for one.
const BYTES_MAX: i64 = 8 * 1024;
const SAS: u32 = 1000;

fn address(side: usize, number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + (side as u32) * 0x0080_0000 + number).into()
}

fn connection(side: usize, number: u32) -> Connection {
    let mut connection = lab::connection(side);
    let (own, peer) = (address(side, number), address(1 - side, number));
    connection.name = format!("t{number}");
    (connection.local, connection.remote) = (own, Some(peer));
    (connection.own.identity, connection.peer.identity) = (Identity::Address(own), Some(Identity::Address(peer)));
    connection
}

fn flush(endpoint: &mut Endpoint, from: usize, way: &mut VecDeque<(usize, Path, Vec<u8>)>) -> usize {
    let commit = endpoint.take_commit();
    let stored = commit
        .iter()
        .flat_map(|commit| &commit.put)
        .map(|record| record.bytes.len())
        .max();
    for transmit in endpoint.take_transmits() {
        let path = Path {
            local: transmit.path.remote,
            remote: transmit.path.local,
        };
        way.push_back((1 - from, path, transmit.bytes));
    }
    drop(endpoint.take_news());
    stored.unwrap_or(0)
}

#[test]
fn an_idle_ike_sa_costs_less_than_eight_kibibytes() {
    let count = std::env::var("TOMBOLO_IKE_IDLE").map_or(SAS, |text| text.parse().unwrap());
    let now = Now {
        monotonic: Milliseconds(1_000_000),
        unix: 1_800_000_000,
    };
    let seed = |seed| Box::new(lab::Seed(seed));
    let limits = Limits {
        cookies_from: usize::MAX,
        half_open_max: usize::MAX,
        ..Limits::default()
    };
    let mut endpoints = [1, 2].map(|number| Endpoint::new(limits, seed(number)));
    for (side, endpoint) in endpoints.iter_mut().enumerate() {
        endpoint.configure(now, (0..count).map(|number| connection(side, number)).collect());
    }
    let (before, began) = (ALLOCATED.load(Ordering::Relaxed), Instant::now());
    let (mut way, mut stored) = (VecDeque::new(), 0);
    endpoints[0].handle_timeout(now);
    flush(&mut endpoints[0], 0, &mut way);
    while let Some((side, path, bytes)) = way.pop_front() {
        endpoints[side].handle_datagram(now, path, &bytes);
        stored = flush(&mut endpoints[side], side, &mut way);
    }
    let seconds = began.elapsed().as_secs_f64();
    for endpoint in &mut endpoints {
        assert_eq!(endpoint.children().filter(|view| view.sends).count() as u32, count);
        assert!(endpoint.children_changed());
    }
    drop(way);
    let each = (ALLOCATED.load(Ordering::Relaxed) - before) / (2 * i64::from(count)) + stored as i64;
    println!(
        "{count} IKE SAs with a child each: {each} bytes each, {stored} of them stored; both sides of one took {:.2} ms",
        seconds * 1000.0 / f64::from(count)
    );
    assert!(each < BYTES_MAX, "{each} bytes for one");
}
