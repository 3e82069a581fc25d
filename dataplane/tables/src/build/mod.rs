//! From a [`World`] to the [`Sections`] of a generation: control's half of the lookups. One file per table; each states the
//! format that its twin in [`view`](crate::view) reads.
//!
//! [`World::build`] makes all of them. A [`Compiler`] keeps them and follows changes: of routes by `routes_family` (what there is),
//! `routes_trie` (how it is compiled) and `routes_edit` (how a trie follows), of records by `known` and `hash_edit`.

mod changes;
mod check;
mod compiler;
mod error;
mod hash_edit;
pub(crate) mod hash_index;
mod known;
mod neighbours;
mod policy;
mod policy_direct;
mod policy_fields;
pub(crate) mod policy_format;
mod policy_lists;
mod policy_prefixes;
pub(crate) mod routes;
mod routes_array;
mod routes_edit;
mod routes_family;
mod routes_trie;
mod sections;
mod tunnels;
mod world;

pub use changes::Change;
pub use compiler::Compiler;
pub use error::{BuildError, Kind};
pub use sections::Sections;
pub(crate) use sections::{Since, Version, joined};
pub use world::{Route, World};

use crate::layout::SectionId;
use known::Known;
use sections::Section;

impl World {
    /// Compiles tries, hash indices and policy. Same world, same bytes. Who changes what was built uses a [`Compiler`].
    ///
    /// # Errors
    /// [`BuildError`] if records contradict each other; nothing is built then.
    pub fn build(&self) -> Result<Sections, BuildError> {
        check::check(self)?;
        let known = Known::of(self);
        let (routes4, roots4) = routes::compile(self, false)?;
        let (routes6, roots6) = routes::compile(self, true)?;
        let mut segments = self.segments.clone();
        for (segment, (root4, root6)) in segments.iter_mut().zip(roots4.into_iter().zip(roots6)) {
            (segment.root4, segment.root6) = (root4, root6);
        }
        let mut sections = Sections::default();
        sections.set(SectionId::Ports, Section::records(&self.ports));
        sections.set(SectionId::OwnAddresses, Section::records(&self.own_addresses));
        sections.set(SectionId::Segments, Section::records(&segments));
        sections.set(SectionId::Routes4, routes4);
        sections.set(SectionId::Routes6, routes6);
        sections.set(SectionId::Neighbours, Section::records(&self.neighbours));
        sections.set(SectionId::NeighbourIndex, neighbours::compile(&known)?);
        sections.set(SectionId::PolicyRules, Section::records(&self.policy_rules));
        sections.set(SectionId::PolicyIndex, policy::compile(self)?);
        sections.set(SectionId::NatRules, Section::records(&self.nat_rules));
        sections.set(SectionId::Pools, Section::records(&self.pools));
        sections.set(SectionId::Tunnels, Section::records(&self.tunnels));
        sections.set(SectionId::Bundles, Section::records(&self.bundles));
        sections.set(SectionId::Sas, Section::records(&self.sas));
        sections.set(SectionId::Selectors, Section::records(&self.selectors));
        sections.set(SectionId::SpiIndex, tunnels::compile(&known)?);
        sections.set(SectionId::Names, Section::new(self.names.as_bytes()));
        sections.set(SectionId::Capture, Section::records(&[self.capture]));
        Ok(sections)
    }
}
