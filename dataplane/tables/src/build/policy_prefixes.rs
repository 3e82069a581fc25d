//! Prefixes that nest, with the rules that hang on each.

use core::cmp::Reverse;

/// Ranges of places of which two are apart or one holds the other; the first one holds all.
pub(super) struct Prefixes {
    /// Each behind those that hold it.
    ranges: Vec<(u32, u32)>,
    /// The next wider one; of the first: itself.
    parents: Vec<u32>,
    /// Rules, the earliest first.
    own: Vec<Vec<u32>>,
    /// Most rules that hang on a chain of narrower ones.
    below: Vec<usize>,
    /// How many it holds, itself included.
    reach: Vec<usize>,
}

impl Prefixes {
    /// Of the ranges that rules name, in any order, and the whole.
    pub(super) fn new(ranges: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut ranges: Vec<_> = ranges.collect();
        ranges.sort_unstable_by_key(order);
        ranges.dedup();
        let mut parents = Vec::with_capacity(ranges.len());
        let mut around: Vec<usize> = Vec::new();
        for (at, (first, _)) in ranges.iter().enumerate() {
            while around.last().is_some_and(|upper| ranges[*upper].1 < *first) {
                around.pop();
            }
            parents.push(around.last().copied().unwrap_or(0) as u32);
            around.push(at);
        }
        let mut reach = vec![1; ranges.len()];
        for at in (1..ranges.len()).rev() {
            reach[parents[at] as usize] += reach[at];
        }
        Prefixes {
            own: vec![Vec::new(); ranges.len()],
            below: vec![0; ranges.len()],
            ranges,
            parents,
            reach,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The range that holds all.
    pub(super) fn whole(&self) -> (u32, u32) {
        self.ranges[0]
    }

    /// The number of a range that is one of them.
    pub(super) fn number(&self, range: (u32, u32)) -> usize {
        self.ranges.partition_point(|known| order(known) < order(&range))
    }

    pub(super) fn parent(&self, at: usize) -> Option<usize> {
        (at > 0).then(|| self.parents[at] as usize)
    }

    pub(super) fn reach(&self, at: usize) -> usize {
        self.reach[at]
    }

    /// Rules that hang on it.
    pub(super) fn own(&self, at: usize) -> &[u32] {
        &self.own[at]
    }

    /// Rules that hang on it or on a wider one.
    pub(super) fn above(&self, at: usize) -> impl Iterator<Item = &u32> {
        core::iter::successors(Some(at), |at| self.parent(*at)).flat_map(|at| &self.own[at])
    }

    /// Rules in the longest list of which its own are a part.
    pub(super) fn length(&self, at: usize) -> usize {
        let around = core::iter::successors(Some(at), |at| self.parent(*at));
        around.map(|at| self.own[at].len()).sum::<usize>() + self.below[at]
    }

    pub(super) fn hang(&mut self, at: usize, rule: u32) {
        self.own[at].push(rule);
        let mut lower = at;
        while let Some(upper) = self.parent(lower) {
            let chain = self.own[lower].len() + self.below[lower];
            if chain <= self.below[upper] {
                break;
            }
            self.below[upper] = chain;
            lower = upper;
        }
    }

    /// Where another range becomes the narrowest that holds a place, with what `heads` says of that range.
    pub(super) fn intervals(&self, heads: &[u32]) -> impl Iterator<Item = (u32, u32)> {
        let mut starts: Vec<(u32, u32)> = Vec::with_capacity(2 * self.ranges.len());
        let mut around: Vec<usize> = Vec::new();
        for (at, (first, _)) in self.ranges.iter().enumerate() {
            end(&self.ranges, &mut around, Some(*first), heads, &mut starts);
            starts.push((*first, heads[at]));
            around.push(at);
        }
        end(&self.ranges, &mut around, None, heads, &mut starts);
        // Of several at one place the last one counts.
        starts.dedup_by(|later, kept| {
            later.0 == kept.0 && {
                kept.1 = later.1;
                true
            }
        });
        starts.dedup_by_key(|(_, head)| *head);
        starts.into_iter()
    }
}

/// The wider one first.
fn order(range: &(u32, u32)) -> (u32, Reverse<u32>) {
    (range.0, Reverse(range.1))
}

/// Takes off the stack `around` what ends before `next`: behind it the range around it counts again.
fn end(ranges: &[(u32, u32)], around: &mut Vec<usize>, next: Option<u32>, heads: &[u32], starts: &mut Vec<(u32, u32)>) {
    while let Some(ended) = around.pop_if(|at| next.is_none_or(|next| ranges[*at].1 < next)) {
        if let (Some(behind), Some(upper)) = (ranges[ended].1.checked_add(1), around.last()) {
            starts.push((behind, heads[*upper]));
        }
    }
}
