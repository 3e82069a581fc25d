//! The lists of a group: each rule hung on its source prefix or on its destination prefix, and the blocks that come of it.

use super::policy_fields::{Ranges, Row, intervals};
use super::policy_format::{Block, FORK_BY_DESTINATION, FORK_BY_SOURCE, LANES, NO_MEMBER};
use super::policy_prefixes::Prefixes;
use core::cmp::Ordering;
use core::ops::RangeInclusive;
use std::collections::{BTreeMap, HashMap};

/// Most rules that a flow may find in the list of one side, and behind one fork.
const LENGTH_MAX: usize = 32;
/// So many rules are one list, and no prefix is looked up.
const ONE_LIST_MAX: usize = 2 * LANES;
/// Most combinations of segments and protocol: a bit each.
pub(super) const CONTEXTS_MAX: usize = 16;
/// Rules without a place among which one that takes all from another is looked for.
const LEFT_SEARCHED: usize = 64;

/// The combinations of segments and protocol that a group's rules name.
pub(super) struct Contexts {
    triples: Vec<[RangeInclusive<u128>; 3]>,
    /// By rule.
    of: Vec<usize>,
}

impl Contexts {
    /// `None` if there are too many.
    pub(super) fn new(rules: &[Ranges]) -> Option<Self> {
        let mut numbers = HashMap::new();
        let mut triples = Vec::new();
        let mut of = Vec::with_capacity(rules.len());
        for rule in rules {
            let triple = [rule.from.clone(), rule.to.clone(), rule.protocol.clone()];
            let number = *numbers.entry(triple.clone()).or_insert(triples.len());
            if number == triples.len() {
                triples.push(triple);
            }
            if triples.len() > CONTEXTS_MAX {
                return None;
            }
            of.push(number);
        }
        Some(Contexts { triples, of })
    }

    /// The intervals of one of the three fields; a row holds the contexts that match.
    pub(super) fn field(&self, which: usize) -> Vec<(u128, Row)> {
        intervals(self.triples.iter().map(|triple| &triple[which]), self.triples.len())
    }

    /// For each context a bit for each that matches all that it does.
    fn wider(&self) -> Vec<u16> {
        let holds = |wide: &RangeInclusive<u128>, narrow: &RangeInclusive<u128>| {
            wide.start() <= narrow.start() && narrow.end() <= wide.end()
        };
        let all = |wide: &[RangeInclusive<u128>; 3], narrow: &[RangeInclusive<u128>; 3]| {
            wide.iter().zip(narrow).all(|(wide, narrow)| holds(wide, narrow))
        };
        let of = |narrow| {
            let matching = self.triples.iter().enumerate().filter(|(_, wide)| all(wide, narrow));
            matching.fold(0, |bits, (bit, _)| bits | 1 << bit)
        };
        self.triples.iter().map(of).collect()
    }
}

/// What a lane of a block compares.
#[derive(Clone, Copy)]
struct Lane {
    source: (u32, u32),
    destination: (u32, u32),
    source_port: (u16, u16),
    destination_port: (u16, u16),
    context: u16,
    /// Contexts that match all that its own does.
    wider: u16,
    member: u32,
}

impl Lane {
    /// Whether nothing is left for `later` to decide.
    fn covers(&self, later: &Lane) -> bool {
        fn holds<T: PartialOrd>(wide: (T, T), narrow: (T, T)) -> bool {
            wide.0 <= narrow.0 && narrow.1 <= wide.1
        }
        self.context & later.wider != 0
            && holds(self.source, later.source)
            && holds(self.destination, later.destination)
            && holds(self.source_port, later.source_port)
            && holds(self.destination_port, later.destination_port)
    }
}

/// The lists of one group.
pub(super) struct Lists {
    /// They follow on those that were there.
    pub(super) blocks: Vec<Block>,
    /// First block of the list for all flows; 0 if there is none such.
    pub(super) first: u32,
    /// Places of sources, with the first block for each, or 0.
    pub(super) source: Vec<(u128, u32)>,
    /// Of destinations, likewise.
    pub(super) destination: Vec<(u128, u32)>,
    /// Intervals of forks, with the first block of each.
    pub(super) forks: Vec<(u32, u32)>,
    /// Rules that found no place, as places among the group's.
    pub(super) left: Vec<usize>,
}

impl Lists {
    /// Of rules in the operator's order; so many blocks, block 0 among them, and narrow intervals are in the section already.
    pub(super) fn new(
        rules: &[Ranges],
        members: &[u32],
        contexts: &Contexts,
        family: u32,
        (blocks, intervals): (usize, usize),
    ) -> Lists {
        let sources = Places::new(rules.iter().map(|rule| &rule.source), family);
        let destinations = Places::new(rules.iter().map(|rule| &rule.destination), family);
        let wider = contexts.wider();
        let lanes: Vec<Lane> = (rules.iter().zip(members).zip(&contexts.of))
            .map(|((rule, member), context)| Lane {
                source: sources.of(&rule.source),
                destination: destinations.of(&rule.destination),
                source_port: ports(&rule.source_port),
                destination_port: ports(&rule.destination_port),
                context: 1 << context,
                wider: wider[*context],
                member: *member,
            })
            .collect();
        let whole = |places: &Places| (0, places.last());
        let mut of_source = Prefixes::new(lanes.iter().map(|lane| lane.source).chain([whole(&sources)]));
        let mut of_destination = Prefixes::new(lanes.iter().map(|lane| lane.destination).chain([whole(&destinations)]));
        let one_list = lanes.len() <= ONE_LIST_MAX;
        let crowded = hang(&lanes, &mut of_source, &mut of_destination, one_list);
        let forks = Forks::new(&lanes, &crowded, &of_source, &of_destination);
        let mut chains = Chains {
            lanes: &lanes,
            blocks_before: blocks,
            intervals_before: intervals,
            blocks: Vec::new(),
            forks: Vec::new(),
        };
        let source_heads = chains.add(&of_source, 0, &forks.of_source, FORK_BY_DESTINATION);
        let destination_heads = chains.add(&of_destination, 0, &forks.of_destination, FORK_BY_SOURCE);
        Lists {
            blocks: chains.blocks.into_iter().map(|chain| chain.block).collect(),
            first: if one_list { source_heads[0] } else { 0 },
            source: sources.rows(&of_source, &source_heads, one_list),
            destination: destinations.rows(&of_destination, &destination_heads, one_list),
            forks: chains.forks,
            left: forks.left,
        }
    }
}

fn ports(range: &RangeInclusive<u128>) -> (u16, u16) {
    (*range.start() as u16, *range.end() as u16)
}

/// Finds each rule that is still needed its prefix; returns those for which neither has room.
fn hang(lanes: &[Lane], sources: &mut Prefixes, destinations: &mut Prefixes, one_list: bool) -> Vec<usize> {
    let everywhere = (sources.whole(), destinations.whole());
    let is_everywhere = |lane: &&Lane| (lane.source, lane.destination) == everywhere;
    // They are in every flow's list, or, if many, in none.
    let many = lanes.iter().filter(is_everywhere).count() > LANES;
    let mut left: Vec<usize> = Vec::new();
    for (at, lane) in lanes.iter().enumerate() {
        let (source, destination) = match one_list {
            true => (0, 0),
            false => (sources.number(lane.source), destinations.number(lane.destination)),
        };
        let covers = |earlier: &u32| lanes[*earlier as usize].covers(lane);
        if sources.above(source).any(covers)
            || destinations.above(destination).any(covers)
            || left
                .iter()
                .take(LEFT_SEARCHED)
                .any(|earlier| lanes[*earlier].covers(lane))
        {
            continue;
        }
        let (by_source, by_destination) = (sources.length(source), destinations.length(destination));
        // What the rule costs: how many prefixes it reaches, and how long their lists are.
        let dearer = sources.reach(source) * (by_source + 4) > destinations.reach(destination) * (by_destination + 4);
        let full = |length| length >= LENGTH_MAX;
        match (full(by_source), full(by_destination)) {
            _ if one_list => sources.hang(source, at as u32),
            _ if many && is_everywhere(&lane) => left.push(at),
            (true, true) => left.push(at),
            (false, false) if dearer => destinations.hang(destination, at as u32),
            (true, false) => destinations.hang(destination, at as u32),
            _ => sources.hang(source, at as u32),
        }
    }
    left
}

/// Rules of crowded prefixes, by the number of the prefix: they hang on their other prefixes.
struct Forks {
    of_source: BTreeMap<usize, Prefixes>,
    of_destination: BTreeMap<usize, Prefixes>,
    /// Rules for which these have no room, either.
    left: Vec<usize>,
}

impl Forks {
    fn new(lanes: &[Lane], crowded: &[usize], sources: &Prefixes, destinations: &Prefixes) -> Self {
        let mut by_source = BTreeMap::<usize, Vec<usize>>::new();
        let mut by_destination = BTreeMap::<usize, Vec<usize>>::new();
        let mut left = Vec::new();
        for &at in crowded {
            let (source, destination) = (
                sources.number(lanes[at].source),
                destinations.number(lanes[at].destination),
            );
            match sources.reach(source).cmp(&destinations.reach(destination)) {
                _ if source == 0 && destination == 0 => left.push(at),
                Ordering::Greater => by_destination.entry(destination).or_default().push(at),
                Ordering::Less | Ordering::Equal => by_source.entry(source).or_default().push(at),
            }
        }
        let mut fork = |crowded: BTreeMap<usize, Vec<usize>>, whole: (u32, u32), other: fn(&Lane) -> (u32, u32)| {
            let hung = |(prefix, rules): (usize, Vec<usize>)| {
                let mut others = Prefixes::new(rules.iter().map(|at| other(&lanes[*at])).chain([whole]));
                for at in rules {
                    let number = others.number(other(&lanes[at]));
                    if others
                        .above(number)
                        .any(|earlier| lanes[*earlier as usize].covers(&lanes[at]))
                    {
                        continue;
                    }
                    match others.length(number) < LENGTH_MAX {
                        true => others.hang(number, at as u32),
                        false => left.push(at),
                    }
                }
                (prefix, others)
            };
            crowded.into_iter().map(hung).collect()
        };
        let of_source = fork(by_source, destinations.whole(), |lane| lane.destination);
        let of_destination = fork(by_destination, sources.whole(), |lane| lane.source);
        left.sort_unstable();
        Forks {
            of_source,
            of_destination,
            left,
        }
    }
}

/// A block while the lists grow.
struct Chain {
    block: Block,
    /// Places of its rules in the group.
    lanes: Vec<u32>,
}

struct Chains<'l> {
    lanes: &'l [Lane],
    blocks_before: usize,
    intervals_before: usize,
    blocks: Vec<Chain>,
    forks: Vec<(u32, u32)>,
}

impl Chains<'_> {
    /// The blocks of all prefixes, with the list `tail` behind them; returns the first of each, or 0.
    fn add(&mut self, prefixes: &Prefixes, tail: u32, forks: &BTreeMap<usize, Prefixes>, fork_by: u32) -> Vec<u32> {
        let mut heads: Vec<u32> = Vec::with_capacity(prefixes.len());
        for at in 0..prefixes.len() {
            let mut head = prefixes.parent(at).map_or(tail, |parent| heads[parent]);
            let mut own = prefixes.own(at).to_vec();
            if let Some(upper) = self.get(head)
                && !own.is_empty()
                && upper.block.fork_count == 0
                && upper.lanes.len() + own.len() <= LANES
            {
                own.extend(&upper.lanes);
                own.sort_unstable();
                head = upper.block.next;
            }
            // What the next longer prefixes may fill up comes first, and the earliest rules with it.
            let (short, whole) = own.split_at(own.len() % LANES);
            for lanes in whole.rchunks(LANES).chain([short]).filter(|lanes| !lanes.is_empty()) {
                head = self.push(lanes, head);
            }
            if let Some(others) = forks.get(&at) {
                head = self.fork(others, head, fork_by);
            }
            heads.push(head);
        }
        heads
    }

    /// The lists of a crowded prefix, all with `tail` behind them, and the block that leads to them.
    fn fork(&mut self, others: &Prefixes, tail: u32, fork_by: u32) -> u32 {
        let heads = self.add(others, tail, &BTreeMap::new(), fork_by);
        let least = heads.iter().map(|head| self.least(*head)).min();
        let first = self.forks.len();
        self.forks.extend(others.intervals(&heads));
        let block = Block {
            next_least: least.unwrap_or(NO_MEMBER),
            fork_first: (self.intervals_before + first) as u32,
            fork_count: (self.forks.len() - first) as u32,
            fork_by,
            ..Block::FREE
        };
        let lanes = Vec::new();
        self.blocks.push(Chain { block, lanes });
        (self.blocks_before + self.blocks.len() - 1) as u32
    }

    /// The least member of a list.
    fn least(&self, block: u32) -> u32 {
        self.get(block)
            .map_or(NO_MEMBER, |chain| chain.block.members[0].min(chain.block.next_least))
    }

    fn get(&self, block: u32) -> Option<&Chain> {
        self.blocks.get((block as usize).checked_sub(self.blocks_before)?)
    }

    fn push(&mut self, lanes: &[u32], next: u32) -> u32 {
        let of_lanes = lanes.iter().map(|lane| &self.lanes[*lane as usize]);
        let block = block(of_lanes, next, self.least(next));
        let lanes = lanes.to_vec();
        self.blocks.push(Chain { block, lanes });
        (self.blocks_before + self.blocks.len() - 1) as u32
    }
}

/// A block of up to 16 rules.
fn block<'l>(lanes: impl Iterator<Item = &'l Lane>, next: u32, next_least: u32) -> Block {
    let mut block = Block {
        next,
        next_least,
        ..Block::FREE
    };
    for (at, lane) in lanes.enumerate() {
        let both = |ports: (u16, u16)| u32::from(ports.0) << 16 | u32::from(ports.1);
        (block.source_first[at], block.source_last[at]) = lane.source;
        (block.destination_first[at], block.destination_last[at]) = lane.destination;
        block.ports_first[at] = both((lane.source_port.0, lane.destination_port.0));
        block.ports_last[at] = both((lane.source_port.1, lane.destination_port.1));
        block.contexts[at] = lane.context;
        block.members[at] = lane.member;
    }
    block
}

/// What blocks compare instead of addresses.
enum Places {
    /// The addresses themselves.
    V4,
    /// The starts of intervals: a place is an interval's number.
    V6(Vec<u128>),
}

impl Places {
    fn new<'r>(ranges: impl Iterator<Item = &'r RangeInclusive<u128>>, family: u32) -> Self {
        if family == 4 {
            return Places::V4;
        }
        let mut starts = vec![0];
        for range in ranges {
            starts.push(*range.start());
            starts.extend(range.end().checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        Places::V6(starts)
    }

    fn of(&self, range: &RangeInclusive<u128>) -> (u32, u32) {
        match self {
            Places::V4 => (*range.start() as u32, *range.end() as u32),
            Places::V6(starts) => {
                let from_to = |value: &u128| starts.partition_point(|start| start <= value) as u32 - 1;
                (from_to(range.start()), from_to(range.end()))
            }
        }
    }

    fn last(&self) -> u32 {
        match self {
            Places::V4 => u32::MAX,
            Places::V6(starts) => starts.len() as u32 - 1,
        }
    }

    /// The first block for each address. Of IPv6 each interval stands for itself: its number is a place.
    fn rows(&self, prefixes: &Prefixes, heads: &[u32], one_list: bool) -> Vec<(u128, u32)> {
        match self {
            Places::V4 if one_list => Vec::new(),
            Places::V4 => prefixes
                .intervals(heads)
                .map(|(start, head)| (start.into(), head))
                .collect(),
            Places::V6(starts) => {
                let mut heads = prefixes.intervals(heads).peekable();
                let mut head = 0;
                let of = |(place, start): (usize, &u128)| {
                    while let Some((_, next)) = heads.next_if(|(from, _)| *from as usize <= place) {
                        head = next;
                    }
                    (*start, head)
                };
                starts.iter().enumerate().map(of).collect()
            }
        }
    }
}
