//! What one worker keeps for itself; allocated once, before packets flow. Lost in a crash without harm.

use crate::ports::PortLocal;
use crate::table::TableLocal;

/// Free lists, limbos, clock hands and port hints of one worker.
pub struct WorkerLocal {
    pub(crate) sessions4: TableLocal,
    pub(crate) sessions6: TableLocal,
    pub(crate) mappings4: TableLocal,
    pub(crate) mappings6: TableLocal,
    pub(crate) ports: PortLocal,
}

impl WorkerLocal {
    /// For worker number `worker` (from 0) of `workers`; `seed` is random and spreads the ports that it hands out.
    pub fn new(worker: usize, workers: usize, seed: u64) -> Self {
        let table = || TableLocal::new(worker, workers);
        WorkerLocal {
            sessions4: table(),
            sessions6: table(),
            mappings4: table(),
            mappings6: table(),
            ports: PortLocal::new(worker, seed),
        }
    }
}
