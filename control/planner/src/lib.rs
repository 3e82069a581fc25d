//! From what is desired and what was learned to the tables that workers read and the kernel state that the agent sets: a
//! pure function. The same arguments give the same plan, byte for byte.
//!
//! Reading order: `plan` below names the steps; `indices` says why indices are stable, `epochs` when sessions are decided
//! again; `links`, `routes`, `tunnels` (with `sas`), `bundles`, `nat` and `policy` each fill their tables; `kernel` is the kernel's side.
#![forbid(unsafe_code)]

mod bundles;
mod digest;
mod epochs;
mod indices;
mod inside;
pub mod kernel;
mod kernel_plan;
mod learned;
mod links;
mod names;
mod nat;
pub mod negotiated;
mod policy;
mod pools;
mod prefix;
mod routes;
mod sas;
mod tunnels;

pub use indices::{Indices, UnreadableNames};
pub use kernel::KernelDesired;
pub use learned::{Learned, Link, Neighbour, Tap};
pub use negotiated::{Negotiated, NegotiatedSa, OuterPath, SaSecret, SelectorPair, UdpPorts};
pub use routes::neighbour_changes;

use core::fmt;
use indices::Wanted;
use std::collections::BTreeMap;
use tombolo_config::{Gateway, PortId, RouteIndex, SegmentId, TunnelId};
use tombolo_tables::build::World;
use tombolo_tables::layout::{NeighbourIndex, PortIndex, SaIndex, SegmentIndex, TunnelIndex};
use zerocopy::IntoBytes;
use zeroize::Zeroize;

/// What to publish and what to do.
#[derive(Clone, Default)]
pub struct Plan {
    /// The world for the workers. Holds keys.
    pub world: World,
    /// To be given to the next plan.
    pub indices: Indices,
    /// What the kernel shall look like.
    pub kernel: KernelDesired,
    /// What must be done to the state region, in this order, before `world` is published.
    pub actions: Vec<Action>,
    /// Where each SA of `world` is.
    pub sas: Vec<PlannedSa>,
    /// What works only in part, for people: a missing device, a tunnel without keys.
    pub warnings: Vec<String>,
}

/// An SA and its index, by which its counters, window and sequence number are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSa {
    /// Its tunnel's name.
    pub tunnel: String,
    /// Its child's name; empty for manual keys.
    pub child: String,
    /// Inbound, else outbound.
    pub inbound: bool,
    /// SPI.
    pub spi: u32,
    /// The index.
    pub sa: SaIndex,
}

/// Where the sequence numbers of an outbound SA come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// A manual key: numbers are leased on disk, by [`Learned::sa_keys`].
    Leased,
    /// A negotiated key: 1 to the end, since it was never used before and dies with the memory.
    FromOne,
}

impl Drop for Plan {
    /// Wipes the keys.
    fn drop(&mut self) {
        for sa in &mut self.world.sas {
            sa.as_mut_bytes().zeroize();
        }
    }
}

/// A change of the state region that goes with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An outbound SA is new: give it sequence numbers before anyone seals with it.
    StartOutbound {
        /// Row of its sequence numbers.
        sa: SaIndex,
        /// Its tunnel's name.
        tunnel: String,
        /// Where the numbers come from.
        numbering: Numbering,
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
}

/// Why a configuration, right in itself, cannot follow the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is in the way.
    pub why: String,
    /// What the operator can do.
    pub hint: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.hint)
    }
}

impl core::error::Error for Refused {}

/// Plans. `previous` is what the last plan returned (or the live generation holds), `Indices::default()` for the first.
///
/// # Errors
/// See [`Refused`]. The configuration that `previous` stems from is never refused, nor is any without a `previous`.
pub fn plan(desired: &Gateway, learned: &Learned, previous: &Indices) -> Result<Plan, Refused> {
    let mut draft = Draft::new(desired, learned, previous);
    links::fill(&mut draft);
    tunnels::assign(&mut draft);
    routes::fill(&mut draft);
    tunnels::fill(&mut draft);
    bundles::fill(&mut draft);
    nat::fill(&mut draft)?;
    policy::fill(&mut draft);
    epochs::fill(&mut draft);
    kernel_plan::fill(&mut draft);
    draft.plan.world.names = names::names(desired, &draft.plan.indices);
    Ok(draft.plan)
}

/// A plan in the making.
struct Draft<'a> {
    desired: &'a Gateway,
    learned: &'a Learned,
    reach: RouteIndex,
    plan: Plan,
    segments: Vec<SegmentIndex>,
    ports: Vec<PortIndex>,
    tunnels: Vec<TunnelIndex>,
    neighbours: BTreeMap<routes::Host, NeighbourIndex>,
}

impl<'a> Draft<'a> {
    fn new(desired: &'a Gateway, learned: &'a Learned, previous: &Indices) -> Self {
        let mut plan = Plan::default();
        plan.indices = previous.clone();
        let names = |names: Vec<&tombolo_config::Name>| -> Vec<Wanted> {
            names.into_iter().map(|name| Wanted::name(name.as_str())).collect()
        };
        let segments = names(desired.segments.iter().map(|segment| &segment.name).collect());
        let segments = plan.indices.segments.assign(&segments, usize::from(u16::MAX));
        let ports = names(desired.ports.iter().map(|port| &port.name).collect());
        let ports = plan.indices.ports.assign(&ports, usize::from(u16::MAX));
        let law = "a configuration has fewer segments and ports than there are indices";
        Draft {
            desired,
            learned,
            reach: RouteIndex::new(desired),
            segments: segments
                .into_iter()
                .map(|given| SegmentIndex(given.expect(law).index as u16))
                .collect(),
            ports: ports
                .into_iter()
                .map(|given| PortIndex(given.expect(law).index as u16))
                .collect(),
            tunnels: Vec::new(),
            neighbours: BTreeMap::new(),
            plan,
        }
    }

    fn segment(&self, id: SegmentId) -> SegmentIndex {
        self.segments[id.usize()]
    }

    fn port(&self, id: PortId) -> PortIndex {
        self.ports[id.usize()]
    }

    fn tunnel(&self, id: TunnelId) -> TunnelIndex {
        self.tunnels[id.usize()]
    }

    fn warn(&mut self, warning: String) {
        self.plan.warnings.push(warning);
    }
}

/// A name in a record's fixed room; what does not fit is cut, which validated names never need.
fn padded<const N: usize>(name: &str) -> [u8; N] {
    let mut room = [0; N];
    for (place, byte) in room.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    room
}
