//! Mappings: one outside endpoint for each inside one, no outside endpoint for two, ports conserved; also over crashes and threads.

mod begin;
mod load;

use super::*;
use crate::ports::Ports;
use crate::sync::crash::stop_at;
use crate::tcp::protocol;
use std::collections::{HashMap, HashSet};
use std::sync::Barrier;
use std::thread;

const SEED: [u64; 2] = [3, 4];
const POOL: PoolView<u32> = PoolView {
    first: 0xcb00_7100,
    count: 2,
    port_first: 20_000,
    port_last: 20_099,
    sessions_per_host_max: 0,
    row: 0,
};

struct Parts {
    table: Vec<AtomicU64>,
    ports: Vec<AtomicU64>,
}

fn zeroed(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

impl Parts {
    fn new(capacity: usize) -> Self {
        let parts = Parts {
            table: zeroed(Mappings::<u32>::words(capacity)),
            ports: zeroed(Ports::words(2)),
        };
        Mappings::<u32>::format(&parts.table, capacity, SEED).unwrap();
        parts
    }

    fn open(&self) -> (Mappings<'_, u32>, Ports<'_>) {
        (Mappings::open(&self.table).unwrap(), Ports::open(&self.ports))
    }
}

fn inside(host: u32, port: u16) -> Inside<u32> {
    Inside {
        segment: 1,
        protocol: protocol::UDP,
        address: 0x0a00_0000 + host,
        port,
        pool: 0,
    }
}

/// No outside endpoint twice, one address for a host, and exactly the mappings' ports taken.
fn check(mappings: &Mappings<'_, u32>, ports: &Ports<'_>) -> usize {
    let (mut outside, mut addresses) = (HashSet::new(), HashMap::new());
    for mapping in 0..mappings.entries() {
        let Some(view) = mappings.view(mapping) else { continue };
        assert_eq!(
            *addresses.entry(view.inside.address).or_insert(view.address),
            view.address,
            "paired pooling"
        );
        if view.inside.protocol != 0 {
            assert!(outside.insert((view.address, view.port)), "{view:?}");
        }
    }
    let taken = ports.taken(0, protocol::UDP) + ports.taken(1, protocol::UDP);
    assert_eq!(taken as usize, outside.len(), "ports are conserved");
    outside.len()
}

#[test]
fn an_inside_endpoint_keeps_its_outside_until_its_last_session_and_a_while() {
    let parts = Parts::new(64);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    let first = mappings.bind(&ports, &mut local, &inside(1, 5), &POOL, 100).unwrap();
    let second = mappings.bind(&ports, &mut local, &inside(1, 5), &POOL, 100).unwrap();
    assert_eq!(first, second);
    let other = mappings.bind(&ports, &mut local, &inside(1, 6), &POOL, 100).unwrap();
    assert!(other.address == first.address && other.port != first.port);
    assert_eq!(mappings.rebind(first.mapping, 100), Some(first));
    for _ in 0..3 {
        mappings.release(first.mapping, 200);
    }
    mappings.expire(&ports, &mut local, 209, 10, 64);
    assert_eq!(check(&mappings, &ports), 2, "it lingers");
    let revived = mappings.bind(&ports, &mut local, &inside(1, 5), &POOL, 209).unwrap();
    assert_eq!(revived, first);
    mappings.release(revived.mapping, 210);
    mappings.expire(&ports, &mut local, 220, 10, 64);
    assert_eq!(check(&mappings, &ports), 1);
    mappings.release(other.mapping, 300);
    mappings.expire(&ports, &mut local, 400, 10, 64);
    assert_eq!(check(&mappings, &ports), 0);
    assert!(
        (0..mappings.entries()).all(|mapping| mappings.view(mapping).is_none()),
        "the host is gone too"
    );
}

fn shown(mappings: &Mappings<'_, u32>, outside: (u32, u16)) -> Option<Inside<u32>> {
    mappings.behind(protocol::UDP, outside.0, outside.1)
}

#[test]
fn a_mapping_is_found_by_its_outside_endpoint_as_long_as_it_is() {
    let parts = Parts::new(64);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    let bound: Vec<_> = (1..9)
        .map(|host| {
            let inside = inside(host, 5);
            (inside, mappings.bind(&ports, &mut local, &inside, &POOL, 0).unwrap())
        })
        .collect();
    for (inside, binding) in &bound {
        let outside = (binding.address, binding.port);
        assert_eq!(shown(&mappings, outside), Some(*inside));
        assert_eq!(mappings.behind(protocol::TCP, outside.0, outside.1), None);
        assert_eq!(
            shown(&mappings, (outside.0 ^ 1, outside.1)),
            None,
            "of the pool's other address"
        );
    }
    // A mapping that a crash left alone has its slot again, once.
    ports.clear();
    mappings.scrub(&ports, 0);
    let (inside, binding) = bound[0];
    let outside = (binding.address, binding.port);
    assert_eq!(shown(&mappings, outside), Some(inside));
    mappings.expire(&ports, &mut local, 1_000, 10, 64);
    for (_, binding) in &bound {
        assert_eq!(shown(&mappings, (binding.address, binding.port)), None);
    }
    for _ in 0..2 {
        mappings.expire(&ports, &mut local, 2_000, 10, 64);
    }
    assert_eq!(mappings.table().index.occupancy().0, 0, "no slot is left behind");
}

#[test]
fn binds_that_go_in_steps_together_end_as_if_one_came_after_the_other() {
    let parts = Parts::new(64);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    // Two of one endpoint, two hosts, and two endpoints of one host.
    let wanted = [inside(1, 7), inside(1, 7), inside(2, 7), inside(1, 8)];
    let aimed = wanted.map(|wanted| mappings.aim(&wanted));
    for aimed in &aimed {
        mappings.approach(aimed);
    }
    let bound = aimed.map(|aimed| mappings.bind_aimed(&ports, &mut local, &aimed, &POOL, 5).unwrap());
    let outside = |bound: &Bound<u32>| (bound.binding.address, bound.binding.port);
    assert_eq!(shown(&mappings, outside(&bound[0])), None, "not yet");
    let bindings = bound.each_ref().map(|bound| mappings.show(bound));
    for (bound, wanted) in bound.iter().zip(wanted) {
        assert_eq!(shown(&mappings, outside(bound)), Some(wanted));
    }
    assert_eq!(bindings[0], bindings[1]);
    assert_eq!(mappings.view(bindings[0].mapping).unwrap().sessions, 2);
    assert_eq!(bindings[0].address, bindings[3].address, "paired pooling");
    assert_eq!(check(&mappings, &ports), 3);
}

#[test]
fn a_pool_gives_all_its_ports_and_then_says_so() {
    let parts = Parts::new(1_000);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    // Hosts with one endpoint each: they fall over to the address that has ports left.
    for host in 0..200 {
        let _ = mappings.bind(&ports, &mut local, &inside(host, 5), &POOL, 0).unwrap();
    }
    assert_eq!(check(&mappings, &ports), 200);
    assert_eq!(
        mappings.bind(&ports, &mut local, &inside(200, 5), &POOL, 1),
        Err(BindError::PoolExhausted)
    );
    // A host that has an address stays on it, though the other address has a port again.
    let view = mappings
        .view(
            mappings
                .bind(&ports, &mut local, &inside(0, 5), &POOL, 1)
                .unwrap()
                .mapping,
        )
        .unwrap();
    let elsewhere = (0..mappings.entries())
        .find(|mapping| {
            mappings
                .view(*mapping)
                .is_some_and(|other| other.row != view.row && other.inside.protocol != 0)
        })
        .unwrap();
    mappings.release(elsewhere, 1);
    mappings.expire(&ports, &mut local, 100, 10, 1_000);
    assert_eq!(
        mappings.bind(&ports, &mut local, &inside(0, 6), &POOL, 101),
        Err(BindError::PoolExhausted)
    );
    assert!(mappings.bind(&ports, &mut local, &inside(300, 6), &POOL, 101).is_ok());
    check(&mappings, &ports);
}

#[test]
fn a_host_with_an_address_that_is_not_the_pools_any_more_gets_another() {
    let parts = Parts::new(64);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    let changed = |first, row| PoolView {
        first,
        count: 1,
        row,
        sessions_per_host_max: 3,
        ..POOL
    };
    let (old_pool, new_pool) = (changed(POOL.first, 0), changed(POOL.first + 16, 1));
    let old = mappings.bind(&ports, &mut local, &inside(1, 5), &old_pool, 0).unwrap();
    let new = mappings.bind(&ports, &mut local, &inside(1, 6), &new_pool, 0).unwrap();
    assert_eq!((old.address, new.address), (POOL.first, POOL.first + 16));
    assert_eq!(
        mappings.bind(&ports, &mut local, &inside(1, 5), &new_pool, 0),
        Err(BindError::PoolInvalid),
        "the old mapping is not joined"
    );
    let third = mappings.bind(&ports, &mut local, &inside(1, 7), &new_pool, 0).unwrap();
    assert_eq!(
        mappings.bind(&ports, &mut local, &inside(1, 8), &new_pool, 0),
        Err(BindError::HostQuota),
        "the host's old sessions count"
    );
    // Over a crash every mapping keeps its port, in its own row.
    ports.clear();
    assert_eq!(mappings.scrub(&ports, 0).0, 4);
    assert_eq!([0, 1].map(|row| ports.taken(row, protocol::UDP)), [1, 2]);
    for binding in [old, new, third] {
        mappings.release(binding.mapping, 0);
    }
    mappings.expire(&ports, &mut local, 100, 10, 64);
    assert_eq!([0, 1].map(|row| ports.taken(row, protocol::UDP)), [0, 0]);
}

#[test]
fn a_pool_knows_the_rows_of_its_addresses_alone() {
    let pool = PoolView { row: 7, ..POOL };
    let rows = [POOL.first - 1, POOL.first, POOL.first + 1, POOL.first + 2].map(|address| pool.row_of(address));
    assert_eq!(rows, [None, Some(7), Some(8), None]);
    let six = PoolView {
        first: [0; 16],
        count: 2,
        port_first: 1,
        port_last: 2,
        sessions_per_host_max: 0,
        row: 0,
    };
    let far = core::array::from_fn(|at| u8::from(at == 0));
    assert_eq!((six.row_of([0; 16]), six.row_of(far)), (Some(0), None));
}

#[test]
fn quotas_and_other_refusals_hold_nothing() {
    let parts = Parts::new(64);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    let pool = PoolView {
        sessions_per_host_max: 3,
        ..POOL
    };
    let held = [5, 5, 6].map(|port| mappings.bind(&ports, &mut local, &inside(1, port), &pool, 0).unwrap());
    for port in [5, 7] {
        assert_eq!(
            mappings.bind(&ports, &mut local, &inside(1, port), &pool, 0),
            Err(BindError::HostQuota)
        );
    }
    assert!(
        mappings.bind(&ports, &mut local, &inside(2, 5), &pool, 0).is_ok(),
        "another host"
    );
    mappings.release(held[0].mapping, 0);
    assert!(mappings.bind(&ports, &mut local, &inside(1, 7), &pool, 0).is_ok());
    let refused = |local: &mut WorkerLocal, inside, pool| mappings.bind(&ports, local, &inside, &pool, 0);
    assert_eq!(
        refused(
            &mut local,
            Inside {
                protocol: 50,
                ..inside(3, 5)
            },
            POOL
        ),
        Err(BindError::Untranslatable)
    );
    assert_eq!(
        refused(
            &mut local,
            Inside {
                protocol: 0,
                ..inside(3, 5)
            },
            POOL
        ),
        Err(BindError::Untranslatable)
    );
    assert_eq!(
        refused(&mut local, inside(3, 5), PoolView { count: 0, ..POOL }),
        Err(BindError::PoolInvalid)
    );
    assert_eq!(
        refused(&mut local, inside(3, 5), PoolView { row: 2, ..POOL }),
        Err(BindError::PoolInvalid)
    );
    assert_eq!(
        refused(
            &mut local,
            Inside {
                pool: POOLS_MAX,
                ..inside(3, 5)
            },
            POOL
        ),
        Err(BindError::PoolInvalid)
    );
    check(&mappings, &ports);
}

#[test]
fn ipv6_endpoints_are_mapped_alike() {
    let (table, words) = (zeroed(Mappings::<[u8; 16]>::words(16)), zeroed(Ports::words(1)));
    let mappings = Mappings::<[u8; 16]>::format(&table, 16, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 1, 1);
    let inside = Inside {
        segment: 1,
        protocol: protocol::TCP,
        address: [9; 16],
        port: 7,
        pool: 1,
    };
    let pool = PoolView {
        first: [8; 16],
        count: 1,
        port_first: 1_024,
        port_last: 65_535,
        sessions_per_host_max: 0,
        row: 0,
    };
    let binding = mappings
        .bind(&Ports::open(&words), &mut local, &inside, &pool, 0)
        .unwrap();
    assert_eq!(binding.address, [8; 16]);
    assert_eq!(mappings.view(binding.mapping).unwrap().inside, inside);
}

#[test]
fn a_stop_at_any_step_of_a_bind_or_an_end_loses_no_port() {
    let operations: [fn(&Mappings<'_, u32>, &Ports<'_>, &mut WorkerLocal); 4] = [
        |mappings, ports, local| assert!(begin::bind(mappings, ports, local, &inside(1, 5), &POOL, 100).is_ok()),
        |mappings, ports, local| assert!(mappings.bind(ports, local, &inside(1, 5), &POOL, 100).is_ok()),
        |mappings, ports, local| assert!(mappings.bind(ports, local, &inside(9, 5), &POOL, 100).is_ok()),
        |mappings, ports, local| mappings.expire(ports, local, 100, 10, 64),
    ];
    for operation in operations {
        let mut at = 0;
        loop {
            let parts = Parts::new(32);
            let (mappings, ports) = parts.open();
            let mut local = WorkerLocal::new(0, 1, 1);
            let kept = mappings.bind(&ports, &mut local, &inside(1, 4), &POOL, 0).unwrap();
            let gone = mappings.bind(&ports, &mut local, &inside(2, 4), &POOL, 0).unwrap();
            mappings.release(gone.mapping, 0);
            let finished = stop_at(at, || operation(&mappings, &ports, &mut local)).is_some();
            ports.clear();
            mappings.scrub(&ports, 100);
            check(&mappings, &ports);
            assert!(mappings.readopt(
                kept.mapping,
                (0x0a00_0001, 4),
                (kept.address, kept.port),
                protocol::UDP,
                100
            ));
            assert_eq!(mappings.view(kept.mapping).unwrap().sessions, 1);
            let mut local = WorkerLocal::new(0, 3, 1);
            for worker in 0..3 {
                let mut hand = WorkerLocal::new(worker, 3, 1);
                mappings.expire(&ports, &mut hand, 200, 10, 1_000);
            }
            assert_eq!(check(&mappings, &ports), 1, "what no session holds goes");
            assert!(mappings.bind(&ports, &mut local, &inside(7, 7), &POOL, 200).is_ok());
            if finished {
                break;
            }
            at += 1;
        }
        assert!(at >= 3, "{at}");
    }
}

#[test]
fn two_workers_agree_on_every_mapping() {
    let parts = Parts::new(4_000);
    let barrier = Barrier::new(2);
    let pool = PoolView {
        port_first: 1_024,
        port_last: 65_535,
        ..POOL
    };
    let run = |worker: usize| {
        let (mappings, ports) = parts.open();
        let mut local = WorkerLocal::new(worker, 2, 1);
        barrier.wait();
        (0..3_000u32)
            .map(|turn| {
                let inside = inside(turn / 10, turn as u16 % 10);
                match worker {
                    0 => mappings.bind(&ports, &mut local, &inside, &pool, 0).unwrap(),
                    _ => begin::bind(&mappings, &ports, &mut local, &inside, &pool, 0).unwrap(),
                }
            })
            .collect::<Vec<_>>()
    };
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        (run(0), other.join().expect("worker 1"))
    });
    let (mappings, ports) = parts.open();
    assert_eq!(check(&mappings, &ports), 3_000);
    for (ours, theirs) in first.iter().zip(&second) {
        assert_eq!(
            (ours.address, ours.port),
            (theirs.address, theirs.port),
            "endpoint-independent"
        );
        assert_eq!(mappings.view(ours.mapping).unwrap().sessions, 2);
        mappings.release(ours.mapping, 5);
        mappings.release(ours.mapping, 5);
    }
    let mut local = WorkerLocal::new(0, 1, 1);
    mappings.expire(&ports, &mut local, 100, 10, 10_000);
    assert_eq!(check(&mappings, &ports), 0);
}
