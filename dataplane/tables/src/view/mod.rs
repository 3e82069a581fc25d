//! A generation as workers read it: [`Tables`], a `Copy` view of the sections' bytes, and its lookups, one file per table.
//!
//! The bytes come from control through shared memory and are not trusted: sizes and headers are checked once, by
//! [`Tables::from_sections`]; every subscript that stands in the data is checked where it is used. Whatever the bytes are, a
//! lookup returns, in a bounded number of steps, at worst with a wrong answer.

mod error;
#[doc(hidden)]
pub mod fuzz;
mod hash_index;
mod nat;
mod neighbours;
mod policy;
mod policy_blocks;
mod policy_direct;
mod policy_lists;
mod policy_rows;
mod query;
mod records;
mod routes;
mod tunnels;
mod world;

pub use error::InvalidTables;
pub use policy::PolicyVerdict;
pub use query::PolicyQuery;
pub(crate) use query::{has_ports, has_type};

use crate::build::routes::{STRIDE4, STRIDE6};
use crate::layout::{
    BundleRecord, NatRuleRecord, NeighbourRecord, OwnAddressRecord, PolicyRuleRecord, PoolRecord, PortRecord,
    SECTION_COUNT, SaRecord, SectionId, SegmentRecord, SelectorRecord, TunnelRecord,
};
use hash_index::HashIndex;
use policy::PolicyIndex;
use records::records;
use routes::Routes;

/// The tables of one generation. Made once per generation and reader, then read for whole batches.
#[derive(Clone, Copy)]
pub struct Tables<'g> {
    ports: &'g [PortRecord],
    own_addresses: &'g [OwnAddressRecord],
    segments: &'g [SegmentRecord],
    routes4: Routes<'g>,
    routes6: Routes<'g>,
    neighbours: &'g [NeighbourRecord],
    neighbour_index: HashIndex<'g>,
    policy_rules: &'g [PolicyRuleRecord],
    policy_index: PolicyIndex<'g>,
    nat_rules: &'g [NatRuleRecord],
    pools: &'g [PoolRecord],
    tunnels: &'g [TunnelRecord],
    bundles: &'g [BundleRecord],
    sas: &'g [SaRecord],
    selectors: &'g [SelectorRecord],
    spi_index: HashIndex<'g>,
    names: &'g [u8],
    capture: u64,
}

impl<'g> Tables<'g> {
    /// Checks the sections' sizes and headers; takes time independent of how much they hold.
    ///
    /// # Errors
    /// [`InvalidTables`] if a section is misaligned, no whole number of records, or contradicts its header.
    pub fn from_sections(sections: [&'g [u8]; SECTION_COUNT]) -> Result<Self, InvalidTables> {
        let of = |id: SectionId| (id, sections[id as usize]);
        Ok(Tables {
            ports: records(of(SectionId::Ports))?,
            own_addresses: records(of(SectionId::OwnAddresses))?,
            segments: records(of(SectionId::Segments))?,
            routes4: Routes::from_section(of(SectionId::Routes4), STRIDE4)?,
            routes6: Routes::from_section(of(SectionId::Routes6), STRIDE6)?,
            neighbours: records(of(SectionId::Neighbours))?,
            neighbour_index: HashIndex::from_section(of(SectionId::NeighbourIndex))?,
            policy_rules: records(of(SectionId::PolicyRules))?,
            policy_index: PolicyIndex::from_section(of(SectionId::PolicyIndex))?,
            nat_rules: records(of(SectionId::NatRules))?,
            pools: records(of(SectionId::Pools))?,
            tunnels: records(of(SectionId::Tunnels))?,
            bundles: records(of(SectionId::Bundles))?,
            sas: records(of(SectionId::Sas))?,
            selectors: records(of(SectionId::Selectors))?,
            spi_index: HashIndex::from_section(of(SectionId::SpiIndex))?,
            names: sections[SectionId::Names as usize],
            capture: records::<u64>(of(SectionId::Capture))?.first().copied().unwrap_or(0),
        })
    }
}
