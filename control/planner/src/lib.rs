//! From what is desired and what was learned to the tables that workers read and the kernel state that the agent sets: a
//! pure function. The same arguments give the same plan, byte for byte.
#![forbid(unsafe_code)]

mod indices;
pub mod kernel;
mod learned;

pub use indices::{Indices, UnreadableNames};
pub use kernel::KernelDesired;
pub use learned::{Learned, Link, Neighbour, Tap};

use tombolo_config::Gateway;
use tombolo_tables::build::World;
use tombolo_tables::layout::{PoolIndex, SaIndex, TunnelIndex};

/// What to publish and what to do.
pub struct Plan {
    /// The world for the workers. Holds keys.
    pub world: World,
    /// To be given to the next plan.
    pub indices: Indices,
    /// What the kernel shall look like.
    pub kernel: KernelDesired,
    /// What must be done to the state region, in this order, before `world` is published.
    pub actions: Vec<Action>,
    /// What works only in part, for people: a missing device, a tunnel without keys.
    pub warnings: Vec<String>,
}

/// A change of the state region that goes with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An outbound SA is new: give it leased sequence numbers before anyone seals with it.
    StartOutbound {
        /// Row of its sequence numbers.
        sa: SaIndex,
        /// Its tunnel's name; the keys are in [`Learned::sa_keys`].
        tunnel: String,
    },
    /// An inbound SA is new: empty its replay window.
    StartInbound {
        /// Row of its window.
        sa: SaIndex,
        /// Its tunnel's name.
        tunnel: String,
    },
    /// A tunnel is new or its outer path changed: forget what was learned about its path MTU and endpoint.
    ResetTunnel {
        /// Row of the tunnel.
        tunnel: TunnelIndex,
    },
    /// A pool is new: its row owns no ports yet.
    ResetPool {
        /// Row of the pool.
        pool: PoolIndex,
    },
}

/// Plans. `previous` is what the last plan returned (or the live generation holds), `Indices::default()` for the first.
pub fn plan(desired: &Gateway, learned: &Learned, previous: &Indices) -> Plan {
    let _ = (desired, learned);
    Plan {
        world: World::default(),
        indices: previous.clone(),
        kernel: KernelDesired::default(),
        actions: Vec::new(),
        warnings: Vec::new(),
    }
}
