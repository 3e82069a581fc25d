//! The routes of one family, kept sorted beside their tries, so that both can follow single changes.
//!
//! Routes longer than 16 bits are kept by their first 16, so that a change touches one short list.

use super::routes::{DIRECT, DIRECT_BITS, INDEX, NODE, Prefix};
use super::routes_edit::Edited;
use super::routes_trie::{Form, Trie, paint};
use super::sections::{Section, with_slack};
use crate::layout::NextHop;
use std::collections::BTreeMap;

/// Names a route among those of its family.
pub(super) type Key = (u16, u128, u8);

/// New bits of a next hop, or none for a route that goes.
pub(super) type Edits = BTreeMap<Key, Option<u32>>;

/// The tries of a family and what they were compiled from.
pub(super) struct Family {
    trie: Trie,
    segments: Vec<Segment>,
}

/// The routes of one segment.
#[derive(Default)]
struct Segment {
    root: u32,
    form: Form,
    count: usize,
    /// At most 16 bits long.
    short: Vec<Prefix>,
    /// The longer ones by their first 16 bits; no list is empty.
    long: BTreeMap<u16, Vec<Prefix>>,
    /// What the short ones say for each value of the first 16 bits, where there is a direct table.
    painted: Vec<u32>,
}

impl Family {
    /// Compiles sorted routes.
    pub(super) fn new(prefixes: &[Prefix], v6: bool, segments: usize) -> Family {
        let mut family = Family {
            trie: Trie::new(v6),
            segments: Vec::new(),
        };
        family.segments.resize_with(segments, Segment::default);
        for of_segment in prefixes.chunk_by(|one, other| one.segment == other.segment) {
            let segment = &mut family.segments[usize::from(of_segment[0].segment)];
            segment.count = of_segment.len();
            for prefix in of_segment {
                segment.list(prefix.bits, prefix.length).push(*prefix);
            }
            segment.compile(&mut family.trie, of_segment);
        }
        family
    }

    /// The next hop of exactly this route.
    pub(super) fn get(&self, &(segment, bits, length): &Key) -> Option<u32> {
        let segment = self.segments.get(usize::from(segment))?;
        let list = if length <= 16 {
            &segment.short
        } else {
            segment.long.get(&first16(bits))?
        };
        let at = list.binary_search_by_key(&(bits, length), order).ok()?;
        Some(list[at].next_hop)
    }

    /// Roots by segment.
    pub(super) fn roots(&self) -> impl Iterator<Item = u32> {
        self.segments.iter().map(|segment| segment.root)
    }

    /// Makes room for so many segments.
    pub(super) fn grow(&mut self, segments: usize) {
        if segments > self.segments.len() {
            self.segments.resize_with(segments, Segment::default);
        }
    }

    /// Lets go of segments that lost their routes.
    pub(super) fn shrink(&mut self, segments: usize) {
        self.segments.truncate(segments);
    }

    /// Puts routes in and takes routes out.
    pub(super) fn edit(&mut self, edits: &Edits) {
        let edits: Vec<_> = edits.iter().collect();
        for of_segment in edits.chunk_by(|one, other| one.0.0 == other.0.0) {
            let segment = &mut self.segments[usize::from(of_segment[0].0.0)];
            for &(&(number, bits, length), &next_hop) in of_segment {
                segment.put(number, bits, length, next_hop);
            }
            let form = segment.wanted_form(&self.trie);
            if form == Form::Nodes || form != segment.form || of_segment.len() > segment.count / 8 {
                self.trie.free_segment(segment.root);
                let all = segment.all();
                segment.compile(&mut self.trie, &all);
                continue;
            }
            if of_segment.iter().any(|((.., length), _)| *length <= 16) {
                segment.repaint(&mut self.trie);
            }
            for &(&(_, bits, length), _) in of_segment.iter().filter(|((.., length), _)| *length > 16) {
                segment.amend(&mut self.trie, Edited { bits, length });
            }
        }
    }

    /// The section as it is now, with room to grow.
    pub(super) fn section(&mut self) -> Section {
        if self.segments.iter().all(|segment| segment.count == 0) {
            return self.trie.section(|used| used);
        }
        self.trie.section(with_slack)
    }

    /// Brings the section up to date.
    pub(super) fn write_to(&mut self, section: &mut Section) {
        if self.trie.is_scattered() {
            self.compile_all();
            *section = self.section();
        } else if !self.trie.write_to(section) {
            *section = self.section();
        }
    }

    /// Everything anew, so that no memory lies in pieces that nobody wants.
    fn compile_all(&mut self) {
        self.trie = self.trie.emptied();
        for segment in &mut self.segments {
            let all = segment.all();
            segment.compile(&mut self.trie, &all);
        }
    }

    /// Whether entries can name all that there is.
    pub(super) fn check(&self) -> Result<(), super::BuildError> {
        self.trie.check(self.segments.iter().map(|segment| segment.count).sum())
    }
}

impl Segment {
    fn list(&mut self, bits: u128, length: u8) -> &mut Vec<Prefix> {
        match length {
            0..=16 => &mut self.short,
            _ => self.long.entry(first16(bits)).or_default(),
        }
    }

    fn put(&mut self, segment: u16, bits: u128, length: u8, next_hop: Option<u32>) {
        let list = self.list(bits, length);
        let (before, found) = (list.len(), list.binary_search_by_key(&(bits, length), order));
        match (found, next_hop) {
            (Ok(at), Some(next_hop)) => list[at].next_hop = next_hop,
            (Ok(at), None) => drop(list.remove(at)),
            (Err(at), Some(next_hop)) => list.insert(
                at,
                Prefix {
                    segment,
                    bits,
                    length,
                    next_hop,
                },
            ),
            (Err(_), None) => {}
        }
        let after = list.len();
        self.count = self.count + after - before;
        if length > 16 && after == 0 {
            self.long.remove(&first16(bits));
        }
    }

    /// All routes, sorted.
    fn all(&self) -> Vec<Prefix> {
        let mut all: Vec<Prefix> = self.short.iter().chain(self.long.values().flatten()).copied().collect();
        // Two sorted runs: quickly merged.
        all.sort_by_key(Prefix::key);
        all
    }

    /// The form that suits the routes; one that suits nearly as well is kept.
    fn wanted_form(&self, trie: &Trie) -> Form {
        let (now, later) = (trie.form_for(self.count), trie.form_for(self.count.saturating_mul(2)));
        if later == self.form { self.form } else { now }
    }

    /// Compiles everything; whatever was compiled before was freed.
    fn compile(&mut self, trie: &mut Trie, all: &[Prefix]) {
        self.form = self.wanted_form(trie);
        self.root = trie.add_segment(all, self.form);
        self.painted = match self.form {
            Form::Nodes => Vec::new(),
            Form::Direct | Form::Blocks => self.paint(),
        };
    }

    fn paint(&self) -> Vec<u32> {
        let unreachable = NextHop::Unreachable.to_bits();
        paint(&self.short, 0..self.short.len(), 0, DIRECT_BITS, unreachable).leaves
    }

    /// Follows changes of short routes.
    fn repaint(&mut self, trie: &mut Trie) {
        let fresh = self.paint();
        for (slot, (fresh, old)) in fresh.iter().zip(&self.painted).enumerate() {
            if fresh == old {
                continue;
            }
            let at = self.direct_at(slot);
            trie.free(trie.direct.get(at));
            let entry = match self.long.get(&(slot as u16)) {
                Some(long) => trie.add_slot(self.form, long, *fresh),
                None => *fresh,
            };
            trie.direct.set(at, &[entry]);
        }
        self.painted = fresh;
    }

    /// Follows the change of one longer route.
    fn amend(&self, trie: &mut Trie, edited: Edited) {
        let slot = first16(edited.bits);
        let at = self.direct_at(usize::from(slot));
        let long = self.long.get(&slot).map_or(&[][..], Vec::as_slice);
        let inherited = self.painted[usize::from(slot)];
        let old = trie.direct.get(at);
        let entry = trie.amend_slot(old, self.form, long, inherited, edited);
        if entry != old {
            trie.direct.set(at, &[entry]);
        }
    }

    /// Where the direct table has its entry for a value of the first 16 bits.
    fn direct_at(&self, slot: usize) -> usize {
        debug_assert_eq!(self.root & (NODE | DIRECT), NODE | DIRECT);
        ((self.root & INDEX) as usize) << DIRECT_BITS | slot
    }
}

fn first16(bits: u128) -> u16 {
    (bits >> 112) as u16
}

fn order(prefix: &Prefix) -> (u128, u8) {
    (prefix.bits, prefix.length)
}
