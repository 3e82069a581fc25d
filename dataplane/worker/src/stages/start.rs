//! First packets of flows that nobody knows: decided, mapped and given their sessions, a whole batch in passes.
//!
//! ```text
//! plan: routes → policy → source NAT, ask for the mapping → approach it → bind it, ask for the session's places → session
//! ```
//! Between two steps of one flow the others take theirs, and meanwhile the memory arrives that the next step reads. Flows go through
//! each pass in their order of arrival, so that of two packets of one flow the second finds what the first made.

use super::decide::{first_key, is_icmp, local, may_start, new_session, question, refuse};
use super::session::{apply, count};
use crate::batch::{Batch, Packet};
use crate::bind::{self, Family, Wanted};
use crate::gateway::Gateway;
use crate::stages::Errors;
use tombolo_flow::decide::{Decision, Forward, Proposal, conclude, propose};
use tombolo_flow::{Aim, Bound, NewSession};
use tombolo_packet_io::{BATCH, PacketIo};
use tombolo_tables::fate::DropReason;
use tombolo_tables::view::{PolicyQuery, PolicyVerdict};

/// A flow that policy may still refuse.
struct Planned<K: Family> {
    /// Place of its packet in the batch.
    place: usize,
    first: K,
    echo: bool,
    /// Policy's query, if any, is the next in the queries of the batch.
    proposal: Proposal,
}

/// A flow that may start.
struct Start<K: Family> {
    /// Place of its packet in the batch.
    place: usize,
    first: K,
    echo: bool,
    forward: Forward,
    wanted: Option<Wanted<K>>,
}

/// A flow whose session is known.
struct Made<K: Family> {
    place: usize,
    bound: Option<Bound<K::Address>>,
    session: NewSession<K>,
    aim: Aim,
}

/// The flows of one family that start in a batch.
pub(super) struct Starts<K: Family> {
    planned: Vec<Planned<K>>,
    queries: Vec<PolicyQuery>,
    verdicts: Vec<PolicyVerdict>,
    starts: Vec<Start<K>>,
    made: Vec<Made<K>>,
}

impl<K: Family> Starts<K> {
    /// Room for a batch.
    pub(super) fn new() -> Self {
        Starts {
            planned: Vec::with_capacity(BATCH),
            queries: Vec::with_capacity(BATCH),
            verdicts: vec![PolicyVerdict::Default; BATCH],
            starts: Vec::with_capacity(BATCH),
            made: Vec::with_capacity(BATCH),
        }
    }

    /// First pass, packet by packet: what is decided to go on is remembered. There are at most as many as were received.
    #[inline]
    pub(super) fn plan<I: PacketIo>(
        &mut self,
        gateway: &Gateway<'_, I>,
        packet: &mut Packet,
        place: usize,
    ) -> Result<(), DropReason> {
        let question = question(packet);
        let first: K = first_key(&question)?;
        let state = gateway.state;
        let mapped = |protocol, address, port| bind::behind::<K>(state, protocol, address, port);
        let proposal = propose(gateway.tables, &question, &mapped)?;
        match &proposal {
            Proposal::Decided(Decision::Local(port)) => return local(gateway, packet, *port),
            Proposal::Decided(Decision::Forward(_)) => {}
            Proposal::Judge(_, query) => self.queries.push(*query),
        }
        self.planned.push(Planned {
            place,
            first,
            echo: is_icmp(question.protocol),
            proposal,
        });
        Ok(())
    }

    /// Second pass: policy judges all at once, and what may start asks for its mapping.
    fn judge<I: PacketIo>(&mut self, gateway: &Gateway<'_, I>, batch: &mut Batch, errors: &mut Errors) {
        gateway.tables.policy_batch(&self.queries, &mut self.verdicts);
        let judged = self.queries.len().min(self.verdicts.len());
        let mut verdicts = self.verdicts[..judged].iter();
        for planned in &self.planned {
            let packet = batch.packet(planned.place);
            let verdict = match &planned.proposal {
                Proposal::Decided(_) => PolicyVerdict::Default,
                Proposal::Judge(_, query) => {
                    let verdict = verdicts.next().copied();
                    verdict.unwrap_or_else(|| gateway.tables.policy(query))
                }
            };
            match start(gateway, packet, planned, verdict) {
                Ok(start) => self.starts.push(start),
                Err(reason) => refuse(packet, planned.place, reason, errors),
            }
        }
        self.planned.clear();
        self.queries.clear();
    }

    /// The passes after the first.
    pub(super) fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch, errors: &mut Errors) {
        if self.planned.is_empty() {
            return;
        }
        self.judge(gateway, batch, errors);
        let wanted = || self.starts.iter().filter_map(|start| start.wanted.as_ref());
        wanted().for_each(|wanted| wanted.ask(gateway.state));
        wanted().for_each(|wanted| wanted.approach(gateway.state));
        for start in &self.starts {
            let packet = batch.packet(start.place);
            match make(gateway, packet, start) {
                Ok(made) => self.made.push(made),
                Err(reason) => refuse(packet, start.place, reason, errors),
            }
        }
        self.starts.clear();
        for made in &self.made {
            K::sessions(gateway.state).ask_new(&made.aim);
            if let Some(bound) = &made.bound {
                K::mappings(gateway.state).ask_shown(bound);
            }
        }
        for made in &self.made {
            let packet = batch.packet(made.place);
            if let Err(reason) = begin(gateway, packet, made) {
                refuse(packet, made.place, reason, errors);
            }
        }
        self.made.clear();
    }
}

/// Ends the decision with policy's verdict.
#[inline(always)]
fn start<I: PacketIo, K: Family>(
    gateway: &Gateway<'_, I>,
    packet: &Packet,
    planned: &Planned<K>,
    verdict: PolicyVerdict,
) -> Result<Start<K>, DropReason> {
    let forward = match &planned.proposal {
        Proposal::Judge(proposed, query) => conclude(gateway.tables, proposed, query, verdict)?,
        Proposal::Decided(Decision::Forward(forward)) => *forward,
        Proposal::Decided(Decision::Local(_)) => return Err(DropReason::NoRoute),
    };
    may_start(
        &packet.headers,
        forward.source_pool.is_some() || forward.destination_translated,
    )?;
    let wanted = match forward.source_pool {
        Some(pool) => Some(Wanted::new(gateway.state, gateway.tables, pool, &planned.first)?),
        None => None,
    };
    Ok(Start {
        place: planned.place,
        first: planned.first,
        echo: planned.echo,
        forward,
        wanted,
    })
}

/// Takes the mapping, and knows the session then.
#[inline(always)]
fn make<I: PacketIo, K: Family>(
    gateway: &mut Gateway<'_, I>,
    packet: &Packet,
    start: &Start<K>,
) -> Result<Made<K>, DropReason> {
    let bound = match &start.wanted {
        Some(wanted) => Some(wanted.bind(gateway.state, gateway.flow, gateway.now)?),
        None => None,
    };
    let outside = bound.as_ref().map(bind::taken::<K>);
    let session = new_session(gateway, packet, &start.first, start.echo, &start.forward, outside)?;
    Ok(Made {
        place: start.place,
        bound,
        aim: K::sessions(gateway.state).aim_new(&session),
        session,
    })
}

/// Makes the mapping known and the session live; the packet is its first.
#[inline]
fn begin<I: PacketIo, K: Family>(
    gateway: &mut Gateway<'_, I>,
    packet: &mut Packet,
    made: &Made<K>,
) -> Result<(), DropReason> {
    if let Some(bound) = &made.bound {
        bind::show::<K>(gateway.state, bound);
    }
    let hit = bind::session(gateway.state, gateway.flow, &made.session, made.aim, None, gateway.now)?;
    apply(gateway, packet, &hit);
    count(gateway, packet, &hit);
    Ok(())
}
