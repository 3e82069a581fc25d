//! The state region: laid out, found again, refused when it contradicts itself.

use super::*;
use crate::region::HugePages;

fn spec() -> StateSpec {
    let limits = Limits {
        workers: 2,
        ports: 3,
        sessions4: 1 << 20,
        hosts: 5,
        ..Limits::default()
    };
    StateSpec::new(limits)
        .with(StatePart::Sessions4, 1001)
        .with(StatePart::Sequences, 8)
}

fn create() -> State {
    State::create(
        Region::create("state", spec().bytes(), HugePages::Never).unwrap(),
        &spec(),
    )
    .unwrap()
}

fn again(state: &State) -> Result<State, StateError> {
    State::open(Region::from_fd(state.region().fd().try_clone_to_owned().unwrap()).unwrap())
}

#[test]
fn parts_are_found_again_where_they_were() {
    let state = create();
    assert_eq!(state.part(StatePart::Sessions4).len(), 1001);
    assert!(state.part(StatePart::Replay).is_empty());
    for part in StatePart::ALL {
        assert_eq!(
            state.part(*part).as_ptr() as usize % if state.part(*part).is_empty() { 1 } else { 64 },
            0
        );
    }
    state.part(StatePart::Sessions4)[1000].store(7, Ordering::Relaxed);
    state.part(StatePart::Sequences)[0].store(8, Ordering::Relaxed);
    let other = again(&state).unwrap();
    assert_eq!(other.limits(), spec().limits);
    assert_eq!(other.part(StatePart::Sessions4)[1000].load(Ordering::Relaxed), 7);
    assert_eq!(other.part(StatePart::Sequences)[0].load(Ordering::Relaxed), 8);
    assert_eq!(other.workers().count(), 2);
    assert!(other.workers().iter().all(WorkerSlot::is_parked));
}

#[test]
fn a_region_that_is_too_small_or_blank_is_refused() {
    let small = Region::create("state", 4096, HugePages::Never).unwrap();
    assert_eq!(
        State::create(small, &spec()).unwrap_err(),
        StateError::RegionTooSmall {
            needs: spec().bytes(),
            has: 4096
        }
    );
    let blank = Region::create("state", 4096, HugePages::Never).unwrap();
    assert_eq!(State::open(blank).unwrap_err(), StateError::NotAState);
}

#[test]
fn every_word_of_the_header_is_checked() {
    let state = create();
    let header = header(state.region()).unwrap();
    let mut harmless = Vec::new();
    for (at, word) in header.iter().enumerate() {
        for value in [u64::MAX, 1, 1 << 40] {
            let before = word.swap(value, Ordering::Relaxed);
            match again(&state) {
                Err(_) => {}
                Ok(_) if before == value => {}
                Ok(opened) => {
                    harmless.push(at);
                    // Whatever was accepted must be usable: every part can be read to its end.
                    for part in StatePart::ALL {
                        opened.part(*part).last().map(|word| word.load(Ordering::Relaxed));
                    }
                }
            }
            word.store(before, Ordering::Relaxed);
        }
    }
    harmless.dedup();
    for at in [
        WORD_MAGIC,
        WORD_VERSION,
        WORD_HASH,
        WORD_LENGTH,
        WORD_LIMITS,
        WORD_LIMITS + 1,
    ] {
        assert!(!harmless.contains(&at), "word {at} may have any value");
    }
    assert!(again(&state).is_ok());
}

#[test]
fn overlapping_parts_are_refused() {
    let state = create();
    let header = header(state.region()).unwrap();
    let sessions = WORD_DIRECTORY + 2 * StatePart::Sessions4 as usize;
    let sequences = WORD_DIRECTORY + 2 * StatePart::Sequences as usize;
    header[sequences].store(header[sessions].load(Ordering::Relaxed), Ordering::Relaxed);
    assert!(matches!(again(&state), Err(StateError::Header(_))));
}

#[test]
fn quiescence_needs_every_other_worker_to_move_or_sleep() {
    let state = create();
    let (one, two) = (state.workers().slot(0).unwrap(), state.workers().slot(1).unwrap());
    one.announced().store(1, Ordering::Relaxed);
    two.announced().store(1, Ordering::Relaxed);
    let mut taken = Quiescence::with_capacity(2);
    assert!(!taken.passed(state.workers(), None), "nothing taken yet");
    state.workers().quiescence(&mut taken);
    assert!(!taken.passed(state.workers(), None));
    two.begin_batch();
    assert!(!taken.passed(state.workers(), None));
    assert!(taken.passed(state.workers(), Some(0)));
    one.begin_batch();
    assert!(taken.passed(state.workers(), None));
    state.workers().quiescence(&mut taken);
    assert!(!taken.passed(state.workers(), Some(1)));
    one.announced()
        .store(crate::publish_protocol::PARKED, Ordering::Relaxed);
    assert!(taken.passed(state.workers(), Some(1)));
}

#[test]
fn slots_beyond_the_last_are_none() {
    let state = create();
    assert!(state.workers().slot(2).is_none());
    assert!(state.workers().slot(usize::MAX).is_none());
    state.workers().slot(1).unwrap().beat(5);
    assert_eq!(state.workers().slot(1).unwrap().heartbeat_ns(), 5);
    assert_eq!(state.workers().slot(0).unwrap().heartbeat_ns(), 0);
}
