//! Model checking of publication, announcement, parking, quiescence and rings: every interleaving and every value that a
//! load may return under the memory model (within the stated bound on preemptions).
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p tombolo-tables --release --test loom_publish`.
#![cfg(loom)]

use core::sync::atomic::Ordering;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use tombolo_tables::publish_protocol::{
    PARKED, UNKNOWN, announce, begin_batch, current, oldest_in_use, park, publish, unpark,
};
use tombolo_tables::ring::{RING_HEADER_WORDS, Ring};
use tombolo_tables::sync::Word;

/// The checker's atomic behind the crate's trait.
struct Modelled(loom::sync::atomic::AtomicU64);

impl Modelled {
    fn new(value: u64) -> Modelled {
        Modelled(loom::sync::atomic::AtomicU64::new(value))
    }
}

impl Word for Modelled {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }

    fn fence(order: Ordering) {
        loom::sync::atomic::fence(order);
    }
}

/// A word of plain memory: the checker reports two accesses of which none happens before the other, one a write.
struct Plain {
    accesses: UnsafeCell<()>,
    value: Modelled,
}

// SAFETY: the cell holds nothing and no pointer to it is followed; it only tells the checker of accesses.
unsafe impl Sync for Plain {}

impl Plain {
    fn new(value: u64) -> Plain {
        Plain {
            accesses: UnsafeCell::new(()),
            value: Modelled::new(value),
        }
    }

    fn read(&self) -> u64 {
        self.accesses.with(|_| self.value.load(Ordering::Relaxed))
    }

    fn write(&self, value: u64) {
        self.accesses.with_mut(|_| self.value.store(value, Ordering::Relaxed));
    }
}

/// Two extents, reused in turn: generation g lies in extent g mod 2, whose bytes must say g.
struct Shared {
    root: Modelled,
    extents: [Plain; 2],
    announced: Vec<Modelled>,
}

impl Shared {
    fn new(workers: usize) -> Arc<Shared> {
        Arc::new(Shared {
            root: Modelled::new(1),
            extents: [Plain::new(0), Plain::new(1)],
            announced: (0..workers).map(|_| Modelled::new(PARKED)).collect(),
        })
    }

    fn read(&self, generation: u64) {
        let seen = self.extents[(generation % 2) as usize].read();
        assert_eq!(seen, generation, "the memory of a generation in use was written");
    }

    fn write(&self, generation: u64) {
        self.extents[(generation % 2) as usize].write(generation);
    }

    /// Control: publishes up to `last`; reuses memory only when the generation it held is out of use, if `waits`.
    fn control(&self, last: u64, waits: bool) {
        for generation in 2..=last {
            while waits && oldest_in_use(self.announced.iter()) < generation - 1 {
                thread::yield_now();
            }
            self.write(generation);
            publish(&self.root, generation);
        }
    }

    /// A batch as `reader.rs` does it: a new generation is looked at before it is announced.
    fn batch(&self, worker: usize, known: &mut u64) {
        let newest = current(&self.root);
        if newest != *known {
            self.read(newest);
            announce(&self.announced[worker], newest);
            *known = newest;
        }
        self.read(*known);
    }

    /// A worker that wakes, runs one batch and sleeps.
    fn short_worker(&self, worker: usize) {
        unpark(&self.announced[worker]);
        self.batch(worker, &mut 0);
        park(&self.announced[worker]);
    }

    /// A worker: wakes, some batches, sleeps, wakes, a batch, sleeps.
    fn worker(&self, worker: usize, batches: usize) {
        let mut known = 0;
        unpark(&self.announced[worker]);
        for _ in 0..batches {
            self.batch(worker, &mut known);
        }
        park(&self.announced[worker]);
        let mut known = 0;
        unpark(&self.announced[worker]);
        self.batch(worker, &mut known);
        park(&self.announced[worker]);
    }
}

/// Two copies of a section, as `publish_copies` keeps them. Generation g lies in copy g mod 2 and changed word g mod 2 alone, so that its
/// other word must say g - 1.
struct Copies {
    root: Modelled,
    copies: [[Plain; 2]; 2],
    announced: Modelled,
}

impl Copies {
    fn new() -> Arc<Copies> {
        Arc::new(Copies {
            root: Modelled::new(1),
            copies: [[Plain::new(0), Plain::new(0)], [Plain::new(0), Plain::new(1)]],
            announced: Modelled::new(PARKED),
        })
    }

    fn read(&self, generation: u64) {
        let of = generation as usize % 2;
        let seen = [self.copies[of][of].read(), self.copies[of][1 - of].read()];
        assert_eq!(seen, [generation, generation - 1], "a mixture of generations");
    }

    /// Brings the copy that the generation before the current one left up to date, writes the change, publishes.
    fn control(&self, last: u64, waits: bool) {
        for generation in 2..=last {
            while waits && oldest_in_use([&self.announced].into_iter()) < generation - 1 {
                thread::yield_now();
            }
            let (of, other) = (generation as usize % 2, 1 - generation as usize % 2);
            self.copies[of][other].write(self.copies[other][other].read());
            self.copies[of][of].write(generation);
            publish(&self.root, generation);
        }
    }

    fn worker(&self, batches: usize) {
        let mut known = 0;
        unpark(&self.announced);
        for _ in 0..batches {
            let newest = current(&self.root);
            if newest != known {
                self.read(newest);
                announce(&self.announced, newest);
                known = newest;
            }
            self.read(known);
        }
        park(&self.announced);
    }
}

fn change_a_copy(waits: bool) {
    let copies = Copies::new();
    let theirs = copies.clone();
    let worker = thread::spawn(move || theirs.worker(2));
    copies.control(3, waits);
    worker.join().unwrap();
}

#[test]
fn changes_go_into_the_copy_that_nobody_reads() {
    model(3, || change_a_copy(true));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn changes_to_a_copy_that_may_be_read_are_found_out() {
    model(3, || change_a_copy(false));
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn one_worker_that_parks_and_wakes_sees_whole_generations() {
    model(4, || {
        let shared = Shared::new(1);
        let theirs = shared.clone();
        let worker = thread::spawn(move || theirs.worker(0, 2));
        shared.control(3, true);
        worker.join().unwrap();
    });
}

#[test]
fn two_workers_see_whole_generations() {
    model(2, || {
        let shared = Shared::new(2);
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let theirs = shared.clone();
                thread::spawn(move || theirs.short_worker(worker))
            })
            .collect();
        shared.control(3, true);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn control_that_does_not_wait_is_found_out() {
    model(3, || {
        let shared = Shared::new(1);
        let theirs = shared.clone();
        let worker = thread::spawn(move || theirs.worker(0, 2));
        shared.control(3, false);
        worker.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_worker_that_wakes_without_a_fence_is_found_out() {
    model(3, || {
        let shared = Shared::new(1);
        let theirs = shared.clone();
        let worker = thread::spawn(move || {
            theirs.announced[0].store(UNKNOWN, Ordering::Relaxed);
            theirs.batch(0, &mut 0);
            park(&theirs.announced[0]);
        });
        shared.control(3, true);
        worker.join().unwrap();
    });
}

#[test]
fn a_control_that_takes_over_sees_who_looks() {
    model(3, || {
        let shared = Shared::new(1);
        let (theirs, first) = (shared.clone(), shared.clone());
        let worker = thread::spawn(move || theirs.worker(0, 1));
        // The first control publishes generation 2 and dies; its successor knows only what lies in memory.
        thread::spawn(move || first.control(2, true)).join().unwrap();
        assert_eq!(current(&shared.root), 2);
        Modelled::fence(Ordering::SeqCst);
        while oldest_in_use(shared.announced.iter()) < 2 {
            thread::yield_now();
        }
        shared.write(3);
        publish(&shared.root, 3);
        worker.join().unwrap();
    });
}

/// One table entry and the bucket word that names it (1) or not (0).
struct Table {
    bucket: Modelled,
    entry: Plain,
    batches: Modelled,
    announced: Modelled,
}

/// A worker looks the entry up in two batches while a remover unlinks it and, once the worker's batch counter moved or the worker sleeps,
/// writes it.
fn reuse_an_entry(waits: bool) {
    let table = Arc::new(Table {
        bucket: Modelled::new(1),
        entry: Plain::new(7),
        batches: Modelled::new(0),
        announced: Modelled::new(PARKED),
    });
    let theirs = table.clone();
    let worker = thread::spawn(move || {
        unpark(&theirs.announced);
        for _ in 0..2 {
            begin_batch(&theirs.batches);
            if theirs.bucket.load(Ordering::Acquire) == 1 {
                assert_eq!(theirs.entry.read(), 7, "the entry was reused in sight");
            }
        }
        park(&theirs.announced);
    });
    table.bucket.store(0, Ordering::Release);
    Modelled::fence(Ordering::SeqCst);
    let then = table.batches.load(Ordering::Acquire);
    while waits && table.batches.load(Ordering::Acquire) == then && table.announced.load(Ordering::Acquire) != PARKED {
        thread::yield_now();
    }
    table.entry.write(8);
    worker.join().unwrap();
}

#[test]
fn an_unlinked_entry_is_out_of_sight_once_the_batch_counter_moved() {
    model(4, || reuse_an_entry(true));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_remover_that_does_not_wait_is_found_out() {
    model(3, || reuse_an_entry(false));
}

#[test]
fn a_ring_delivers_whole_records_in_order() {
    model(3, || {
        let words: Arc<Vec<Modelled>> = Arc::new((0..RING_HEADER_WORDS + 2).map(|_| Modelled::new(0)).collect());
        let theirs = words.clone();
        let producer = thread::spawn(move || {
            let ring = Ring::new(&theirs, 2).unwrap();
            let mut sent = 0;
            for value in 1..=3 {
                sent += u64::from(ring.push(|record| {
                    record[0].store(value, Ordering::Relaxed);
                    record[1].store(value, Ordering::Relaxed);
                }));
            }
            sent
        });
        let ring = Ring::new(&words, 2).unwrap();
        let (mut newest, mut received) = (0, 0);
        let mut take = || {
            ring.pop(|record| (record[0].load(Ordering::Relaxed), record[1].load(Ordering::Relaxed)))
                .map(|(a, b)| {
                    assert!(a == b && a > newest, "a torn or repeated record");
                    newest = a;
                    received += 1;
                })
        };
        for _ in 0..2 {
            take();
        }
        let sent = producer.join().unwrap();
        while take().is_some() {}
        assert_eq!((received, ring.dropped()), (sent, 3 - sent));
    });
}
