//! First packets of flows that nobody knows: decided, mapped and given their sessions, a whole batch in passes.
//!
//! ```text
//! plan: decide, ask for the mapping → approach it → bind it, ask for the session's places → session
//! ```
//! Between two steps of one flow the others take theirs, and meanwhile the memory arrives that the next step reads. Flows go through
//! each pass in their order of arrival, so that of two packets of one flow the second finds what the first made.

use super::decide::{ask, first_key, is_icmp, local, may_start, new_session, question, refuse};
use super::session::{apply, count};
use crate::batch::{Batch, Packet};
use crate::bind::{self, Family, Wanted};
use crate::gateway::Gateway;
use crate::stages::Errors;
use tombolo_flow::decide::{Decision, Forward};
use tombolo_flow::{Aim, Bound, NewSession};
use tombolo_packet_io::{BATCH, PacketIo};
use tombolo_tables::fate::DropReason;

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
    starts: Vec<Start<K>>,
    made: Vec<Made<K>>,
}

impl<K: Family> Starts<K> {
    /// Room for a batch.
    pub(super) fn new() -> Self {
        Starts {
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
        // Looked at where it lies: it is large.
        let decided = ask::<I, K>(gateway, &question);
        let forward = match &decided {
            Ok(Decision::Forward(forward)) => forward,
            Ok(Decision::Local(port)) => return local(gateway, packet, *port),
            Err(reason) => return Err(*reason),
        };
        may_start(
            &packet.headers,
            forward.source_pool.is_some() || forward.destination_translated,
        )?;
        let first: K = first_key(&question)?;
        let wanted = match forward.source_pool {
            Some(pool) => Some(Wanted::new(gateway.state, gateway.tables, pool, &first)?),
            None => None,
        };
        self.starts.push(Start {
            place,
            first,
            echo: is_icmp(question.protocol),
            forward: *forward,
            wanted,
        });
        Ok(())
    }

    /// The other passes.
    pub(super) fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch, errors: &mut Errors) {
        for wanted in self.starts.iter().filter_map(|start| start.wanted.as_ref()) {
            wanted.approach(gateway.state);
        }
        for start in &self.starts {
            let packet = batch.packet(start.place);
            match make(gateway, packet, start) {
                Ok(made) => self.made.push(made),
                Err(reason) => refuse(packet, start.place, reason, errors),
            }
        }
        self.starts.clear();
        for made in &self.made {
            let packet = batch.packet(made.place);
            if let Err(reason) = begin(gateway, packet, made) {
                refuse(packet, made.place, reason, errors);
            }
        }
        self.made.clear();
    }
}

/// Takes the mapping, and asks for the places of both session keys.
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
