//! The three regions of shared memory: made for a dataplane that has none, or taken over from one that runs.
//!
//! They live as long as the process: readers and publisher borrow them for `'static`.

use std::os::fd::OwnedFd;
use tombolo_config::Gateway as Desired;
use tombolo_flow::geometry::{self, SaWords};
use tombolo_secrets::{Geometry, OpenError, Store};
use tombolo_tables::handoff::RegionFds;
use tombolo_tables::publish::TablesRegion;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::region_secrets::SecretRegion;
use tombolo_tables::state::{Limits, State, StateSpec};
use tombolo_tunnel::{replay, sequence};

/// Bytes of the tables region: two generations of the largest world that the limits of a configuration allow fit many times.
const TABLES_BYTES: usize = 32 << 20;
/// The dataplane's main thread reads the tables for ports and steering, with the last slot.
const MAIN_THREAD: u32 = 1;
/// Ports that can be added before a restart is needed.
const SPARE_PORTS: u32 = 16;

/// The regions of one gateway.
#[derive(Clone, Copy)]
pub struct Regions {
    /// Generations.
    pub tables: &'static TablesRegion,
    /// What workers write.
    pub state: &'static State,
    /// Keys that no worker needs: mapped here alone, and held by the dataplane.
    pub secrets: &'static SecretRegion,
}

/// What a configuration asks the state region to be sized for.
pub fn limits(desired: &Desired) -> Limits {
    let wanted = &desired.limits;
    Limits {
        workers: u32::from(desired.workers) + MAIN_THREAD,
        ports: u32::try_from(desired.ports.len())
            .unwrap_or(u32::MAX)
            .saturating_add(SPARE_PORTS),
        sessions4: wanted.sessions,
        sessions6: wanted.sessions6,
        mappings: wanted.mappings,
        pool_addresses: wanted.pool_addresses,
        hosts: wanted.mappings / 4,
        tunnels: wanted.tunnels,
        sas: wanted.sas,
    }
}

/// Why a running gateway cannot take a configuration that is right in itself.
pub fn mismatch(desired: &Desired, running: &Limits) -> Option<String> {
    let ports = desired.ports.len();
    let workers = workers(running);
    if desired.workers != workers {
        return Some(format!(
            "it says `workers: {}`, the dataplane runs with {workers}",
            desired.workers
        ));
    }
    (ports > running.ports as usize).then(|| format!("it has {ports} ports, there is room for {}", running.ports))
}

/// Workers that move packets.
pub fn workers(limits: &Limits) -> u16 {
    u16::try_from(limits.workers.saturating_sub(MAIN_THREAD)).unwrap_or(u16::MAX)
}

pub(crate) fn spec(limits: Limits) -> StateSpec {
    geometry::state_spec(
        limits,
        SaWords {
            sequence: sequence::WORDS_PER_SEQUENCE,
            window: replay::WORDS_PER_WINDOW,
        },
    )
}

impl Regions {
    /// Fresh regions, sized for a configuration.
    pub fn create(desired: &Desired) -> anyhow::Result<Regions> {
        let spec = spec(limits(desired));
        let state = State::create(
            Region::create("tombolo-state", spec.bytes(), HugePages::WhereReserved)?,
            &spec,
        )?;
        let tables = Region::create("tombolo-tables", TABLES_BYTES, HugePages::WhereReserved)?;
        let tables = TablesRegion::create(tables)?;
        let secrets = Region::create_secret("tombolo-secrets", Geometry::SHARED.bytes(1))?;
        Ok(Regions::keep(tables, state, SecretRegion::from_fd(secrets)?))
    }

    /// The regions that a running dataplane works on.
    pub fn adopt(descriptors: RegionFds) -> anyhow::Result<Regions> {
        let tables = TablesRegion::open(Region::from_fd(descriptors.tables)?)?;
        let state = State::open(Region::from_fd(descriptors.state)?)?;
        Ok(Regions::keep(
            tables,
            state,
            SecretRegion::from_fd(descriptors.secrets)?,
        ))
    }

    fn keep(tables: TablesRegion, state: State, secrets: SecretRegion) -> Regions {
        Regions {
            tables: Box::leak(Box::new(tables)),
            state: Box::leak(Box::new(state)),
            secrets: Box::leak(Box::new(secrets)),
        }
    }

    /// Descriptors for a dataplane.
    pub fn descriptors(&self) -> std::io::Result<RegionFds> {
        Ok(RegionFds {
            tables: self.tables.region().fd().try_clone_to_owned()?,
            state: self.state.region().fd().try_clone_to_owned()?,
            secrets: self.secrets.fd().try_clone_to_owned()?,
        })
    }

    /// Whether a dataplane works on these very regions.
    pub fn are(&self, others: &RegionFds) -> bool {
        let same = |a: std::os::fd::BorrowedFd<'_>, b: &OwnedFd| matches!((rustix::fs::fstat(a), rustix::fs::fstat(b)), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
        same(self.tables.region().fd(), &others.tables)
            && same(self.state.region().fd(), &others.state)
            && same(self.secrets.fd(), &others.secrets)
    }

    /// The store in the region of secrets, with what the process before this one kept there.
    pub fn open_secrets(&self) -> Result<Store<&'static SecretRegion>, OpenError> {
        let (store, found) = Store::open(self.secrets)?;
        if found.damaged > 0 {
            tracing::error!(
                "{} records of secrets were damaged and are gone: their tunnels are keyed anew",
                found.damaged
            );
        }
        if !self.secrets.is_locked() {
            tracing::warn!(
                "secrets may be written to a swap device: tombolod lacks CAP_IPC_LOCK, or LimitMEMLOCK is small"
            );
        }
        tracing::info!(records = found.records, "secrets");
        Ok(store)
    }

    /// For status.
    pub fn list(&self) -> Vec<tombolo_api::Region> {
        let region = |name: &str, bytes: usize, page_bytes: usize| tombolo_api::Region {
            name: name.into(),
            bytes: bytes as u64,
            page_bytes: page_bytes as u64,
        };
        let (tables, state) = (self.tables.region(), self.state.region());
        vec![
            region("tables", tables.len(), tables.page_size()),
            region("state", state.len(), state.page_size()),
            region("secrets", self.secrets.len(), rustix::param::page_size()),
        ]
    }
}
