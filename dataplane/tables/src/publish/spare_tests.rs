//! Publication of changes alone: into which memory they go, what they cost, and a kill at every step.

use super::*;
use crate::build::{Change, Compiler, Route, World};
use crate::dump;
use crate::layout::{NextHop, SaIndex, SaRecord, SegmentIndex, SegmentRecord, TunnelRecord, cipher};
use crate::reader::Reader;
use crate::region::{HugePages, Region};
use crate::state::{Limits, StateSpec};
use zerocopy::FromZeros;

const BYTES: usize = 2 << 20;

fn shared(bytes: usize) -> (TablesRegion, State) {
    let spec = StateSpec::new(Limits {
        workers: 2,
        ports: 1,
        ..Limits::default()
    });
    let state = State::create(Region::create("state", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap();
    let tables = TablesRegion::create(Region::create("tables", bytes, HugePages::Never).unwrap()).unwrap();
    (tables, state)
}

fn route(number: u32) -> Route {
    Route {
        segment: SegmentIndex(0),
        prefix: std::net::Ipv4Addr::from(number << 8).into(),
        length: 24,
        v6: false,
        next_hop: [NextHop::Discard, NextHop::Segment(SegmentIndex(0))][number as usize % 2],
    }
}

fn sa(number: u8) -> SaRecord {
    SaRecord {
        key: [number; 32],
        spi: 300 + u32::from(number),
        cipher: cipher::AES_256_GCM,
        ..SaRecord::new_zeroed()
    }
}

/// So many routes, and an SA whose key shows in the bytes.
fn compiler(routes: u32) -> Compiler {
    let world = World {
        segments: vec![SegmentRecord::new_zeroed()],
        tunnels: vec![TunnelRecord::new_zeroed()],
        sas: vec![sa(0xaa)],
        routes: (0..routes).map(route).collect(),
        ..World::default()
    };
    let mut compiler = Compiler::default();
    compiler.build(&world).unwrap();
    compiler
}

/// World `number` is the one with routes up to it and one SA of its own.
fn change(compiler: &mut Compiler, number: u32) -> String {
    let changes = [
        Change::Route(route(5000 + number)),
        Change::NoRoute(route(number)),
        Change::Sa(SaIndex(0), sa(number as u8)),
        Change::Capture(u64::from(number)),
    ];
    compiler.change(&changes).unwrap();
    text(&Tables::from_sections(compiler.sections().all()).unwrap())
}

fn text(tables: &Tables<'_>) -> String {
    format!(
        "{} key {:?}",
        dump::tables(tables),
        tables.sas().first().map(|sa| sa.key)
    )
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

/// Every spare is what the current generation has.
fn spares_are_copies(publisher: &Publisher<'_>) -> usize {
    let Some(current) = publisher.live.last() else { return 0 };
    let bytes = |place: Place| publisher.tables.region().section(place.offset, place.room).unwrap();
    for (spare, place) in publisher.spares.iter().zip(current.places) {
        if let Some(spare) = spare {
            assert!(bytes(*spare) == bytes(place));
        }
    }
    publisher.spares.iter().flatten().count()
}

/// Bytes that a publication writes into the region.
fn written(publisher: &mut Publisher<'_>, compiler: &Compiler) -> Vec<Step> {
    let mut steps = Vec::new();
    let published = publisher.publish_sections_with(compiler.sections(), &mut |step| {
        steps.push(step);
        ControlFlow::Continue(())
    });
    published.unwrap();
    steps
}

#[test]
fn the_second_change_goes_into_the_copy_that_the_first_one_left() {
    let (tables, state) = shared(BYTES);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    let mut compiler = compiler(2000);
    publisher.publish(compiler.sections()).unwrap();
    reader.begin_batch();
    change(&mut compiler, 1);
    let steps = written(&mut publisher, &compiler);
    assert!(!steps.contains(&Step::ChangeWritten), "there is no second copy yet");
    assert_eq!(spares_are_copies(&publisher), 0, "the worker still looks at the first");
    reader.begin_batch();
    publisher.reclaim();
    assert!(spares_are_copies(&publisher) >= 2);
    let before = publisher.live.last().unwrap().directory[SectionId::Routes4 as usize];
    let expected = change(&mut compiler, 2);
    let steps = written(&mut publisher, &compiler);
    let changes = steps.iter().filter(|step| **step == Step::ChangeWritten).count();
    assert!((3..40).contains(&changes), "{changes} runs of bytes");
    let (seen, _) = reader.begin_batch();
    assert_eq!(text(&seen), expected);
    let after = publisher.live.last().unwrap().directory[SectionId::Routes4 as usize];
    assert_ne!(before.offset, after.offset, "workers looked at the first copy");
    publisher.reclaim();
    assert!(spares_are_copies(&publisher) >= 2);
    change(&mut compiler, 3);
    written(&mut publisher, &compiler);
    let third = publisher.live.last().unwrap().directory[SectionId::Routes4 as usize];
    assert_eq!(third.offset, before.offset, "the two take turns");
}

#[test]
fn a_key_that_left_is_nowhere_once_no_worker_can_look_at_it() {
    let (tables, state) = shared(BYTES);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut compiler = compiler(100);
    publisher.publish(compiler.sections()).unwrap();
    for number in 1..6 {
        change(&mut compiler, number);
        publisher.publish(compiler.sections()).unwrap();
        let all = tables.region().section(0, tables.region().len()).unwrap();
        let keys: Vec<u8> = (0..6)
            .filter(|key| all.windows(32).any(|bytes| bytes == [*key; 32] && *key > 0))
            .collect();
        assert_eq!(keys, [number as u8]);
    }
}

#[test]
fn spares_are_made_in_idle_moments_and_given_up_for_what_needs_their_memory() {
    let (tables, state) = shared(BYTES);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut small = compiler(9000);
    publisher.publish(small.sections()).unwrap();
    let free = publisher.usage().free_bytes;
    publisher.make_spares();
    assert_eq!(spares_are_copies(&publisher), 1, "of the routes alone");
    assert_eq!(publisher.usage().free_bytes, free, "a spare is as good as free");
    for number in 1..3 {
        change(&mut small, number);
        assert!(written(&mut publisher, &small).contains(&Step::ChangeWritten));
    }
    // More than is free beside the spare, which lies next to it.
    let names = "n".repeat(publisher.usage().longest_free_bytes + 1000);
    let mut world = World {
        segments: vec![SegmentRecord::new_zeroed()],
        names: names.clone(),
        ..World::default()
    };
    publisher.publish(Compiler::default().build(&world).unwrap()).unwrap();
    free_memory_is_zero(&publisher);
    world.names = format!("{names}{names}");
    let refused = publisher.publish(Compiler::default().build(&world).unwrap());
    assert!(matches!(refused, Err(PublishError::RegionFull { .. })), "{refused:?}");
}

#[test]
fn the_same_sections_again_are_nothing_new() {
    let (tables, state) = shared(BYTES);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut compiler = compiler(100);
    assert!(!publisher.is_current(compiler.sections()));
    publisher.publish(compiler.sections()).unwrap();
    assert!(publisher.is_current(compiler.sections()));
    let copy = compiler.sections().clone();
    assert!(!publisher.is_current(&copy), "who knows what was written to it");
    change(&mut compiler, 1);
    assert!(!publisher.is_current(compiler.sections()));
    drop(publisher);
    assert!(
        !Publisher::open(&tables, &state)
            .unwrap()
            .is_current(compiler.sections())
    );
}

/// Control dies at step `kill_at` while it writes a change. Whether it did at all.
fn kill_once(behind: bool, kill_at: usize) -> bool {
    let (tables, state) = shared(BYTES);
    let mut slow = Reader::new(&tables, &state, 0).unwrap();
    let mut bystander = Reader::new(&tables, &state, 1).unwrap();
    let mut compiler = compiler(2000);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    publisher.publish(compiler.sections()).unwrap();
    publisher.make_spares();
    let mut before = change(&mut compiler, 1);
    publisher.publish(compiler.sections()).unwrap();
    let held = behind
        .then(|| slow.begin_batch().0)
        .map(|tables| (text(&tables), tables));
    if behind {
        before = change(&mut compiler, 2);
        publisher.publish(compiler.sections()).unwrap();
    }
    let after = change(&mut compiler, 3);
    let mut steps = 0;
    let result = publisher.publish_sections_with(compiler.sections(), &mut |_| {
        steps += 1;
        if steps > kill_at {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    drop(publisher);
    let seen = text(&bystander.begin_batch().0);
    assert!(seen == before || seen == after, "{behind} {kill_at}: a mixture");
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    free_memory_is_zero(&publisher);
    if let Some((expected, tables)) = held {
        assert_eq!(text(&tables), expected, "{kill_at}: written while a batch looked");
    }
    slow.park();
    for number in 4..7 {
        let expected = change(&mut compiler, number);
        let generation = publisher.publish(compiler.sections()).unwrap();
        assert_eq!(text(&bystander.begin_batch().0), expected);
        assert!(publisher.wait_announced(generation, Duration::ZERO));
        spares_are_copies(&publisher);
    }
    assert!(spares_are_copies(&publisher) >= 2, "{behind} {kill_at}");
    publisher.drop_spares();
    free_memory_is_zero(&publisher);
    let live = publisher.live.last().unwrap().places;
    let used: usize = live.iter().map(|place| place.room).sum();
    assert_eq!(
        publisher.usage().free_bytes + used,
        publisher.usage().total_bytes,
        "{behind} {kill_at}: leaked"
    );
    result == Err(PublishError::Interrupted)
}

#[test]
fn a_kill_at_any_step_of_a_change_tears_and_leaks_nothing() {
    for behind in [false, true] {
        let mut kill_at = 0;
        while kill_once(behind, kill_at) {
            kill_at += 1;
        }
        assert!(
            kill_at >= if behind { 7 } else { 12 },
            "{behind}: only {kill_at} steps were tried"
        );
    }
}

#[test]
fn a_thousand_changes_leave_no_more_memory_in_use_than_one() {
    let (tables, state) = shared(BYTES);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let mut reader = Reader::new(&tables, &state, 0).unwrap();
    let mut compiler = compiler(2000);
    let mut most = None;
    for number in 1..=1000 {
        // Forth and back, so that there is always as much.
        let expected = change(&mut compiler, 1 + number % 2);
        compiler
            .change(&[
                Change::NoRoute(route(5001 + (number + 1) % 2)),
                Change::Route(route(1 + (number + 1) % 2)),
            ])
            .unwrap();
        publisher.publish(compiler.sections()).unwrap();
        let seen = text(&reader.begin_batch().0);
        if number % 100 == 0 {
            assert_ne!(seen, expected, "the second change came on top");
        }
        publisher.reclaim();
        let spares: usize = publisher.spares.iter().flatten().map(|spare| spare.room).sum();
        let used = publisher.usage().total_bytes - publisher.usage().free_bytes + spares;
        if number > 10 {
            assert!(used <= *most.get_or_insert(used), "change {number}");
        }
    }
}
