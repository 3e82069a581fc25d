//! No allocation in a worker after start: every path of the journey under an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tombolo_sim::frames::every_kind;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{fix_header_checksum, from_host, from_internet, parsed, sealed_by};
use tombolo_sim::packets::{Station, TcpFlags, Trip};
use tombolo_sim::worlds::{
    PROD, Side, TunnelKind, UPLINK, WEB4, WEB6, add_host, demo, move_epochs, port_forward, rule,
};
use tombolo_tables::build::World;
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::{neighbour_state, rule_action, sa_flag};

struct Counting;

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn note() {
    if WATCHING.get() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note();
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs the gateway and says what its workers asked of the allocator.
fn watched(gateway: &mut SimGateway) -> usize {
    let before = ALLOCATIONS.get();
    gateway.run_watched(&mut |turn| {
        WATCHING.set(true);
        let frames = turn();
        WATCHING.set(false);
        frames
    });
    ALLOCATIONS.get() - before
}

fn quiet(gateway: &mut SimGateway, what: &str) {
    assert_eq!(watched(gateway), 0, "{what}: calls of the allocator");
    for port in 0..3 {
        gateway.sent(port);
        gateway.punted(port);
    }
}

fn world() -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    add_host(&mut world, Side::A, PROD, 11);
    let to = Side::A.host4(PROD, 11);
    world.nat_rules.insert(0, port_forward(Side::A, 8080, to, 80));
    world.policy_rules.push(rule(UPLINK, PROD, rule_action::ALLOW));
    world
}

#[test]
fn the_control_sees_an_allocation() {
    WATCHING.set(true);
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1u8; 100]));
    WATCHING.set(false);
    assert_eq!(ALLOCATIONS.get() - before, 2);
}

#[test]
fn flows_through_nat_and_tunnels_begin_go_on_and_end_without_an_allocation() {
    let mut world = world();
    let mut a = SimGateway::new(&world, SMALL, 1);
    let mut sequence = 1;
    for round in 0..30u16 {
        for number in 0..100u16 {
            let port = round * 100 + number;
            let web = if number % 2 == 0 { WEB4 } else { WEB6 };
            let far = if number % 2 == 0 {
                Side::B.host4(PROD, 10)
            } else {
                Side::B.host6(PROD, 10)
            };
            a.arrive(0, PROD as u8, &from_host(Side::A, PROD, web).udp(port, 53, b"out"));
            a.arrive(0, PROD as u8, &from_host(Side::A, PROD, far).udp(port, 53, b"far"));
            let hairpin = from_host(Side::A, PROD, Side::A.outside4());
            a.arrive(0, PROD as u8, &hairpin.tcp(port, 8080, TcpFlags::SYN, Some(1460), b""));
            let forwarded = from_internet(Side::A, WEB4, Side::A.outside4());
            a.arrive(
                0,
                UPLINK as u8,
                &forwarded.tcp(port, 8080, TcpFlags::SYN, Some(1460), b""),
            );
            let inner = from_host(Side::B, PROD, Side::A.host4(PROD, 10)).udp(port, 9, b"in");
            a.arrive(0, UPLINK as u8, &sealed_by(Side::B, PROD, sequence, &inner[14..]));
            sequence += 1;
        }
        quiet(&mut a, "first and further packets");
        // Time passes: expiry, release of mappings, reuse of entries.
        a.sleep(if round % 5 == 4 { 600_000 } else { 1_000 });
        quiet(&mut a, "housekeeping");
        if round % 7 == 6 {
            move_epochs(&mut world);
            // A rekey: the worker expands the new key by itself.
            world.sas[0].key_version += 1;
            a.publish(&world);
        }
    }
    let drops = a.drops();
    assert!(
        drops.keys().all(|reason| *reason == DropReason::SessionTableFull),
        "{drops:?}"
    );
    a.assert_books();
}

#[test]
fn replies_errors_fragments_punts_and_the_kernels_packets_need_no_allocation() {
    let mut a = SimGateway::new(&world(), SMALL, 1);
    let asked = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"?");
    let sent = a.pass(PROD as u8, &asked, UPLINK as u8).remove(0);
    let answer = from_internet(Side::A, WEB4, Side::A.outside4()).udp(53, parsed(&sent).source_port, b"!");
    let mut expired = from_host(Side::A, PROD, Side::B.host4(PROD, 10));
    expired.ttl = 1;
    let large = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, &[7; 1460]);
    let mut told = large.clone();
    told[20] = 0x40;
    fix_header_checksum(&mut told);
    let mut cut = large;
    cut[20] = 0;
    fix_header_checksum(&mut cut);
    let kernel = Trip {
        from: Station {
            mac: Side::A.mac(PROD),
            ip: Side::A.host4(PROD, 1),
        },
        via: [0; 6],
        to: Side::B.host4(PROD, 10),
        ttl: 64,
    };
    for _ in 0..50 {
        for frame in [
            &asked,
            &expired.udp(1, 33434, b""),
            &told,
            &cut,
            &from_host(Side::A, PROD, Side::A.host4(PROD, 1)).echo(false, 1, b"punt"),
        ] {
            a.arrive(0, PROD as u8, frame);
        }
        a.arrive(0, UPLINK as u8, &answer);
        a.from_kernel(PROD as u8, &kernel.echo(true, 1, b"reply"));
        a.from_kernel(PROD as u8, &told);
        quiet(&mut a, "answers, errors, fragments, punts");
        a.sleep(100);
    }
    let kinds = every_kind(&mut a);
    for kind in &kinds {
        for length in (0..=kind.frame.len()).rev() {
            a.arrive(0, kind.port, &kind.frame[..length]);
            quiet(&mut a, kind.name);
        }
    }
    a.assert_books();
}

#[test]
fn packets_that_wait_for_a_next_hop_need_no_allocation() {
    let mut world = world();
    let known = world.neighbours.clone();
    for round in 0..3 {
        for neighbour in &mut world.neighbours {
            neighbour.state = neighbour_state::UNRESOLVED;
        }
        let mut a = SimGateway::new(&world, SMALL, 1);
        for number in 0..500u16 {
            let frame = from_host(Side::A, PROD, WEB4).udp(number, 53, b"early");
            a.arrive(0, PROD as u8, &frame);
        }
        quiet(&mut a, "held");
        assert!(a.counter(PROD, Counter::Held) > 0);
        assert!(a.drops().contains_key(&DropReason::HoldOverflow));
        if round == 0 {
            world.neighbours = known.clone();
            a.publish(&world);
        } else {
            a.sleep(5_000);
        }
        quiet(&mut a, "released or given up");
        assert_eq!(a.counter(PROD, Counter::Held), 0);
        a.assert_books();
    }
}

#[test]
fn handing_over_and_capturing_need_no_allocation() {
    let mut world = world();
    for sa in &mut world.sas {
        sa.flags &= !sa_flag::WIDE_PEER_WINDOW;
        sa.sealing_worker = 1;
    }
    let mut a = SimGateway::new(&world, SMALL, 2);
    for round in 0..10 {
        for number in 0..100u16 {
            let frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(number, 9, b"over");
            a.arrive(usize::from(number % 2), PROD as u8, &frame);
        }
        quiet(&mut a, "handed over");
        quiet(&mut a, "taken over");
        if round == 4 {
            world.capture = u64::MAX;
            a.publish(&world);
        }
    }
    assert!(a.counter(PROD, Counter::HandedOver) > 0);
    a.assert_books();
}
