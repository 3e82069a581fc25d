//! The mapping table's index as full as it gets, and under aimed keys: nothing is refused, and lookups stay short.

use super::*;

const PORTS: PoolView<u32> = PoolView {
    port_first: 1_024,
    port_last: 65_535,
    ..POOL
};

/// Every mapping is found by both its endpoints, and the index holds nothing else. Returns the entries.
fn check_index(mappings: &Mappings<'_, u32>) -> usize {
    let (mut entries, mut slots) = (0, 0);
    for mapping in 0..mappings.entries() {
        let Some(view) = mappings.view(mapping) else { continue };
        let is_host = view.inside.protocol == 0;
        entries += 1;
        slots += if is_host { 1 } else { 2 };
        let found = mappings
            .find_inside(&view.inside, mappings.hash(&view.inside))
            .map(|(found, ..)| found);
        assert_eq!(found, Some(mapping), "{:?}", view.inside);
        assert!(is_host || shown(mappings, (view.address, view.port)) == Some(view.inside));
    }
    assert_eq!(mappings.table().index.occupancy().0, slots);
    entries
}

#[test]
fn the_stated_capacity_is_reached_with_both_endpoints_of_every_mapping() {
    for capacity in [2usize, 5, 64, 1_000, 20_000, 50_000] {
        let parts = Parts::new(capacity);
        let (mappings, ports) = parts.open();
        let mut local = WorkerLocal::new(0, 1, 1);
        // One host: all other entries are mappings, with two keys each.
        let mut bind = |port| mappings.bind(&ports, &mut local, &inside(0, port), &PORTS, 0);
        let mut made = 0;
        while made + 1 < capacity {
            assert!(bind(made as u16).is_ok(), "mapping {made} of {capacity}");
            made += 1;
        }
        assert_eq!(check_index(&mappings), capacity);
        while let Ok(binding) = bind(made as u16) {
            made += 1;
            assert_eq!(binding.mapping as usize, made);
        }
        assert_eq!(bind(made as u16), Err(BindError::TableFull));
        assert_eq!(made + 1, mappings.table().entry_count() as usize, "spare entries, too");
        assert_eq!(check_index(&mappings), made + 1);
        let (_, longest) = mappings.table().index.occupancy();
        assert!(longest <= 6, "{longest} buckets at capacity {capacity}");
    }
}

#[test]
fn endpoints_made_to_collide_elsewhere_do_not_collide_here() {
    let capacity = 4_096;
    let parts = Parts::new(capacity);
    let other = zeroed(Mappings::<u32>::words(16));
    let other = Mappings::<u32>::format(&other, 16, [42, 43]).unwrap();
    for (name, mask) in [
        ("near primary buckets under another seed", 0x3ff << 54),
        ("near overflow buckets under another seed", 0x3ff << 22),
        ("the same low bits under another seed", 0x3ff),
    ] {
        let mappings = Mappings::<u32>::format(&parts.table, capacity, SEED).unwrap();
        let ports = Ports::open(&parts.ports);
        ports.clear();
        let mut local = WorkerLocal::new(0, 1, 1);
        let endpoints = (0u32..).map(|guess| inside(guess >> 16, guess as u16));
        let (mut made, mut last_host) = (0, None);
        for endpoint in endpoints.filter(|endpoint| other.hash(endpoint) & mask == 0) {
            made += 1 + usize::from(last_host.replace(endpoint.address) != Some(endpoint.address));
            if made > capacity {
                break;
            }
            assert!(
                mappings.bind(&ports, &mut local, &endpoint, &PORTS, 0).is_ok(),
                "{name}"
            );
        }
        assert!(check_index(&mappings) >= capacity - 1);
        let (_, longest) = mappings.table().index.occupancy();
        assert!(longest <= 3, "{name}: a lookup visits up to {longest} buckets");
    }
}
