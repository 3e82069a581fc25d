//! The books.

use super::text;
use std::collections::BTreeMap;
use tombolo_api::{Drop, PortCounters};
use tombolo_tables::build::World;
use tombolo_tables::counters::Counters;
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::PortIndex;
use tombolo_tables::state::State;

/// The counters of every port, all workers together.
pub fn counters(world: &World, state: &State) -> Vec<PortCounters> {
    let books = Counters::new(state);
    let port = |(index, record): (u16, &tombolo_tables::layout::PortRecord)| {
        let sums = books.sum(PortIndex(index));
        let of = |counter: Counter| sums[counter as usize];
        let dropped = DropReason::ALL
            .iter()
            .map(|&reason| sums[Counter::dropped(reason)])
            .fold(0, u64::wrapping_add);
        let came = [Counter::Received, Counter::Originated, Counter::TakenOver].map(of);
        let went = [Counter::Sent, Counter::Punted, Counter::HandedOver, Counter::Held].map(of);
        let sum = |terms: &[u64]| terms.iter().fold(0, |sum: u64, term| sum.wrapping_add(*term));
        PortCounters {
            port: text(&record.name),
            counters: BTreeMap::from(Counter::NAMED.map(|(counter, name)| (name.to_owned(), of(counter)))),
            dropped,
            balance: sum(&came).wrapping_sub(sum(&went)).wrapping_sub(dropped).cast_signed(),
        }
    };
    (0..).zip(&world.ports).map(port).collect()
}

/// The drops of every port that has any.
pub fn drops(world: &World, state: &State) -> Vec<Drop> {
    let books = Counters::new(state);
    let mut drops = Vec::new();
    for (index, record) in (0..).zip(&world.ports) {
        let sums = books.sum(PortIndex(index));
        for &reason in DropReason::ALL {
            let packets = sums[Counter::dropped(reason)];
            if packets > 0 {
                let (port, reason, text) = (text(&record.name), reason.name().into(), reason.text().into());
                drops.push(Drop {
                    port,
                    reason,
                    text,
                    packets,
                });
            }
        }
    }
    drops
}
