//! Rows and indices over changes: an address has one row as long as mappings can live, and nobody else has it.

use super::*;
use proptest::prelude::*;

const ROWS: u32 = 16;

/// `last byte of the first address`, count, first port.
type Range = (u8, u32, u16);

fn claim((first, count, port): Range) -> Claim {
    Claim {
        name: format!("{first}+{count} {port}"),
        first: IpAddr::from([203, 0, 113, first]),
        count,
    }
}

fn assign(pools: &mut Pools, ranges: &[Range], drained: &[u32]) -> Result<Vec<(u32, u32)>, Refused> {
    let claims: Vec<Claim> = ranges.iter().copied().map(claim).collect();
    let given = pools.assign(&claims, &drained.iter().copied().collect(), ROWS)?;
    Ok(given.into_iter().map(|given| (given.index, given.row)).collect())
}

const A: Range = (0, 4, 1);
const B: Range = (100, 2, 1);
const C: Range = (200, 1, 1);

#[test]
fn others_keep_their_rows_when_one_goes_grows_comes_or_moves() {
    let mut pools = Pools::default();
    assert_eq!(assign(&mut pools, &[A, B, C], &[]).unwrap(), [(0, 0), (1, 4), (2, 6)]);
    assert_eq!(
        assign(&mut pools, &[C, A, B], &[]).unwrap(),
        [(2, 6), (0, 0), (1, 4)],
        "another order"
    );
    assert_eq!(assign(&mut pools, &[B, C], &[]).unwrap(), [(1, 4), (2, 6)], "one less");
    let smaller = (0, 3, 1);
    assert_eq!(
        assign(&mut pools, &[smaller, B, C], &[]).unwrap(),
        [(3, 0), (1, 4), (2, 6)],
        "the addresses of A have the rows of A, the pool an index of its own"
    );
    let other_ports = (0, 4, 5_000);
    assert_eq!(
        assign(&mut pools, &[other_ports, B, C], &[]).unwrap(),
        [(4, 0), (1, 4), (2, 6)]
    );
    let more = (50, 2, 1);
    assert_eq!(
        assign(&mut pools, &[more, other_ports, B, C], &[]).unwrap(),
        [(5, 7), (4, 0), (1, 4), (2, 6)]
    );
}

#[test]
fn a_place_is_given_on_only_when_no_mapping_names_it_and_a_change_has_passed() {
    let mut pools = Pools::default();
    assign(&mut pools, &[A, B], &[]).unwrap();
    // What says "drained" is older than the change that removes A.
    assert_eq!(assign(&mut pools, &[B, C], &[0]).unwrap(), [(1, 4), (2, 6)]);
    assert_eq!(pools.resting().collect::<Vec<_>>(), [0]);
    let (d, e) = ((10, 1, 1), (20, 1, 1));
    assert_eq!(assign(&mut pools, &[B, C, d], &[]).unwrap()[2], (3, 7));
    assert_eq!(assign(&mut pools, &[B, C, d, e], &[0]).unwrap()[3], (0, 0));
}

#[test]
fn a_pool_that_comes_back_has_its_old_place() {
    let mut pools = Pools::default();
    assign(&mut pools, &[A, B], &[]).unwrap();
    for _ in 0..4 {
        assign(&mut pools, &[B], &[]).unwrap();
        assert_eq!(assign(&mut pools, &[C, B], &[]).unwrap(), [(2, 6), (1, 4)]);
    }
    assert_eq!(
        assign(&mut pools, &[A, B], &[0]).unwrap(),
        [(0, 0), (1, 4)],
        "even if nobody names it"
    );
}

#[test]
fn nothing_changes_when_nothing_changes() {
    let mut pools = Pools::default();
    assign(&mut pools, &[A, B], &[]).unwrap();
    assign(&mut pools, &[B], &[]).unwrap();
    let before = pools.clone();
    assign(&mut pools, &[B], &[0]).unwrap();
    assert_eq!(pools, before, "news from mappings alone publish no generation");
}

#[test]
fn a_range_grows_in_place_or_not_at_all() {
    let mut pools = Pools::default();
    assign(&mut pools, &[A, B], &[]).unwrap();
    let refused = assign(&mut pools.clone(), &[(0, 5, 1), B], &[]).unwrap_err();
    assert!(refused.why.contains("shares addresses with 0+4 1"), "{}", refused.why);
    assert!(refused.hint.contains("a rule of their own"));
    assert_eq!(assign(&mut pools, &[A, (100, 4, 1)], &[]).unwrap(), [(0, 0), (2, 4)]);
    let downwards = assign(&mut pools.clone(), &[A, (99, 4, 1)], &[]);
    assert!(downwards.is_err(), "the row before is A's");
}

#[test]
fn what_does_not_fit_is_refused_until_there_is_room() {
    let mut pools = Pools::default();
    assign(&mut pools, &[(0, 10, 1)], &[]).unwrap();
    let other = [(100, 10, 1)];
    let refused = assign(&mut pools.clone(), &other, &[]).unwrap_err();
    assert!(refused.why.contains("of the 16 places"), "{}", refused.why);
    assert!(refused.hint.contains("pool-addresses"));
    assign(&mut pools, &[], &[]).unwrap();
    assert!(assign(&mut pools.clone(), &other, &[]).is_err(), "still resting");
    assert_eq!(assign(&mut pools, &other, &[0]).unwrap(), [(0, 0)]);
}

#[test]
fn ranges_that_share_addresses_share_rows_from_the_start() {
    let mut pools = Pools::default();
    let wanted = [(0, 4, 1), (100, 4, 1), (2, 4, 5_000)];
    assert_eq!(assign(&mut pools, &wanted, &[]).unwrap(), [(0, 0), (2, 6), (1, 2)]);
}

#[test]
fn there_are_no_more_pools_than_mappings_can_name() {
    let claims: Vec<Claim> = (0..=POOLS_MAX as u16).map(|port| claim((0, 1, port))).collect();
    let all = |claims| Pools::default().assign(claims, &BTreeSet::new(), ROWS);
    assert!(all(&claims[1..]).is_ok());
    assert!(all(&claims).unwrap_err().why.contains("4096 pools"));
}

proptest! {
    #[test]
    fn an_address_has_one_row_while_a_mapping_may_live(
        steps in prop::collection::vec(
            (prop::collection::btree_set((0u8..12, 1u32..5, 1u16..3), 0..4), prop::collection::vec(0u32..8, 0..4)),
            1..20,
        )
    ) {
        let mut pools = Pools::default();
        // Pool index and addresses of every mapping that may live, with its row.
        let mut held: BTreeMap<(u32, u8), u32> = BTreeMap::new();
        for (ranges, ended) in steps {
            let ranges: Vec<Range> = ranges.into_iter().collect();
            let resting: BTreeSet<u32> = pools.resting().collect();
            let drained: Vec<u32> = ended.into_iter().filter(|index| resting.contains(index)).collect();
            held.retain(|(index, _), _| !drained.contains(index));
            let mut next = pools.clone();
            let Ok(given) = assign(&mut next, &ranges, &drained) else { continue };
            pools = next;
            for ((first, count, _), (index, row)) in ranges.iter().zip(given) {
                prop_assert!(row + count <= ROWS);
                for offset in 0..*count {
                    let (address, row) = (first + offset as u8, row + offset);
                    for ((_, other), taken) in &held {
                        prop_assert_eq!(*other == address, *taken == row, "address {} row {}, address {} row {}",
                            address, row, other, taken);
                    }
                    held.insert((index, address), row);
                }
            }
            let owners: BTreeMap<u32, BTreeSet<u8>> = held.keys().fold(BTreeMap::new(), |mut owners, (index, address)| {
                owners.entry(*index).or_insert_with(BTreeSet::new).insert(*address);
                owners
            });
            for (index, addresses) in owners {
                let place = pools.slots[index as usize].as_ref();
                prop_assert_eq!(place.map(|place| place.count as usize), Some(addresses.len()), "an index passed on");
            }
        }
    }
}
