//! The gateway: what is desired, what was learned, what is published, and the one queue of everything that happens.
//!
//! One task owns it, so that nothing here needs a lock. It decides little itself: the configuration says what is
//! legal, the planner what follows from it, the publisher what workers see.

mod answer;
mod apply;
mod captures;
mod carried;
mod ike;
mod ike_settings;
mod learn;
mod memory;
mod metrics;
mod nat_pools;
mod rows;
mod run;
mod sequences;
mod start;
mod worker_events;

pub use start::start;

use crate::dataplane::Connection;
use crate::kernel::Kernel;
use crate::leases::Leases;
use crate::netlink::Netlink;
use crate::paths::Paths;
use crate::regions::Regions;
use crate::views::TunnelNotes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tombolo_config::Gateway as Desired;
use tombolo_planner::{Learned, Plan};
use tombolo_secrets::Store;
use tombolo_tables::build::Compiler;
use tombolo_tables::events::EventReader;
use tombolo_tables::publish::Publisher;
use tombolo_tables::region_secrets::SecretRegion;

/// Everything tombolod knows.
pub struct Gateway {
    paths: Paths,
    started: Instant,
    netlink: Netlink,
    kernel: Kernel,
    leases: Leases,
    regions: Regions,
    publisher: Publisher<'static>,
    secrets: Store<&'static SecretRegion>,
    carried: carried::Carried,
    ike: ike::Ike,
    events: Vec<EventReader<'static>>,
    captures: captures::Captures,
    dataplane: DataplaneState,
    text: String,
    desired: Arc<Desired>,
    learned: Learned,
    requested: learn::Requested,
    devices: BTreeMap<String, u32>,
    plan: Plan,
    compiler: Compiler,
    /// Why tunnels are down: keys that cannot be read, leases that are missing.
    refused_keys: BTreeMap<String, String>,
    notes: TunnelNotes,
    port_errors: BTreeMap<u16, String>,
    alarms: BTreeMap<&'static str, Instant>,
    /// What the kernel or a file refused at the last attempt.
    failures: Vec<String>,
}

/// What is known of the dataplane.
#[derive(Default)]
struct DataplaneState {
    connection: Option<Connection>,
    restarts: u64,
    /// Why it is not there.
    failure: Option<String>,
}
