//! Single changes of what was built: for what is learned, which must not wait for a whole world.

use super::check;
use super::compiler::{Compiler, Indices};
use super::known::{Known, Overlay, records};
use super::routes;
use super::routes_family::Edits;
use super::{BuildError, Kind, Route};
use crate::layout::{
    NeighbourIndex, NeighbourRecord, SaIndex, SaRecord, SectionId, SegmentIndex, SegmentRecord, TunnelIndex,
    TunnelRecord, neighbour_state,
};

/// Farthest that a record may lie behind the last one of its kind.
const BEYOND_MAX: u32 = 1 << 16;

/// One change. A record replaces the one of its index or comes anew; slots that it leaves out are free.
#[derive(Clone, Copy)]
pub enum Change {
    /// A route comes, or leads elsewhere.
    Route(Route),
    /// The route with this prefix goes, if it is there; its next hop means nothing.
    NoRoute(Route),
    /// A neighbour, not a free slot: routes may name it.
    Neighbour(NeighbourIndex, NeighbourRecord),
    /// A tunnel.
    Tunnel(TunnelIndex, TunnelRecord),
    /// An SA, or with SPI 0 a free slot.
    Sa(SaIndex, SaRecord),
    /// Decisions of an older epoch are taken again in this segment.
    Epoch(SegmentIndex, u32),
    /// Ports to capture on.
    Capture(u64),
}

/// Makes all of them, or none.
pub(super) fn make(compiler: &mut Compiler, changes: &[Change]) -> Result<(), BuildError> {
    let before = Known::built(&compiler.sections);
    let mut over = Overlay::default();
    let mut segments = records::<SegmentRecord>(&compiler.sections, SectionId::Segments).to_vec();
    let mut capture = None;
    for (at, change) in changes.iter().enumerate() {
        match *change {
            Change::Neighbour(index, record) => {
                over.neighbours.insert(index.0, record);
            }
            Change::Tunnel(index, record) => {
                over.tunnels.insert(index.0, record);
            }
            Change::Sa(index, record) => {
                over.sas.insert(index.0, record);
            }
            Change::Epoch(segment, epoch) => match segments.get_mut(segment.usize()) {
                Some(record) => record.epoch = epoch,
                None => return Err(no_segment(at, segment)),
            },
            Change::Capture(ports) => capture = Some(ports),
            Change::Route(_) | Change::NoRoute(_) => {}
        }
    }
    reachable(&before, &over)?;
    let after = before.under(&over);
    check::changed(&after, &over)?;
    let edits = edits(compiler, changes, &after)?;
    let mut indices = Indices::take(&mut compiler.sections);
    let before = Known::built(&compiler.sections);
    let changed = (
        over.sas.keys().copied().collect(),
        over.neighbours.keys().copied().collect(),
    );
    let followed = indices.follow(&before, &before.under(&over), changed);
    indices.put_back(&mut compiler.sections);
    followed?;
    write(compiler, &over, capture);
    if let Some(base) = &mut compiler.base {
        base.remember(&edits);
    }
    compiler.edit_routes(&edits, &segments)
}

fn no_segment(at: usize, segment: SegmentIndex) -> BuildError {
    BuildError::Unknown {
        by: Kind::Segment,
        at,
        kind: Kind::Segment,
        index: segment.0.into(),
    }
}

/// Whether new records follow on what there is, and no neighbour goes.
fn reachable(before: &Known<'_>, over: &Overlay) -> Result<(), BuildError> {
    let far = |kind, last: Option<u32>, len: usize| match last {
        Some(last) if last as usize > len + BEYOND_MAX as usize => Err(BuildError::TooMany {
            kind,
            count: last as usize,
            most: len + BEYOND_MAX as usize,
        }),
        Some(_) | None => Ok(()),
    };
    far(
        Kind::Neighbour,
        over.neighbours.keys().last().copied(),
        before.neighbours.len(),
    )?;
    far(Kind::Tunnel, over.tunnels.keys().last().copied(), before.tunnels.len())?;
    far(Kind::Sa, over.sas.keys().last().copied(), before.sas.len())?;
    match over
        .neighbours
        .iter()
        .find(|(_, record)| record.state == neighbour_state::FREE)
    {
        Some((at, _)) => Err(BuildError::Field {
            by: Kind::Neighbour,
            at: *at as usize,
            field: "state: a neighbour that routes may name goes",
        }),
        None => Ok(()),
    }
}

/// The changes of routes; the base remembers what it had instead.
fn edits(compiler: &Compiler, changes: &[Change], after: &Known<'_>) -> Result<[Edits; 2], BuildError> {
    let mut edits: [Edits; 2] = Default::default();
    for (at, change) in changes.iter().enumerate() {
        let (route, is_there) = match change {
            Change::Route(route) => (route, true),
            Change::NoRoute(route) => (route, false),
            Change::Neighbour(..) | Change::Tunnel(..) | Change::Sa(..) | Change::Epoch(..) | Change::Capture(_) => {
                continue;
            }
        };
        let prefix = routes::prefix(at, route, after.segments)?;
        if is_there {
            check::routes(after, core::slice::from_ref(route), 0..1)?;
        }
        edits[usize::from(route.v6)].insert(prefix.key(), is_there.then_some(prefix.next_hop));
    }
    let families = compiler.base.iter().flat_map(|base| &base.families);
    for (edits, family) in edits.iter_mut().zip(families) {
        edits.retain(|key, next_hop| family.get(key) != *next_hop);
    }
    Ok(edits)
}

fn write(compiler: &mut Compiler, over: &Overlay, capture: Option<u64>) {
    let sections = &mut compiler.sections;
    for (at, record) in &over.neighbours {
        sections.section_mut(SectionId::Neighbours).put(*at as usize, record);
    }
    for (at, record) in &over.tunnels {
        sections.section_mut(SectionId::Tunnels).put(*at as usize, record);
    }
    for (at, record) in &over.sas {
        sections.section_mut(SectionId::Sas).put(*at as usize, record);
    }
    if let Some(ports) = capture {
        sections.section_mut(SectionId::Capture).put(0, &ports);
    }
}
