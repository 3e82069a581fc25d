//! A builder that remembers: what follows the last world, or single changes, costs what changed and not what there is.
//!
//! Every lookup is answered as by what [`World::build`] makes, though the bytes differ: sections have room to grow, and what
//! goes leaves holes.

use super::changes::{self, Change};
use super::check;
use super::hash_edit::{IndexPlan, Keys};
use super::known::{Known, differing};
use super::routes;
use super::routes_family::{Edits, Family};
use super::sections::Section;
use super::{BuildError, Kind, Route, Sections, World, neighbours, policy, tunnels};
use crate::layout::{SectionId, SegmentRecord};
use core::ops::Range;
use zerocopy::IntoBytes;

/// So many changed routes are followed whatever the number of all.
const FOLLOWED_MIN: usize = 64;

/// Compiles worlds that differ little from each other.
#[derive(Default)]
pub struct Compiler {
    pub(super) sections: Sections,
    /// What the sections stem from; none before the first world.
    pub(super) base: Option<Base>,
}

/// What the sections do not say themselves.
pub(super) struct Base {
    /// Routes of the last world, in its order.
    routes: Vec<Route>,
    /// IPv4, IPv6.
    pub(super) families: [Family; 2],
    /// Routes changed since the last world, as it had them.
    pub(super) beside: [Edits; 2],
}

impl Compiler {
    /// Makes the sections those of `world`; what single changes made of the last one counts no more. On an error all is as it was.
    ///
    /// # Errors
    /// As [`World::build`].
    pub fn build(&mut self, world: &World) -> Result<&Sections, BuildError> {
        if !self.follow(world)? {
            self.start(world)?;
        }
        Ok(&self.sections)
    }

    /// Changes what was built last: all of it or, on an error, nothing.
    ///
    /// # Errors
    /// [`BuildError`] if the records would contradict each other.
    pub fn change(&mut self, changes: &[Change]) -> Result<&Sections, BuildError> {
        changes::make(self, changes)?;
        Ok(&self.sections)
    }

    /// What was built last.
    pub fn sections(&self) -> &Sections {
        &self.sections
    }

    /// Compiles everything.
    fn start(&mut self, world: &World) -> Result<(), BuildError> {
        check::check(world)?;
        let family = |v6| -> Result<Family, BuildError> {
            let prefixes = routes::sorted_prefixes(&world.routes, v6, world.segments.len())?;
            let family = Family::new(&prefixes, v6, world.segments.len());
            family.check()?;
            Ok(family)
        };
        let mut families = [family(false)?, family(true)?];
        let known = Known::of(world);
        let mut sections = Sections::default();
        sections.set(SectionId::NeighbourIndex, neighbours::compile(&known)?);
        sections.set(SectionId::PolicyIndex, policy::compile(world)?);
        sections.set(SectionId::SpiIndex, tunnels::compile(&known)?);
        for (id, bytes) in plain(world) {
            sections.set(id, Section::roomy(bytes));
        }
        sections.set(
            SectionId::Segments,
            Section::roomy(rooted(&world.segments, &families).as_bytes()),
        );
        sections.set(SectionId::Routes4, families[0].section());
        sections.set(SectionId::Routes6, families[1].section());
        self.sections = sections;
        self.base = Some(Base {
            routes: world.routes.clone(),
            families,
            beside: Default::default(),
        });
        Ok(())
    }

    /// Writes what is different in `world`. False, and nothing is changed, if there is nothing to follow or too much is different.
    fn follow(&mut self, world: &World) -> Result<bool, BuildError> {
        let Some(base) = &self.base else { return Ok(false) };
        check::records(world)?;
        let (before, after) = (Known::built(&self.sections), Known::of(world));
        let (old, new) = difference(&base.routes, &world.routes);
        let unsure = if before.stays_in(&after) {
            new.clone()
        } else {
            0..world.routes.len()
        };
        check::routes(&after, &world.routes, unsure)?;
        if old.len().max(new.len()) > FOLLOWED_MIN + world.routes.len() / 8 {
            return Ok(false);
        }
        let edits = base.edits(old.clone(), world, new.clone())?;
        let same_rules = self.sections.get(SectionId::PolicyRules) == world.policy_rules.as_bytes();
        let policy = if same_rules {
            None
        } else {
            Some(policy::compile(world)?)
        };
        let mut indices = Indices::take(&mut self.sections);
        let (before, after) = (Known::built(&self.sections), Known::of(world));
        let changed = (
            differing(before.sas, after.sas),
            differing(before.neighbours, after.neighbours),
        );
        let followed = indices.follow(&before, &after, changed);
        indices.put_back(&mut self.sections);
        followed?;
        // Nothing is refused from here on, but for the routes' own limits.
        for (id, bytes) in plain(world) {
            self.sections.section_mut(id).replace(bytes);
        }
        if let Some(policy) = policy {
            self.sections.set(SectionId::PolicyIndex, policy);
        }
        if let Some(base) = &mut self.base {
            base.routes.splice(old, world.routes[new].iter().copied());
            base.beside = Default::default();
        }
        self.edit_routes(&edits, &world.segments)?;
        Ok(true)
    }

    /// Brings tries and segments up to date.
    pub(super) fn edit_routes(&mut self, edits: &[Edits; 2], segments: &[SegmentRecord]) -> Result<(), BuildError> {
        let Some(base) = &mut self.base else { return Ok(()) };
        let ids = [SectionId::Routes4, SectionId::Routes6];
        for ((family, edits), id) in base.families.iter_mut().zip(edits).zip(ids) {
            family.grow(segments.len());
            if !edits.is_empty() {
                family.edit(edits);
                family.write_to(self.sections.section_mut(id));
            }
            family.shrink(segments.len());
        }
        let segments = rooted(segments, &base.families);
        self.sections
            .section_mut(SectionId::Segments)
            .replace(segments.as_bytes());
        let checked = base.families.iter().try_for_each(Family::check);
        if checked.is_err() {
            self.base = None;
        }
        checked
    }
}

impl Base {
    /// Keeps what routes that are about to change were in the last world.
    pub(super) fn remember(&mut self, edits: &[Edits; 2]) {
        for ((edits, family), beside) in edits.iter().zip(&self.families).zip(&mut self.beside) {
            for key in edits.keys() {
                beside.entry(*key).or_insert_with(|| family.get(key));
            }
        }
    }

    /// What makes the routes those of `world`, where its routes `new` stand for the last one's `old`; IPv4, IPv6.
    fn edits(&self, old: Range<usize>, world: &World, new: Range<usize>) -> Result<[Edits; 2], BuildError> {
        let mut edits = self.beside.clone();
        for (at, route) in old.clone().zip(&self.routes[old]) {
            let prefix = routes::prefix(at, route, usize::MAX)?;
            edits[usize::from(route.v6)].insert(prefix.key(), None);
        }
        for (at, route) in new.clone().zip(&world.routes[new]) {
            let prefix = routes::prefix(at, route, world.segments.len())?;
            let (edits, family) = (&mut edits[usize::from(route.v6)], &self.families[usize::from(route.v6)]);
            let there = match edits.get(&prefix.key()) {
                Some(edit) => edit.is_some(),
                None => family.get(&prefix.key()).is_some(),
            };
            if there {
                return Err(routes::duplicate(&prefix, route.v6));
            }
            edits.insert(prefix.key(), Some(prefix.next_hop));
        }
        for (edits, family) in edits.iter_mut().zip(&self.families) {
            edits.retain(|key, next_hop| family.get(key) != *next_hop);
        }
        Ok(edits)
    }
}

/// The two indices, out of the sections while they are edited: they are edited by what the other sections say.
pub(super) struct Indices {
    spis: Section,
    neighbours: Section,
}

impl Indices {
    pub(super) fn take(sections: &mut Sections) -> Indices {
        Indices {
            spis: core::mem::take(sections.section_mut(SectionId::SpiIndex)),
            neighbours: core::mem::take(sections.section_mut(SectionId::NeighbourIndex)),
        }
    }

    pub(super) fn put_back(self, sections: &mut Sections) {
        sections.set(SectionId::SpiIndex, self.spis);
        sections.set(SectionId::NeighbourIndex, self.neighbours);
    }

    /// Follows changed SAs and neighbours; on an error nothing is changed.
    pub(super) fn follow(
        &mut self,
        before: &Known<'_>,
        after: &Known<'_>,
        (sas, neighbours): (Vec<u32>, Vec<u32>),
    ) -> Result<(), BuildError> {
        let sas = before.tunnels_stay(after).then_some(sas);
        let by_spi = Keys {
            old: &|at| before.spi_key(at),
            new: &|at| after.spi_key(at),
        };
        let by_address = Keys {
            old: &|at| before.neighbour_key(at),
            new: &|at| after.neighbour_key(at),
        };
        let spis = IndexPlan::new(&self.spis, sas, &by_spi, Kind::Sa, || tunnels::compile(after))?;
        let hosts = IndexPlan::new(&self.neighbours, Some(neighbours), &by_address, Kind::Neighbour, || {
            super::neighbours::compile(after)
        })?;
        spis.make(&mut self.spis, &by_spi);
        hosts.make(&mut self.neighbours, &by_address);
        Ok(())
    }
}

/// Where two lists of routes differ, but for what they begin and end with alike.
fn difference(old: &[Route], new: &[Route]) -> (Range<usize>, Range<usize>) {
    let same = |(one, other): &(&Route, &Route)| one == other;
    let head = old.iter().zip(new).take_while(same).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(same)
        .count();
    (head..old.len() - tail, head..new.len() - tail)
}

/// Segments with the roots of their tries.
fn rooted(segments: &[SegmentRecord], families: &[Family; 2]) -> Vec<SegmentRecord> {
    let roots = families[0].roots().zip(families[1].roots());
    let rooted = segments
        .iter()
        .zip(roots)
        .map(|(segment, (root4, root6))| SegmentRecord {
            root4,
            root6,
            ..*segment
        });
    rooted.collect()
}

/// The sections that are a world's records as they are.
fn plain(world: &World) -> [(SectionId, &[u8]); 12] {
    [
        (SectionId::Ports, world.ports.as_bytes()),
        (SectionId::OwnAddresses, world.own_addresses.as_bytes()),
        (SectionId::Neighbours, world.neighbours.as_bytes()),
        (SectionId::PolicyRules, world.policy_rules.as_bytes()),
        (SectionId::NatRules, world.nat_rules.as_bytes()),
        (SectionId::Pools, world.pools.as_bytes()),
        (SectionId::Tunnels, world.tunnels.as_bytes()),
        (SectionId::Bundles, world.bundles.as_bytes()),
        (SectionId::Sas, world.sas.as_bytes()),
        (SectionId::Selectors, world.selectors.as_bytes()),
        (SectionId::Names, world.names.as_bytes()),
        (SectionId::Capture, world.capture.as_bytes()),
    ]
}
