//! Two workers on one table at once.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

struct Shared {
    part: Vec<AtomicU64>,
    batches: Vec<AtomicU64>,
    barrier: Barrier,
}

const PARKED: u64 = u64::MAX;

fn shared(capacity: usize) -> Shared {
    let part = words(Sessions::<Key4>::words(capacity));
    Sessions::<Key4>::format(&part, capacity, SEED).unwrap();
    Shared {
        part,
        batches: words(2),
        barrier: Barrier::new(2),
    }
}

impl Shared {
    fn batch(&self, worker: usize) {
        self.batches[worker].fetch_add(1, SeqCst);
        std::sync::atomic::fence(SeqCst);
    }

    fn counter(&self, worker: usize) -> Option<u64> {
        Some(self.batches[worker].load(SeqCst)).filter(|batch| *batch != PARKED)
    }
}

/// What a worker was given by another's insertion must be the same session.
#[test]
fn two_workers_that_insert_the_same_flows_agree_on_each() {
    const FLOWS: u32 = 4_000;
    let world = shared(FLOWS as usize);
    let run = |worker: usize| {
        let sessions = Sessions::<Key4>::open(&world.part).unwrap();
        let mut local = WorkerLocal::new(worker, 2, 1);
        let mut agreed = Vec::new();
        world.barrier.wait();
        for flow in 0..FLOWS {
            let new = NewSession {
                mapping: worker as u32,
                ..flow4(flow)
            };
            agreed.push(match sessions.insert(&mut local, &new, 0) {
                Ok(Inserted::New(hit)) => (true, hit.session),
                Ok(Inserted::Existing(hit)) => (false, hit.session),
                Err(error) => panic!("{error}"),
            });
        }
        agreed
    };
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        (run(0), other.join().expect("worker 1"))
    });
    let sessions = Sessions::<Key4>::open(&world.part).unwrap();
    assert_eq!(check(&sessions), FLOWS as usize);
    for flow in 0..FLOWS as usize {
        assert!(first[flow].0 != second[flow].0, "flow {flow}: exactly one inserted it");
    }
}

/// Both ends open at once: the two sessions have each other's keys.
#[test]
fn a_flow_and_its_mirror_image_become_one_session() {
    const FLOWS: u32 = 4_000;
    let world = shared(FLOWS as usize);
    let run = |worker: usize| {
        let sessions = Sessions::<Key4>::open(&world.part).unwrap();
        let mut local = WorkerLocal::new(worker, 2, 1);
        world.barrier.wait();
        for flow in 0..FLOWS {
            let mut new = flow4(flow);
            if worker == 1 {
                (new.forward, new.reverse) = (new.reverse, new.forward);
            }
            let answer = sessions.insert(&mut local, &new, 0);
            assert!(answer.is_ok(), "{answer:?}");
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| run(1));
        run(0);
    });
    assert_eq!(check(&Sessions::<Key4>::open(&world.part).unwrap()), FLOWS as usize);
}

/// Entries come and go on both workers, while each checks that a hit is its key's and no other's.
#[test]
fn a_reader_never_takes_another_session_for_its_own() {
    let world = shared(64);
    let run = |worker: usize| {
        let sessions = Sessions::<Key4>::open(&world.part).unwrap();
        let mut local = WorkerLocal::new(worker, 2, 1);
        let mut random = 88_172_645_463_325_252u64 + worker as u64;
        world.barrier.wait();
        for _ in 0..60_000 {
            world.batch(worker);
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let new = flow4((random >> 20) as u32 % 96);
            match sessions.lookup(&new.forward) {
                Some(hit) => {
                    assert_eq!((hit.rewrite_to, hit.flags), (new.reverse.swapped(), 0x5a));
                    sessions.touch(&hit, 0, 0, 1);
                    if random & 1 == 0 {
                        sessions.remove(&mut local, hit.session, hit.version);
                    }
                }
                None => {
                    let _ = sessions.insert(&mut local, &new, 0);
                }
            }
            sessions.reclaim(&mut local, 8, &|worker| world.counter(worker));
        }
        world.batches[worker].store(PARKED, SeqCst);
        for _ in 0..200 {
            sessions.reclaim(&mut local, 64, &|worker| world.counter(worker));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| run(1));
        run(0);
    });
    check(&Sessions::<Key4>::open(&world.part).unwrap());
}

/// Both workers decide again and again; epochs only rise, and one session remains for each flow.
#[test]
fn re_decisions_on_two_workers_never_go_back() {
    let world = shared(256);
    let epoch = AtomicU64::new(1);
    let run = |worker: usize| {
        let sessions = Sessions::<Key4>::open(&world.part).unwrap();
        let mut local = WorkerLocal::new(worker, 2, 1);
        let mut seen = [0u32; 8];
        world.barrier.wait();
        for round in 0..20_000u32 {
            world.batch(worker);
            let flow = round % 8;
            let now_epoch = if round % 16 < 8 {
                epoch.fetch_add(1, SeqCst)
            } else {
                epoch.load(SeqCst)
            } as u32;
            let new = NewSession {
                epochs: [now_epoch, 1],
                ..flow4(flow)
            };
            let answer = match sessions.lookup(&new.forward) {
                Some(hit) if hit.epochs[0] < now_epoch => sessions.supersede(&mut local, &hit, &new, 0, |_| {}),
                Some(hit) => Ok(Inserted::Existing(hit)),
                None => sessions.insert(&mut local, &new, 0),
            };
            if answer == Err(InsertError::TableFull) {
                // The other worker is off its core, and all spare entries wait for it.
                thread::yield_now();
                sessions.reclaim(&mut local, 64, &|worker| world.counter(worker));
                continue;
            }
            let (Ok(Inserted::New(hit)) | Ok(Inserted::Existing(hit))) = answer else {
                panic!("{answer:?}")
            };
            assert!(
                hit.epochs[0] + 64 >= seen[flow as usize],
                "{} after {}",
                hit.epochs[0],
                seen[flow as usize]
            );
            seen[flow as usize] = seen[flow as usize].max(hit.epochs[0]);
            sessions.reclaim(&mut local, 64, &|worker| world.counter(worker));
        }
        world.batches[worker].store(PARKED, SeqCst);
    };
    thread::scope(|scope| {
        scope.spawn(|| run(1));
        run(0);
    });
    assert_eq!(check(&Sessions::<Key4>::open(&world.part).unwrap()), 8);
}
