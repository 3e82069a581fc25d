//! The fuzz entry over the whole journey. Replayed over `fuzz/corpus` by `tests/corpus.rs`.

use crate::prey::{Arrival, Prey};
use crate::worlds::TunnelKind;
use std::cell::RefCell;

const PORT: u8 = 0b0000_0011;
const KERNEL: u8 = 0b0000_0100;
const DEEP: u8 = 0b0000_1000;
const TIME: u8 = 0b0011_0000;
const CHANGE: u8 = 0b0100_0000;
const SEALED: u8 = 0b1000_0000;

thread_local! {
    static PREY: RefCell<Prey> = RefCell::new(Prey::new(TunnelKind::PLAIN));
}

/// A series of arrivals: a byte that says how, two bytes of length, the frame. The gateway keeps its state between calls.
pub fn fuzz_journey(data: &[u8]) {
    PREY.with_borrow_mut(|prey| {
        let mut rest = data;
        while let [how, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
            let (frame, further) = after.split_at(length);
            rest = further;
            arrive(prey, *how, frame);
        }
    });
}

/// One arrival of the series, as a corpus file holds it.
pub fn record(how: u8, frame: &[u8]) -> Vec<u8> {
    let mut record = vec![how];
    record.extend_from_slice(&(frame.len() as u16).to_be_bytes());
    record.extend_from_slice(frame);
    record
}

fn arrive(prey: &mut Prey, how: u8, frame: &[u8]) {
    let pause = [0, 1, 150, 400_000][usize::from((how & TIME) >> 4)];
    prey.gateway().sleep(pause);
    if how & CHANGE != 0 {
        prey.change();
    }
    let port = (how & PORT).min(2);
    let arrival = if how & SEALED != 0 {
        Arrival::Sealed
    } else if how & KERNEL != 0 {
        Arrival::Kernel(port)
    } else {
        Arrival::Wire(port)
    };
    if how & DEEP != 0 {
        prey.bite_deep(arrival, frame);
    } else {
        prey.bite(arrival, frame);
    }
}
