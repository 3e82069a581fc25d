//! Every interleaving of two or three workers on one window. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p tombolo-tunnel --release --test loom_replay`; empty without the flag.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use tombolo_tunnel::replay::{Window, words};

fn accept_at_once(before: &'static [u64], at_once: &'static [u64]) -> Vec<(u64, bool)> {
    let words: Arc<Vec<AtomicU64>> = Arc::new((0..words(16)).map(|_| AtomicU64::new(0)).collect());
    for sequence in before {
        assert!(Window::new(&words, 16).expect("the words fit").accept(*sequence));
    }
    let workers: Vec<_> = at_once
        .iter()
        .map(|sequence| {
            let words = Arc::clone(&words);
            thread::spawn(move || Window::new(&words, 16).expect("the words fit").accept(*sequence))
        })
        .collect();
    let won = workers
        .into_iter()
        .zip(at_once)
        .map(|(worker, sequence)| (*sequence, worker.join().expect("no panic")));
    let won = won.collect();
    let window = Window::new(&words, 16).expect("the words fit");
    assert_eq!(
        window.highest(),
        before.iter().chain(at_once).copied().max().unwrap_or(0)
    );
    for sequence in before.iter().chain(at_once) {
        assert!(!window.accept(*sequence), "{sequence} was accepted again afterwards");
    }
    won
}

#[test]
fn the_same_number_has_exactly_one_winner() {
    loom::model(|| {
        let won = accept_at_once(&[7], &[9, 9]);
        assert_eq!(won.iter().filter(|(_, won)| *won).count(), 1);
    });
}

#[test]
fn neighbours_in_one_word_both_win() {
    loom::model(|| assert!(accept_at_once(&[], &[9, 10]).iter().all(|(_, won)| *won)));
}

#[test]
fn a_replay_never_wins_while_the_window_jumps_a_lap() {
    // 9 was accepted; 9 + 32 takes over its word while 9 is tried again.
    loom::model(|| {
        let won = accept_at_once(&[9], &[9, 41]);
        assert_eq!(won, [(9, false), (41, true)]);
    });
}

#[test]
fn a_late_number_wins_at_most_once_while_its_word_is_taken_over() {
    let mut model = loom::model::Builder::new();
    // Three workers: every schedule with up to two preemptions; all of them would take minutes.
    model.preemption_bound = Some(2);
    model.check(|| {
        let won = accept_at_once(&[], &[9, 9, 41]);
        assert!(won.iter().filter(|(sequence, won)| *sequence == 9 && *won).count() <= 1);
        assert!(won.contains(&(41, true)));
    });
}

#[test]
fn batches_that_overlap_have_one_winner_per_number() {
    loom::model(|| {
        let words: Arc<Vec<AtomicU64>> = Arc::new((0..words(16)).map(|_| AtomicU64::new(0)).collect());
        let batches = [&[14u64, 15, 16][..], &[15, 16, 15]];
        let workers = batches.map(|batch| {
            let words = Arc::clone(&words);
            thread::spawn(move || Window::new(&words, 16).expect("the words fit").accept_all(batch))
        });
        let won = workers.map(|worker| worker.join().expect("no panic"));
        for number in 14..=16 {
            let winners = batches.iter().zip(won).map(|(batch, won)| {
                let places = batch.iter().enumerate().filter(|(_, other)| **other == number);
                places.filter(|(at, _)| won >> at & 1 == 1).count()
            });
            assert_eq!(winners.sum::<usize>(), 1, "{number}: {won:?}");
        }
        assert_eq!(Window::new(&words, 16).expect("the words fit").highest(), 16);
    });
}
