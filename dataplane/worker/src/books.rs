//! The books: every packet's fate, counted per port where it came in, added to shared memory once per batch.

use crate::batch::Entry;
use tombolo_tables::counters::WorkerCounters;
use tombolo_tables::fate::{COUNTERS_PER_PORT, Counter, Fate};
use tombolo_tables::layout::PortIndex;

/// Counts of the batch under way, one row per port.
pub struct Books {
    rows: Vec<Row>,
    /// Ports with counts, a bit each.
    touched: u64,
}

#[derive(Clone)]
struct Row {
    counts: [u64; COUNTERS_PER_PORT],
    /// Counters that are not zero, a bit each.
    touched: u128,
}

const _: () = assert!(COUNTERS_PER_PORT <= 128, "a bit for each counter");

impl Books {
    /// Books for `ports` ports (at most 64).
    pub fn new(ports: usize) -> Self {
        Books {
            rows: vec![
                Row {
                    counts: [0; COUNTERS_PER_PORT],
                    touched: 0,
                };
                ports.min(64)
            ],
            touched: 0,
        }
    }

    /// Counts `count` on `counter` of `port`.
    #[inline]
    pub fn add(&mut self, port: PortIndex, counter: usize, count: u64) {
        if let Some(row) = self.rows.get_mut(port.usize()) {
            row.counts[counter] = row.counts[counter].wrapping_add(count);
            row.touched |= 1 << counter;
            self.touched |= 1 << port.0;
        }
    }

    /// A packet began its journey.
    #[inline]
    pub fn enter(&mut self, port: PortIndex, entry: Entry, bytes: usize) {
        let counter = match entry {
            Entry::Received => {
                self.add(port, Counter::ReceivedBytes as usize, bytes as u64);
                Counter::Received
            }
            Entry::Originated | Entry::Kernel => Counter::Originated,
            Entry::TakenOver => Counter::TakenOver,
        };
        self.add(port, counter as usize, 1);
    }

    /// A packet's journey ended.
    #[inline]
    pub fn settle(&mut self, port: PortIndex, fate: Fate) {
        let counter = match fate {
            Fate::Send => Counter::Sent as usize,
            Fate::Drop(reason) => Counter::dropped(reason),
            Fate::Punt(_) => Counter::Punted as usize,
            Fate::HandOver => Counter::HandedOver as usize,
            Fate::Hold => Counter::Held as usize,
        };
        self.add(port, counter, 1);
    }

    /// A held packet goes on: it is no longer held.
    #[inline]
    pub fn unhold(&mut self, port: PortIndex) {
        self.add(port, Counter::Held as usize, u64::MAX);
    }

    /// A frame left through `port`.
    #[inline]
    pub fn transmitted(&mut self, port: PortIndex, bytes: usize) {
        self.add(port, Counter::Transmitted as usize, 1);
        self.add(port, Counter::TransmittedBytes as usize, bytes as u64);
    }

    /// Adds the batch's counts to shared memory.
    pub fn close(&mut self, counters: WorkerCounters<'_>) {
        while self.touched != 0 {
            let port = self.touched.trailing_zeros() as usize;
            self.touched &= self.touched - 1;
            let Some(shared) = counters.port(PortIndex(port as u16)) else {
                continue;
            };
            let row = &mut self.rows[port];
            while row.touched != 0 {
                let counter = row.touched.trailing_zeros() as usize;
                row.touched &= row.touched - 1;
                shared.add(counter, core::mem::take(&mut row.counts[counter]));
            }
        }
    }
}
