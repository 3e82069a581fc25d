//! Publication within one process: sharing, reuse, refusals, and a kill at every step.

use super::*;
use crate::reader::Reader;
use crate::region::{HugePages, Region};
use crate::state::{Limits, StateSpec};
use proptest::prelude::*;

const WORKERS: u32 = 2;

fn tables_region(bytes: usize) -> TablesRegion {
    TablesRegion::create(Region::create("tables", bytes, HugePages::Never).unwrap()).unwrap()
}

fn state() -> State {
    let spec = StateSpec::new(Limits {
        workers: WORKERS,
        ports: 1,
        ..Limits::default()
    });
    State::create(Region::create("state", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap()
}

/// A world whose sections prove that they belong together: the capture word and every byte of the names follow from `number`.
struct World {
    capture: [u8; 8],
    names: Vec<u8>,
}

/// Does not change between worlds.
const SELECTORS: [u8; 64 * 3] = [7; 64 * 3];

impl World {
    fn new(number: u64, bytes: usize) -> World {
        World {
            capture: number.to_ne_bytes(),
            names: vec![letter(number); bytes],
        }
    }

    fn sections(&self) -> [&[u8]; SECTION_COUNT] {
        let mut sections: [&[u8]; SECTION_COUNT] = [&[]; SECTION_COUNT];
        sections[SectionId::Capture as usize] = &self.capture;
        sections[SectionId::Names as usize] = &self.names;
        sections[SectionId::Selectors as usize] = &SELECTORS;
        sections
    }

    fn publish(&self, publisher: &mut Publisher<'_>) -> Result<u64, PublishError> {
        publisher.publish_with(self.sections(), &mut |_| ControlFlow::Continue(()))
    }
}

fn letter(number: u64) -> u8 {
    b'a' + (number % 26) as u8
}

/// The number of the world that these tables are, all of them.
fn number(tables: Tables<'_>) -> u64 {
    let number = tables.capture();
    assert!(
        tables.names().bytes().all(|byte| byte == letter(number)),
        "torn: names of another world"
    );
    assert!(!tables.names().is_empty(), "torn: no names");
    number
}

fn publish(publisher: &mut Publisher<'_>, number: u64) -> u64 {
    World::new(number, 1000 + (number as usize * 37) % 500)
        .publish(publisher)
        .unwrap()
}

fn free_memory_is_zero(publisher: &Publisher<'_>) {
    for (offset, bytes) in publisher.free.runs() {
        let free = publisher.tables.region().section(offset, bytes).unwrap();
        assert!(
            free.iter().all(|byte| *byte == 0),
            "free memory at {offset} still holds something"
        );
    }
}

#[test]
fn a_worker_sees_each_generation_once_as_new() {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    let (first, changed) = reader.begin_batch();
    assert!(
        changed && first.ports().is_empty() && first.capture() == 0,
        "empty before the first generation"
    );
    assert!(!reader.begin_batch().1);
    assert_eq!(publish(&mut publisher, 5), 1);
    let (seen, changed) = reader.begin_batch();
    assert_eq!((number(seen), changed), (5, true));
    assert!(!reader.begin_batch().1);
    assert_eq!(
        (reader.generation(), state.workers().slot(0).unwrap().generation()),
        (1, Some(1))
    );
    reader.park();
    assert_eq!(state.workers().slot(0).unwrap().generation(), None);
    let (seen, changed) = reader.begin_batch();
    assert_eq!(
        (number(seen), changed),
        (5, false),
        "the same world after a nap is nothing new"
    );
    assert_eq!(reader.slot().batch_count(), 5);
}

#[test]
fn equal_sections_are_shared_and_freed_ones_zeroed() {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let whole = publisher.usage().free_bytes;
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    let world = World::new(1, 640);
    let first = world.publish(&mut publisher).unwrap();
    reader.begin_batch();
    assert_eq!(publisher.usage().free_bytes, whole - 640 - 64 - 192);
    let before = tables.directory(first).unwrap();
    let second = World::new(2, 640).publish(&mut publisher).unwrap();
    let after = tables.directory(second).unwrap();
    assert_eq!(
        after[SectionId::Selectors as usize],
        before[SectionId::Selectors as usize]
    );
    assert_eq!(
        publisher.usage().free_bytes,
        whole - 2 * (640 + 64) - 192,
        "the worker still uses the first"
    );
    reader.begin_batch();
    publisher.reclaim();
    assert_eq!(
        (publisher.usage().free_bytes, publisher.usage().generations),
        (whole - 640 - 64 - 192, 1)
    );
    free_memory_is_zero(&publisher);
    assert_eq!(number(reader.begin_batch().0), 2);
}

#[test]
fn a_world_that_does_not_fit_changes_nothing() {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    publish(&mut publisher, 1);
    reader.begin_batch();
    let (usage, directory) = (publisher.usage(), tables.directory(1));
    let refused = World::new(2, 60_000).publish(&mut publisher);
    assert!(
        matches!(
            refused,
            Err(PublishError::RegionFull {
                section: SectionId::Names,
                bytes: 60_000,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(
        (publisher.usage(), publisher.current(), tables.directory(1)),
        (usage, 1, directory)
    );
    assert_eq!(number(reader.begin_batch().0), 1);
    assert_eq!(publish(&mut publisher, 3), 2);
    assert_eq!(number(reader.begin_batch().0), 3);
}

#[test]
fn sections_that_workers_would_refuse_are_refused_here() {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let world = World::new(1, 10);
    let mut sections = world.sections();
    sections[SectionId::Ports as usize] = &[1, 2, 3];
    let refused = publisher.publish_with(sections, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(PublishError::Invalid(_))), "{refused:?}");
    assert_eq!(publisher.current(), 0);
}

#[test]
fn a_worker_that_stands_still_stops_the_ninth_generation() {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    publish(&mut publisher, 1);
    reader.begin_batch();
    for number in 2..=SLOTS as u64 {
        publish(&mut publisher, number);
        assert!(!publisher.wait_announced(number, Duration::from_millis(1)));
    }
    assert_eq!(
        World::new(9, 1).publish(&mut publisher),
        Err(PublishError::WorkersBehind { oldest: 1 })
    );
    assert_eq!(number(reader.begin_batch().0), SLOTS as u64);
    assert!(publisher.wait_announced(SLOTS as u64, Duration::ZERO));
    assert_eq!(publisher.usage().generations, 1);
    publish(&mut publisher, 9);
}

#[test]
fn parked_and_dead_workers_hold_nothing() {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut sleeper = Reader::new(&tables, &state, 0).unwrap();
    let mut victim = Reader::new(&tables, &state, 1).unwrap();
    publish(&mut publisher, 1);
    sleeper.begin_batch();
    victim.begin_batch();
    sleeper.park();
    let second = publish(&mut publisher, 2);
    assert!(
        !publisher.is_announced(second),
        "the second worker still uses the first generation"
    );
    core::mem::forget(victim);
    publisher.dataplane_gone();
    assert!(publisher.is_announced(second));
    assert_eq!(publisher.usage().generations, 1);
    assert_eq!(number(sleeper.begin_batch().0), 2);
    sleeper.park();
    sleeper.unpark();
    assert!(
        !publisher.is_announced(second),
        "an awake worker may be about to look at anything"
    );
}

#[test]
fn an_impossible_generation_is_refused_and_the_older_one_stays() {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    publish(&mut publisher, 1);
    reader.begin_batch();
    let mut directory = tables.directory(1).unwrap();
    directory[SectionId::Names as usize].bytes = 1 << 40;
    tables.fill_slot(2, &directory);
    crate::publish_protocol::publish(tables.current_word(), 2);
    assert_eq!(number(reader.begin_batch().0), 1);
    assert_eq!(publisher.refusal(), Some((0, 2)));
    assert_eq!(
        state.workers().slot(0).unwrap().generation(),
        Some(1),
        "it still needs the first"
    );
    reader.park();
    let (tables_now, changed) = reader.begin_batch();
    assert!(
        changed && tables_now.names().is_empty(),
        "after a nap nothing is left to fall back to"
    );
    drop(publisher);
    assert_eq!(Publisher::open(&tables, &state).unwrap_err(), TablesError::Directory(2));
}

#[test]
fn one_publisher_and_one_reader_per_slot() {
    let (tables, state) = (tables_region(1 << 16), state());
    let publisher = Publisher::open(&tables, &state).unwrap();
    assert_eq!(
        Publisher::open(&tables, &state).unwrap_err(),
        TablesError::PublisherTaken
    );
    drop(publisher);
    Publisher::open(&tables, &state).unwrap();
    let reader = Reader::new(&tables, &state, 1).unwrap();
    assert!(Reader::new(&tables, &state, 1).is_err());
    drop(reader);
    assert!(Reader::new(&tables, &state, 1).is_ok());
    assert!(Reader::new(&tables, &state, 2).is_err());
}

#[test]
fn regions_that_are_no_tables_are_refused() {
    let small = Region::create("small", 4096, HugePages::Never).unwrap();
    assert_eq!(
        TablesRegion::create(small).unwrap_err(),
        TablesError::RegionTooSmall(4096)
    );
    let blank = Region::create("blank", 1 << 16, HugePages::Never).unwrap();
    let read_only = Region::from_fd_read_only(blank.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(TablesRegion::create(read_only).unwrap_err(), TablesError::ReadOnly);
    assert_eq!(TablesRegion::open(blank).unwrap_err(), TablesError::NotTables);
    let tables = tables_region(1 << 16);
    let view = Region::from_fd_read_only(tables.region().fd().try_clone_to_owned().unwrap()).unwrap();
    let view = TablesRegion::open(view).unwrap();
    assert_eq!(Publisher::open(&view, &state()).unwrap_err(), TablesError::ReadOnly);
    tables.region().atomics(8, 1).unwrap()[0].store(99, Ordering::Relaxed);
    let other = Region::from_fd(tables.region().fd().try_clone_to_owned().unwrap()).unwrap();
    assert!(matches!(
        TablesRegion::open(other),
        Err(TablesError::OtherLayout { version: 99, .. })
    ));
}

/// What a worker does while control dies and comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Worker {
    Parked,
    Behind,
    UpToDate,
}

/// One life of control: publishes `number` and is killed at step `kill_at`. Whether it was killed at all.
fn publish_until(tables: &TablesRegion, state: &State, number: u64, kill_at: usize) -> bool {
    let mut publisher = Publisher::open(tables, state).unwrap();
    let world = World::new(number, 900);
    let mut steps = 0;
    let result = publisher.publish_with(world.sections(), &mut |_| {
        steps += 1;
        if steps > kill_at {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    result == Err(PublishError::Interrupted)
}

fn kill_once(worker: Worker, kill_at: usize) -> bool {
    let (tables, state) = (tables_region(1 << 16), state());
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    let mut bystander = Reader::new(&tables, &state, 1).unwrap();
    for first in 1..=3 {
        publish_until(&tables, &state, first, usize::MAX);
        if first == 2 || worker == Worker::UpToDate {
            reader.begin_batch();
        }
    }
    if worker == Worker::Parked {
        reader.park();
    }
    let held = (worker == Worker::Behind).then(|| reader.generation());
    let killed = publish_until(&tables, &state, 4, kill_at);
    let seen = number(bystander.begin_batch().0);
    assert!(seen == 3 || seen == 4, "{worker:?} {kill_at}: saw world {seen}");
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    free_memory_is_zero(&publisher);
    if let Some(held) = held {
        assert!(
            publisher.live.iter().any(|live| live.generation == held),
            "{kill_at}: an older one is in use"
        );
    }
    let generation = publish(&mut publisher, 5);
    assert_eq!(
        (number(reader.begin_batch().0), number(bystander.begin_batch().0)),
        (5, 5)
    );
    assert!(publisher.wait_announced(generation, Duration::ZERO));
    assert_eq!(publisher.usage().generations, 1);
    let total: usize = tables
        .directory(generation)
        .unwrap()
        .iter()
        .map(|extent| occupied(extent.bytes))
        .sum();
    assert_eq!(
        publisher.usage().free_bytes + total,
        publisher.usage().total_bytes,
        "{worker:?} {kill_at}: leaked"
    );
    free_memory_is_zero(&publisher);
    killed
}

#[test]
fn a_kill_at_any_step_tears_and_leaks_nothing() {
    for worker in [Worker::Parked, Worker::Behind, Worker::UpToDate] {
        let mut kill_at = 0;
        while kill_once(worker, kill_at) {
            kill_at += 1;
        }
        assert!(kill_at >= 6, "{worker:?}: only {kill_at} steps were tried");
    }
}

/// A worker that reads, naps and reads until it saw world 1000. How many worlds it saw.
fn read_to_the_last(tables: &TablesRegion, state: &State, worker: usize) -> usize {
    let mut reader = Reader::new(tables, state, worker).unwrap();
    let (mut newest, mut worlds) = (0, 0);
    for batch in 0.. {
        let (seen, changed) = reader.begin_batch();
        if changed && seen.capture() != 0 {
            let seen = number(seen);
            assert!(seen >= newest, "went back from {newest} to {seen}");
            (newest, worlds) = (seen, worlds + 1);
        }
        if newest == 1000 {
            break;
        }
        if batch % 7 == worker {
            reader.park();
            std::thread::yield_now();
        }
    }
    worlds
}

#[test]
fn a_thousand_generations_under_two_readers_leak_nothing() {
    let (tables, state) = (tables_region(1 << 18), state());
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    std::thread::scope(|scope| {
        let (tables, state) = (&tables, &state);
        let readers = [0, 1].map(|worker| scope.spawn(move || read_to_the_last(tables, state, worker)));
        let mut baseline = None;
        for at in 1..=1000 {
            let generation = World::new(at, 5000).publish(&mut publisher).unwrap();
            assert!(publisher.wait_announced(generation, Duration::from_secs(10)));
            // A reader that wakes at this moment protects every generation until it has chosen one.
            let deadline = Instant::now() + Duration::from_secs(10);
            while publisher.usage().generations > 1 && Instant::now() < deadline {
                publisher.reclaim();
            }
            let now = (publisher.usage().free_bytes, publisher.usage().generations);
            assert_eq!(*baseline.get_or_insert(now), now, "generation {at}");
            if at % 20 == 0 && at < 1000 {
                let before = state.workers().slot(0).unwrap().batch_count();
                while state.workers().slot(0).unwrap().batch_count() < before + 2 {
                    std::thread::yield_now();
                }
            }
        }
        let worlds = readers.map(|reader| reader.join().unwrap());
        assert!(
            worlds[0] >= 40,
            "the reader hardly ran beside the publisher: {worlds:?}"
        );
    });
    let whole = FreeMemory::new(EXTENTS_FROM, tables.region().len());
    assert_eq!(publisher.usage().free_bytes, whole.bytes() - occupied(5000) - 64 - 192);
}

#[derive(Clone, Debug)]
enum Move {
    Publish { bytes: usize, kill_at: usize },
    Batch(usize),
    Park(usize),
    RestartControl,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (1usize..9000, prop_oneof![3 => Just(usize::MAX), 1 => 0usize..12])
            .prop_map(|(bytes, kill_at)| Move::Publish { bytes, kill_at }),
        4 => (0..WORKERS as usize).prop_map(Move::Batch),
        1 => (0..WORKERS as usize).prop_map(Move::Park),
        1 => Just(Move::RestartControl),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_workers_see_whole_worlds_and_memory_adds_up(steps in prop::collection::vec(moves(), 1..80)) {
        let (tables, state) = (tables_region(1 << 16), state());
        let mut publisher = Some(Publisher::open(&tables, &state).unwrap());
        let mut readers: Vec<_> = (0..2).map(|worker| Reader::new(&tables, &state, worker).unwrap()).collect();
        let mut worlds = vec![0u64];
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Move::Publish { bytes, kill_at } => {
                    let world = World::new(at as u64 + 1, bytes);
                    let before = tables.current_generation();
                    let mut left = kill_at;
                    let result = publisher.as_mut().unwrap().publish_with(world.sections(), &mut |_| {
                        if left == 0 { return ControlFlow::Break(()) }
                        left -= 1;
                        ControlFlow::Continue(())
                    });
                    if tables.current_generation() > before {
                        worlds.push(at as u64 + 1);
                    } else {
                        prop_assert!(result.is_err());
                    }
                    if result == Err(PublishError::Interrupted) {
                        drop(publisher.take());
                        publisher = Some(Publisher::open(&tables, &state).unwrap());
                    }
                }
                Move::Batch(worker) => {
                    let current = tables.current_generation();
                    let (seen, _) = readers[worker].begin_batch();
                    let seen = if current == 0 { 0 } else { number(seen) };
                    prop_assert_eq!(seen, worlds[current as usize]);
                }
                Move::Park(worker) => readers[worker].park(),
                Move::RestartControl => {
                    drop(publisher.take());
                    publisher = Some(Publisher::open(&tables, &state).unwrap());
                }
            }
        }
        readers.iter_mut().for_each(Reader::park);
        let publisher = publisher.as_mut().unwrap();
        publisher.reclaim();
        free_memory_is_zero(publisher);
        let current = tables.directory(tables.current_generation()).unwrap_or_default();
        let used: usize = current.iter().map(|extent| occupied(extent.bytes)).sum();
        prop_assert_eq!(publisher.usage().free_bytes + used, publisher.usage().total_bytes);
    }
}
