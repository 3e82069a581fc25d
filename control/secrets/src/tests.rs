//! The store against a model, and killed at every word that it writes.

use super::*;
use core::cell::{Cell, RefCell};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tombolo_tables::region::RegionError;

const GEOMETRY: Geometry = Geometry::new(64, 6).unwrap();
const SEGMENTS_MAX: usize = 4;

/// Memory whose writer dies after so many writes: what it writes later never happens.
struct Mortal<'a> {
    words: &'a RefCell<Vec<u64>>,
    left: Cell<usize>,
}

impl Mortal<'_> {
    fn lives(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

impl Memory for Mortal<'_> {
    fn words(&self) -> usize {
        self.words.borrow().len()
    }

    fn load(&self, word: usize) -> u64 {
        self.words.borrow().get(word).copied().unwrap_or(0)
    }

    fn store(&self, word: usize, value: u64) {
        if self.lives()
            && let Some(place) = self.words.borrow_mut().get_mut(word)
        {
            *place = value;
        }
    }

    fn grow(&self, words: usize) -> Result<(), RegionError> {
        let had = self.words();
        if words > GEOMETRY.words(SEGMENTS_MAX) {
            return Err(RegionError::BadSize(words as u64 * 8));
        }
        if words > had && self.lives() {
            self.words.borrow_mut().resize(words, 0);
        }
        Ok(())
    }
}

type Model = BTreeMap<u64, Vec<u8>>;

fn open(words: &RefCell<Vec<u64>>, left: usize) -> (Store<Mortal<'_>>, Recovered) {
    let left = Cell::new(left);
    Store::open_with(Mortal { words, left }, GEOMETRY).unwrap()
}

fn content(store: &Store<Mortal<'_>>) -> Model {
    store.iter().map(|(id, bytes)| (id, bytes.to_vec())).collect()
}

/// A change of the tests: `None` removes.
type Wanted = (u64, Option<Vec<u8>>);

fn changes(wanted: &[Wanted]) -> Vec<Change<'_>> {
    wanted
        .iter()
        .map(|(id, bytes)| match bytes {
            Some(bytes) => Change::Put { id: *id, bytes },
            None => Change::Remove { id: *id },
        })
        .collect()
}

fn apply(model: &mut Model, wanted: &[Wanted]) {
    for (id, bytes) in wanted {
        match bytes {
            Some(bytes) => model.insert(*id, bytes.clone()),
            None => model.remove(id),
        };
    }
}

/// Every word outside of the head that is not zero belongs to a record: its entry, or its bytes.
fn nothing_is_left(words: &[u64], model: &Model) {
    let dirty = words[geometry::HEAD_WORDS..].iter().filter(|word| **word != 0).count();
    let most: usize = model.values().map(|bytes| bytes.len().div_ceil(8) + 4).sum();
    assert!(dirty <= most, "{dirty} words are not zero, {most} belong to records");
}

/// Kills the writer of `wanted` at every word; then its successor, while it recovers, at every word.
fn killed_everywhere(before: &Model, words: &[u64], wanted: &[Wanted]) {
    let mut after = before.clone();
    apply(&mut after, wanted);
    let mut outcomes = [0, 0];
    for stop in 0.. {
        let memory = RefCell::new(words.to_vec());
        let (mut store, _) = open(&memory, usize::MAX);
        store.memory().left.set(stop);
        store.commit(&changes(wanted)).unwrap();
        let finished = store.memory().left.get() > 0;
        drop(store);
        recovered_everywhere(&memory.borrow(), before, &after, &mut outcomes);
        if finished {
            break;
        }
    }
    assert!(
        before == &after || outcomes.iter().all(|times| *times > 0),
        "{outcomes:?}"
    );
}

fn recovered_everywhere(words: &[u64], before: &Model, after: &Model, outcomes: &mut [usize; 2]) {
    let mut all = None;
    for stop in (0..).map(|stop| stop * 3) {
        let memory = RefCell::new(words.to_vec());
        let (killed, _) = open(&memory, stop);
        let finished = killed.memory().left.get() > 0;
        drop(killed);
        let (store, recovered) = open(&memory, usize::MAX);
        let found = content(&store);
        assert_eq!(recovered.damaged, 0);
        assert!(found == *before || found == *after, "a mixture: {found:?}");
        assert_eq!(
            *all.get_or_insert(found.clone()),
            found,
            "a killed recovery changes nothing"
        );
        nothing_is_left(&memory.borrow(), &found);
        outcomes[usize::from(found == *after)] += 1;
        if finished {
            break;
        }
    }
}

#[test]
fn every_kind_of_change_survives_a_kill_at_every_word() {
    let bytes = |seed: u8, length: usize| (0..length).map(|index| seed ^ index as u8 | 1).collect::<Vec<u8>>();
    let steps: Vec<Vec<Wanted>> = vec![
        vec![(1, Some(bytes(10, 20)))],
        vec![(2, Some(bytes(20, 33)))],
        // A record grows, shrinks, becomes empty.
        vec![(1, Some(bytes(30, 90)))],
        vec![(1, Some(bytes(40, 3)))],
        vec![(2, Some(Vec::new()))],
        // One is replaced by another, in one step.
        vec![(1, None), (3, Some(bytes(50, 60)))],
        vec![
            (3, Some(bytes(60, 60))),
            (2, Some(bytes(61, 61))),
            (4, Some(bytes(62, 62))),
        ],
        // More than a segment has room for.
        vec![(5, Some(bytes(70, 250))), (6, Some(bytes(71, 250))), (2, None)],
        vec![(3, None)],
        vec![(4, None), (5, None), (6, None), (9, None)],
    ];
    let memory = RefCell::new(Vec::new());
    let mut model = Model::new();
    open(&memory, usize::MAX);
    for wanted in steps {
        killed_everywhere(&model, &memory.borrow().clone(), &wanted);
        let (mut store, _) = open(&memory, usize::MAX);
        store.commit(&changes(&wanted)).unwrap();
        apply(&mut model, &wanted);
        assert_eq!(content(&store), model);
        nothing_is_left(&memory.borrow(), &model);
    }
    assert!(model.is_empty());
}

#[test]
fn a_store_whose_first_start_was_killed_is_a_store() {
    for stop in 0..5 {
        let memory = RefCell::new(Vec::new());
        let left = Cell::new(stop);
        // The one that dies may see that its writes do not happen.
        let _ = Store::open_with(Mortal { words: &memory, left }, GEOMETRY);
        let (mut store, recovered) = open(&memory, usize::MAX);
        assert_eq!(recovered, Recovered::default());
        store.put(1, b"x").unwrap();
    }
}

#[test]
fn full_says_so_changes_nothing_and_still_removes() {
    let memory = RefCell::new(Vec::new());
    let (mut store, _) = open(&memory, usize::MAX);
    let mut id = 0;
    let full = loop {
        id += 1;
        if let Err(full) = store.put(id, &[1; 100]) {
            break full;
        }
    };
    assert!(matches!(full, StoreError::Full { bytes: 100, .. }), "{full}");
    let before = content(&store);
    assert_eq!(before.len(), (id - 1) as usize);
    let two = [
        Change::Put {
            id: 500,
            bytes: &[2; 8],
        },
        Change::Put {
            id: 501,
            bytes: &[2; 300],
        },
    ];
    store.commit(&two).unwrap_err();
    assert_eq!(content(&store), before);
    nothing_is_left(&memory.borrow(), &before);
    assert!(store.remove(1) && !store.remove(1));
    store.put(id, &[3; 100]).unwrap();
    assert_eq!(store.usage().records, before.len());
}

#[test]
fn impossible_changes_are_refused() {
    let memory = RefCell::new(Vec::new());
    let (mut store, _) = open(&memory, usize::MAX);
    let long = vec![0; GEOMETRY.record_bytes_max() + 1];
    assert!(matches!(store.put(1, &long), Err(StoreError::TooLong { .. })));
    store.put(1, &long[1..]).unwrap();
    let twice = [Change::Remove { id: 1 }, Change::Put { id: 1, bytes: b"x" }];
    assert_eq!(store.commit(&twice), Err(StoreError::Twice(1)));
    assert_eq!(store.usage().record_bytes, long.len() - 1);
}

#[test]
fn other_memory_is_no_store() {
    let foreign = RefCell::new(vec![7; 600]);
    let left = || Cell::new(usize::MAX);
    let opened = Store::open_with(
        Mortal {
            words: &foreign,
            left: left(),
        },
        GEOMETRY,
    );
    assert_eq!(opened.err(), Some(OpenError::NoStore(7)));
    let memory = RefCell::new(Vec::new());
    open(&memory, usize::MAX);
    let other = Geometry::new(64, 7).unwrap();
    let opened = Store::open_with(
        Mortal {
            words: &memory,
            left: left(),
        },
        other,
    );
    assert_eq!(opened.err(), Some(OpenError::OtherGeometry(GEOMETRY.word())));
    assert!(Geometry::new(64, 16).is_none() && Geometry::new(64, 0).is_none() && Geometry::new(1 << 31, 1).is_none());
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..120);
    prop::collection::btree_map(0u64..8, prop::option::weighted(0.7, bytes), 1..4)
        .prop_map(|changes| changes.into_iter().collect())
}

proptest! {
    #[test]
    fn the_store_is_a_map_over_any_life(steps in prop::collection::vec((wanted(), any::<bool>(), 0usize..400), 1..24)) {
        let memory = RefCell::new(Vec::new());
        let mut model = Model::new();
        let (mut store, _) = open(&memory, usize::MAX);
        for (wanted, kill, stop) in steps {
            let before = model.clone();
            if kill {
                store.memory().left.set(stop);
            }
            let done = store.commit(&changes(&wanted));
            let died = store.memory().left.get() == 0;
            if done.is_ok() {
                apply(&mut model, &wanted);
            }
            if kill {
                (store, _) = open(&memory, usize::MAX);
                let found = content(&store);
                prop_assert!(found == model || (died && found == before));
                model = found;
            }
            prop_assert_eq!(&content(&store), &model);
            nothing_is_left(&memory.borrow(), &model);
        }
    }

    #[test]
    fn whatever_lies_there_is_read_without_harm(damage in prop::collection::vec((0usize..900, any::<u64>(), 0u8..4), 1..12)) {
        let memory = RefCell::new(Vec::new());
        let (mut store, _) = open(&memory, usize::MAX);
        let kept: Model = (0..9).map(|id| (id, vec![id as u8 + 1; 40])).collect();
        for (id, bytes) in &kept {
            store.put(*id, bytes).unwrap();
        }
        drop(store);
        for (place, value, kind) in damage {
            let mut words = memory.borrow_mut();
            let length = words.len();
            // The head is refused as a whole; what follows it is arbitrary: words, small numbers, places.
            let place = geometry::WORD_COMMITTED + place % (length - geometry::WORD_COMMITTED);
            words[place] = match kind { 0 => value, 1 => value % 12, 2 => ((value % 64) << 32) | (value >> 58), _ => u64::MAX };
        }
        let (mut store, recovered) = open(&memory, usize::MAX);
        for (id, bytes) in content(&store) {
            prop_assert_eq!(kept.get(&id), Some(&bytes), "a record that nobody put");
        }
        prop_assert_eq!(recovered.records, store.usage().records);
        nothing_is_left(&memory.borrow(), &content(&store));
        store.put(100, b"goes on").unwrap();
        let (store, again) = open(&memory, usize::MAX);
        prop_assert_eq!(&**store.get(100).unwrap(), b"goes on");
        prop_assert_eq!((again.damaged, again.left_over), (0, 0));
    }
}
