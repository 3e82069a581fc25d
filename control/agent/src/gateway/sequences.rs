//! Keeps every outbound SA supplied with leased sequence numbers, and those without a lease silent.

use crate::leases::{Fingerprint, Known, Lease, LeaseError, Leases, STEP};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tombolo_tables::build::World;
use tombolo_tables::layout::{SaRecord, cipher, sa_flag, wildcard};
use tombolo_tables::state::{State, StatePart};
use tombolo_tunnel::sequence::{END_WITHOUT_ESN, Sequence, WORDS};

/// Fingerprint of an SA's key.
pub(super) fn fingerprint(sa: &SaRecord) -> Fingerprint {
    let length = if sa.cipher == cipher::AES_128_GCM { 16 } else { 32 };
    Fingerprint::new(sa.cipher, &sa.key[..length], &sa.salt)
}

/// Stops a row before its SA is published: it lends nothing until [`supply`] finds a lease. No worker may know the row.
pub(super) fn stop(state: &State, row: usize) {
    if let Some(sequence) = Sequence::at(state.part(StatePart::Sequences), row) {
        sequence.start(1, 0);
    }
}

/// Starts a negotiated key, which was never used before and dies with the memory: all numbers from 1 on, without ESN below 2³²
/// (RFC 4303 §3.3.3). No worker may know the row.
pub(super) fn start_from_one(state: &State, row: usize) {
    if let Some(sequence) = Sequence::at(state.part(StatePart::Sequences), row) {
        // Without ESN workers stop at its end, whatever the limit.
        sequence.start(1, u64::MAX);
    }
}

/// Leases ahead for every outbound SA of the world that has less than half a step left, with one write to disk for all. Returns why
/// tunnels are down, by name.
pub(super) fn supply(world: &World, state: &State, leases: &Leases) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::new();
    let (mut known, mut wanted) = (Read::default(), Vec::new());
    let mut users: BTreeMap<Fingerprint, String> = BTreeMap::new();
    for tunnel in world.tunnels.iter().filter(|tunnel| tunnel.outbound != wildcard::NONE) {
        let name = crate::views::text(&tunnel.name);
        let row = tunnel.outbound as usize;
        let Some(sa) = world
            .sas
            .get(row)
            .filter(|sa| sa.spi != 0 && sa.flags & (sa_flag::INBOUND | sa_flag::NEGOTIATED) == 0)
        else {
            continue;
        };
        let fingerprint = fingerprint(sa);
        // Two SAs with one key would give out the same nonces (law 2).
        if let Some(other) = users.get(&fingerprint) {
            notes.insert(
                name,
                format!("its outbound key is that of tunnel {other}; make a new one"),
            );
            continue;
        }
        users.insert(fingerprint.clone(), name.clone());
        match Want::of(state, row, sa, &fingerprint, leases, &mut known) {
            Ok(None) => {}
            Ok(Some(want)) => wanted.push((name, fingerprint, want)),
            Err(error) => {
                notes.insert(name, error);
            }
        }
    }
    if wanted.is_empty() {
        return notes;
    }
    let leased = wanted
        .iter()
        .map(|(name, fingerprint, want)| Lease::new(name, fingerprint, want.lent()))
        .collect::<Vec<_>>();
    match known.of(leases).and_then(|known| extend(leases, known, &leased)) {
        Ok(()) => wanted.iter().for_each(|(.., want)| want.lend(state)),
        Err(error) => notes.extend(wanted.into_iter().map(|(name, ..)| (name, error.clone()))),
    }
    notes
}

fn extend(leases: &Leases, known: &mut Known, leased: &[Lease]) -> Result<(), String> {
    leases.extend(known, leased).map_err(|error| error.to_string())
}

/// The leases, read when the first row asks and not again, however many rows do.
#[derive(Default)]
struct Read(Option<Result<Known, String>>);

impl Read {
    fn of(&mut self, leases: &Leases) -> Result<&mut Known, String> {
        let read = || leases.read().map_err(|error| error.to_string());
        self.0.get_or_insert_with(read).as_mut().map_err(|error| error.clone())
    }
}

/// What a row needs once its lease is on disk.
enum Want {
    /// It was never started with this key: its first number, and the end of its lease.
    Start { row: usize, first: u64, lent: u64 },
    /// It may go on up to there.
    Raise { row: usize, lent: u64 },
}

impl Want {
    fn of(
        state: &State,
        row: usize,
        sa: &SaRecord,
        fingerprint: &Fingerprint,
        leases: &Leases,
        known: &mut Read,
    ) -> Result<Option<Want>, String> {
        let exhausted = || LeaseError::Exhausted.to_string();
        let part = state.part(StatePart::Sequences);
        let (Some(sequence), Some(limit)) = (Sequence::at(part, row), limit_word(part, row)) else {
            return Err(exhausted());
        };
        let esn = sa.flags & sa_flag::ESN != 0;
        let limit = limit.load(Ordering::Relaxed);
        if limit == 0 {
            // Never started with this key: all below the lease may have been used in an earlier life.
            let first = known
                .of(leases)?
                .limit(fingerprint)
                .map_err(|error| error.to_string())?
                .max(1);
            let lent = first.checked_add(STEP).ok_or_else(exhausted)?;
            if !esn && first >= END_WITHOUT_ESN {
                return Err(exhausted());
            }
            return Ok(Some(Want::Start { row, first, lent }));
        }
        if !esn && limit >= END_WITHOUT_ESN {
            return if sequence.remaining(esn) == 0 {
                Err(exhausted())
            } else {
                Ok(None)
            };
        }
        if sequence.remaining(esn) >= STEP / 2 {
            return Ok(None);
        }
        let lent = limit.max(sequence.next()).checked_add(STEP).ok_or_else(exhausted)?;
        Ok(Some(Want::Raise { row, lent }))
    }

    /// The end of its lease.
    fn lent(&self) -> u64 {
        match self {
            Want::Start { lent, .. } | Want::Raise { lent, .. } => *lent,
        }
    }

    /// Lends what is on disk by now.
    fn lend(&self, state: &State) {
        let part = state.part(StatePart::Sequences);
        match self {
            Want::Start { row, first, lent } => {
                if let Some(sequence) = Sequence::at(part, *row) {
                    sequence.start(*first, *lent);
                }
            }
            Want::Raise { row, lent } => {
                if let Some(sequence) = Sequence::at(part, *row) {
                    sequence.raise_limit(*lent);
                }
            }
        }
    }
}

/// The word behind `next` of a row (format: `tombolo_tunnel::sequence`).
fn limit_word(part: &[AtomicU64], row: usize) -> Option<&AtomicU64> {
    part.get(row.checked_mul(WORDS)?.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_tables::layout::{TunnelRecord, tunnel_flag};
    use tombolo_tables::region::{HugePages, Region};
    use tombolo_tables::state::{Limits, StateSpec};
    use zerocopy::FromZeros;

    fn state() -> State {
        let limits = Limits {
            workers: 1,
            ports: 1,
            sas: 4,
            ..Limits::default()
        };
        let spec = StateSpec::new(limits).with(StatePart::Sequences, 4 * WORDS);
        State::create(Region::create("test", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap()
    }

    fn world(keys: &[u8], esn: bool) -> World {
        let mut world = World::default();
        for (row, &key) in (0..).zip(keys) {
            let mut tunnel = TunnelRecord::new_zeroed();
            tunnel.name[0] = b'a' + row as u8;
            tunnel.outbound = row;
            tunnel.flags = tunnel_flag::ENABLED;
            world.tunnels.push(tunnel);
            let mut sa = SaRecord::new_zeroed();
            (sa.key, sa.spi, sa.tunnel, sa.cipher) = ([key; 32], 300, row, cipher::AES_256_GCM);
            sa.flags = if esn { sa_flag::ESN } else { 0 };
            world.sas.push(sa);
        }
        world
    }

    fn leases_directory(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("tombolo-sequences-{}-{name}", std::process::id()))
    }

    fn leases(name: &str) -> Leases {
        let path = leases_directory(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Leases::new(path)
    }

    fn sequence(state: &State, row: usize) -> Sequence<'_> {
        Sequence::at(state.part(StatePart::Sequences), row).unwrap()
    }

    #[test]
    fn an_unknown_key_sends_nothing_until_it_is_declared_new() {
        let (state, world, leases) = (state(), world(&[1], true), leases("unknown"));
        stop(&state, 0);
        let notes = supply(&world, &state, &leases);
        assert!(notes["a"].contains("tombolo sa init"), "{notes:?}");
        assert!(sequence(&state, 0).reserve(1, true).is_empty());
        leases.init("a", &fingerprint(&world.sas[0])).unwrap();
        assert!(supply(&world, &state, &leases).is_empty());
        assert_eq!(sequence(&state, 0).reserve(2, true), 1..3);
    }

    #[test]
    fn a_new_state_goes_on_behind_everything_the_old_one_may_have_used() {
        let (world, leases) = (world(&[1], true), leases("restart"));
        leases.init("a", &fingerprint(&world.sas[0])).unwrap();
        let first = state();
        supply(&world, &first, &leases);
        let used = sequence(&first, 0).reserve(u64::MAX, true);
        assert_eq!(used, 1..1 + STEP);
        supply(&world, &first, &leases);
        let more = sequence(&first, 0).reserve(1000, true);
        assert_eq!(more.start, used.end);
        let second = state();
        supply(&world, &second, &leases);
        assert!(sequence(&second, 0).next() >= more.end);
        assert!(sequence(&second, 0).next() >= sequence(&first, 0).next() + sequence(&first, 0).remaining(true));
    }

    #[test]
    fn what_is_lent_is_on_disk_before() {
        let (state, world, leases) = (state(), world(&[1], true), leases("ahead"));
        leases.init("a", &fingerprint(&world.sas[0])).unwrap();
        for _ in 0..5 {
            supply(&world, &state, &leases);
            let end = sequence(&state, 0).next() + sequence(&state, 0).remaining(true);
            assert!(leases.read().unwrap().limit(&fingerprint(&world.sas[0])).unwrap() >= end);
            sequence(&state, 0).reserve(STEP / 3 * 2, true);
        }
    }

    #[test]
    fn many_rows_are_leased_together() {
        let (state, world, leases) = (state(), world(&[1, 2, 3], true), leases("many"));
        for (name, sa) in ["a", "b"].into_iter().zip(&world.sas) {
            leases.init(name, &fingerprint(sa)).unwrap();
        }
        let notes = supply(&world, &state, &leases);
        assert_eq!(notes.keys().collect::<Vec<_>>(), ["c"], "only the unknown key waits");
        for row in 0..2 {
            assert_eq!(sequence(&state, row).reserve(1, true), 1..2);
            let limit = leases.read().unwrap().limit(&fingerprint(&world.sas[row])).unwrap();
            assert_eq!(limit, 1 + STEP);
        }
    }

    #[test]
    fn two_tunnels_with_one_key_do_not_both_send() {
        let (state, world, leases) = (state(), world(&[7, 7], true), leases("twice"));
        leases.init("a", &fingerprint(&world.sas[0])).unwrap();
        let notes = supply(&world, &state, &leases);
        assert!(notes["b"].contains("tunnel a"), "{notes:?}");
        assert!(sequence(&state, 1).reserve(1, true).is_empty());
    }

    #[test]
    fn a_negotiated_key_has_all_its_numbers_and_no_lease() {
        for (esn, end) in [(false, END_WITHOUT_ESN), (true, u64::MAX)] {
            let (state, mut world, leases) = (state(), world(&[1], esn), leases("negotiated"));
            world.sas[0].flags |= sa_flag::NEGOTIATED;
            start_from_one(&state, 0);
            assert_eq!(supply(&world, &state, &leases), BTreeMap::new());
            assert_eq!(std::fs::read_dir(leases_directory("negotiated")).unwrap().count(), 0);
            assert_eq!(sequence(&state, 0).reserve(u64::MAX, esn), 1..end);
            assert!(sequence(&state, 0).reserve(1, esn).is_empty(), "it never wraps");
            supply(&world, &state, &leases);
            assert!(sequence(&state, 0).reserve(1, esn).is_empty());
        }
    }

    #[test]
    fn without_esn_the_numbers_end() {
        let (state, world, leases) = (state(), world(&[1], false), leases("end"));
        let key = fingerprint(&world.sas[0]);
        leases.init("a", &key).unwrap();
        let lease = Lease::new("a", &key, END_WITHOUT_ESN - 10);
        leases.extend(&mut leases.read().unwrap(), &[lease]).unwrap();
        assert!(supply(&world, &state, &leases).is_empty());
        assert_eq!(
            sequence(&state, 0).reserve(100, false),
            END_WITHOUT_ESN - 10..END_WITHOUT_ESN
        );
        assert!(supply(&world, &state, &leases)["a"].contains("every sequence number"));
    }
}
