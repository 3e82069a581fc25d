//! NAT pools and the mappings that name them: when the place of a pool may be given on, and whether the state region has room.

use super::Gateway;
use super::apply::ApplyError;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use tombolo_flow::Mappings;
use tombolo_flow::geometry::flow_limits;
use tombolo_flow::mapping::Address;
use tombolo_planner::Plan;
use tombolo_tables::layout::PoolRecord;
use tombolo_tables::state::StatePart;

impl Gateway {
    /// Pools whose place may be given on. Those that are resting now were in use by the generation before at the latest: once
    /// every worker has the current one, they get no new mapping.
    pub(super) fn drained_pools(&self) -> BTreeSet<u32> {
        let mut resting: BTreeSet<u32> = self.plan.indices.resting_pools().collect();
        if !resting.is_empty() && !self.publisher.is_announced(self.publisher.current()) {
            return BTreeSet::new();
        }
        let state = self.regions.state;
        drop_named::<u32>(&mut resting, state.part(StatePart::Mappings4));
        drop_named::<[u8; 16]>(&mut resting, state.part(StatePart::Mappings6));
        resting
    }

    /// Whether the state region, which may be older than `limits:`, has the rows that the plan's pools are given.
    pub(super) fn check_rows(&self, plan: &Plan) -> Result<(), ApplyError> {
        let rows = flow_limits(&self.regions.state.limits()).pool_addresses as u64;
        let end = |pool: &PoolRecord| u64::from(pool.row) + u64::from(pool.count);
        if plan.world.pools.iter().all(|pool| end(pool) <= rows) {
            return Ok(());
        }
        let why = format!("the running dataplane has room for {rows} outside addresses, which is too little for it");
        let hint = "stop the dataplane and tombolod, then start with this configuration";
        Err(ApplyError::Refused(why, hint))
    }
}

/// Takes out of `pools` those that a mapping or a host names; all, if the table cannot be read.
fn drop_named<A: Address>(pools: &mut BTreeSet<u32>, part: &[AtomicU64]) {
    let Ok(mappings) = Mappings::<A>::open(part) else {
        return pools.clear();
    };
    for mapping in (0..mappings.entries()).filter_map(|entry| mappings.view(entry)) {
        if pools.is_empty() {
            return;
        }
        pools.remove(&mapping.inside.pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_flow::{Inside, PoolView, Ports, WorkerLocal};

    fn zeroed(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_pool_is_drained_when_its_last_mapping_and_host_are_gone() {
        let part = zeroed(Mappings::<u32>::words(16));
        let words = zeroed(Ports::words(1));
        let drained = |mut pools: BTreeSet<u32>| {
            drop_named::<u32>(&mut pools, &part);
            pools
        };
        assert_eq!(
            drained([1, 2].into()),
            BTreeSet::new(),
            "nothing is known of a table that is not there"
        );
        let mappings = Mappings::<u32>::format(&part, 16, [1, 2]).unwrap();
        let (ports, mut local) = (Ports::open(&words), WorkerLocal::new(0, 1, 1));
        let inside = Inside {
            segment: 1,
            protocol: 17,
            address: 9,
            port: 7,
            pool: 2,
        };
        let pool = PoolView {
            first: 8,
            count: 1,
            port_first: 1_024,
            port_last: 65_535,
            sessions_per_host_max: 0,
            row: 0,
        };
        let binding = mappings.bind(&ports, &mut local, &inside, &pool, 0).unwrap();
        assert_eq!(drained([1, 2].into()), [1].into());
        mappings.release(binding.mapping, 0);
        mappings.expire(&ports, &mut local, 10, 10, 16);
        assert_eq!(ports.taken(0, 17), 0);
        assert_eq!(
            drained([1, 2].into()),
            [1].into(),
            "its host would have an address of it yet"
        );
        mappings.expire(&ports, &mut local, 20, 10, 16);
        assert_eq!(drained([1, 2].into()), [1, 2].into());
    }
}
