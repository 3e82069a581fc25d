//! Random operations, compared with a hash map after each.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Operation {
    Insert(u32),
    Remove(u32),
    Supersede(u32),
    Touch(u32, bool),
    Pass(u32),
    Reopen,
    Scrub,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..40u32).prop_map(Operation::Insert),
        3 => (0..40u32).prop_map(Operation::Remove),
        3 => (0..40u32).prop_map(Operation::Supersede),
        3 => (0..40u32, any::<bool>()).prop_map(|(flow, back)| Operation::Touch(flow, back)),
        2 => (1..200u32).prop_map(Operation::Pass),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Scrub),
    ]
}

/// What the model knows of a flow: its epoch, when it was last seen, whether it was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    epoch: u32,
    last_seen: u32,
    replied: bool,
}

struct World<'a> {
    part: &'a [AtomicU64],
    sessions: Sessions<'a, Key4>,
    local: WorkerLocal,
    model: HashMap<u32, Known>,
    now: u32,
    batch: u64,
}

impl World<'_> {
    fn offered(&self, flow: u32, epoch: u32) -> NewSession<Key4> {
        NewSession {
            epochs: [epoch, 1],
            ..flow4(flow)
        }
    }

    fn apply(&mut self, operation: &Operation) {
        let now = self.now;
        match *operation {
            Operation::Insert(flow) => {
                let new = self.offered(flow, 1);
                let answer = self.sessions.insert(&mut self.local, &new, now);
                let known = Known {
                    epoch: 1,
                    last_seen: now,
                    replied: false,
                };
                match answer {
                    Ok(Inserted::New(_)) => assert_eq!(self.model.insert(flow, known), None),
                    Ok(Inserted::Existing(_)) => assert!(self.model.contains_key(&flow)),
                    other => panic!("{other:?}"),
                }
            }
            Operation::Remove(flow) => {
                let removed = self
                    .sessions
                    .lookup(&flow4(flow).reverse)
                    .and_then(|hit| self.sessions.remove(&mut self.local, hit.session, hit.version));
                assert_eq!(removed.is_some(), self.model.remove(&flow).is_some());
            }
            Operation::Supersede(flow) => {
                let Some(known) = self.model.get_mut(&flow) else { return };
                known.epoch += 1;
                known.last_seen = now;
                let epoch = known.epoch;
                let new = self.offered(flow, epoch);
                let old = self.sessions.lookup(&new.forward).expect("known");
                let mut ended = 0;
                let answer = self
                    .sessions
                    .supersede(&mut self.local, &old, &new, now, |_| ended += 1);
                assert!(matches!(answer, Ok(Inserted::New(_))) && ended == 1, "{answer:?}");
            }
            Operation::Touch(flow, back) => {
                let new = flow4(flow);
                let Some(hit) = self.sessions.lookup(if back { &new.reverse } else { &new.forward }) else {
                    return;
                };
                self.sessions.touch(&hit, now, 0, 100);
                let known = self.model.get_mut(&flow).expect("found, so known");
                if now - known.last_seen >= 4 || (back && !known.replied) {
                    known.last_seen = now;
                }
                known.replied |= back;
            }
            Operation::Pass(seconds) => {
                self.now += seconds;
                self.batch += 2;
                let (now, timers, batch) = (self.now, Timers::default(), self.batch);
                let entries = self.sessions.entries() as usize;
                self.sessions
                    .expire(&mut self.local, now, &timers, entries.next_multiple_of(64), |_| {});
                self.sessions.reclaim(&mut self.local, 64, &|_| Some(batch));
                self.model.retain(|_, known| {
                    let idle_max = if known.replied {
                        timers.udp
                    } else {
                        timers.udp_unreplied
                    };
                    now - known.last_seen < idle_max + 4
                });
            }
            Operation::Reopen => self.sessions = Sessions::open(self.part).expect("formatted"),
            Operation::Scrub => {
                assert_eq!(self.sessions.scrub().0 as usize, self.model.len());
                self.local = WorkerLocal::new(0, 1, 1);
            }
        }
    }

    fn compare(&self) {
        assert_eq!(check(&self.sessions), self.model.len());
        let mut keys = Vec::new();
        for flow in 0..40 {
            keys.extend([Some(flow4(flow).forward), None, Some(flow4(flow).reverse)]);
        }
        let mut hits = vec![None; keys.len()];
        self.sessions.lookup_batch(&keys, &mut hits);
        for flow in 0..40u32 {
            let known = self.model.get(&flow);
            let (there, back) = (hits[flow as usize * 3], hits[flow as usize * 3 + 2]);
            assert_eq!(there.map(|hit| hit.epochs), known.map(|known| [known.epoch, 1]));
            assert_eq!(back.map(|hit| hit.epochs), known.map(|known| [1, known.epoch]));
            assert!(hits[flow as usize * 3 + 1].is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_table_is_a_map(operations in prop::collection::vec(operation(), 1..80)) {
        let part = words(Sessions::<Key4>::words(64));
        let sessions = Sessions::format(&part, 64, SEED).unwrap();
        let local = WorkerLocal::new(0, 1, 1);
        let mut world = World { part: &part, sessions, local, model: HashMap::new(), now: 1_000, batch: 0 };
        for operation in &operations {
            world.apply(operation);
            world.compare();
        }
    }
}
