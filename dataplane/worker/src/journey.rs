//! The journey of a packet: every stage, in order, in one place.
//!
//! ```text
//! parse → open → session ─hit──────────────────────────────► rewrite → seal → emit
//!                   └─miss─► decide (destination NAT · route · admit · source NAT) ─┘
//! ```
//!
//! What needs nothing unusual rides the [express lane](crate::express) and skips them all; with the same result, only sooner.
//!
//! Each stage walks the whole batch before the next begins, so that its code and tables stay warm. A stage ends a packet's
//! journey by setting its fate; later stages pass over it, and `emit` settles every fate in the books.
//! What the kernel sends on a VLAN's link only gets its tag (`vlan`): it has a link header already, and need not be IP.
//! `capture` copies packets of ports that somebody looks at; the last of its four places is inside `emit`.

use crate::batch::{Batch, Entry};
use crate::capture;
use crate::express::Express;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::ports::PortMap;
use crate::stages::{Decide, Emit, Errors, Open, Parse, PathMtu, Rewrite, Seal, Session, Unreachable, vlan};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::fate::{DropReason, Fate};

/// The stages of one worker, each with its own scratch.
pub struct Journey {
    express: Express,
    parse: Parse,
    open: Open,
    path_mtu: PathMtu,
    session: Session,
    decide: Decide,
    unreachable: Unreachable,
    rewrite: Rewrite,
    seal: Seal,
    emit: Emit,
    errors: Errors,
    keys: KeyCache,
    batch: Batch,
}

impl Journey {
    /// Stages for a gateway with room for `sas` security associations.
    pub fn new(sas: usize) -> Self {
        Journey {
            express: Express::new(),
            parse: Parse,
            open: Open,
            path_mtu: PathMtu,
            session: Session::new(),
            decide: Decide::new(),
            unreachable: Unreachable::default(),
            rewrite: Rewrite::new(),
            seal: Seal::default(),
            emit: Emit::default(),
            errors: Errors::new(),
            keys: KeyCache::new(sas),
            batch: Batch::new(),
        }
    }

    /// Takes the frames that came in on `slot` through the journey; each ends with exactly one fate.
    pub fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        slot: PortSlot,
        entry: Entry,
        frames: &mut FrameBatch,
    ) {
        if entry == Entry::Received && !gateway.capture.is_on() {
            self.express.run(gateway, &mut self.keys, slot, frames, &mut self.batch);
            if frames.is_empty() && self.batch.is_empty() {
                return;
            }
        }
        if vlan::from_kernel(gateway, slot, entry, frames) {
            return;
        }
        let batch = &mut self.batch;
        capture::received(gateway, slot, entry, frames);
        self.parse.run(gateway, slot, entry, frames, batch);
        self.open.run(gateway, &mut self.keys, batch);
        capture::opened(gateway, batch);
        self.path_mtu.run(gateway, batch);
        let misses = self.session.run(gateway, batch);
        self.decide.run(gateway, batch, misses, &mut self.errors);
        if self.emit.gave_up() {
            self.unreachable.watch(gateway.now);
        }
        self.unreachable.run(gateway, batch, &mut self.errors);
        self.rewrite.run(gateway, batch, &mut self.errors);
        self.errors.run(gateway, batch);
        capture::sealing(gateway, batch);
        self.seal.run(gateway, &mut self.keys, batch);
        self.emit.run(gateway, batch);
    }

    /// Seals and sends what other workers handed over. Returns how many packets that were.
    pub fn run_handed<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>) -> usize {
        let taken = take_over(gateway, &mut self.batch);
        if taken > 0 {
            capture::sealing(gateway, &mut self.batch);
            self.seal.run(gateway, &mut self.keys, &mut self.batch);
            self.emit.run(gateway, &mut self.batch);
        }
        taken
    }

    /// Sends what waited for a next hop that is known now, and gives up what waited too long.
    pub fn release_held<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>) {
        self.emit.release(gateway);
    }

    /// Gives up what waits (the worker stops).
    pub fn abandon_held<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>) {
        self.emit.abandon(gateway);
    }

    /// Whether packets wait for a next hop.
    pub fn holds(&self) -> bool {
        self.emit.holds()
    }

    /// Learns a new generation, whose ports are `ports`: forgets expanded keys of SAs that are gone, and what the last generation said.
    pub fn renew(&mut self, tables: &tombolo_tables::view::Tables<'_>, ports: &PortMap) {
        self.express.renew(tables, ports);
        self.keys.retain(|index, key_version| {
            tables
                .sa(index)
                .is_some_and(|sa| sa.spi != 0 && sa.key_version == key_version)
        });
    }
}

/// Moves at most a batch of packets from this worker's inbox into frames of its own.
fn take_over<I: PacketIo>(gateway: &mut Gateway<'_, I>, batch: &mut Batch) -> usize {
    let Some(inbox) = gateway.state.inbox(gateway.worker) else {
        return 0;
    };
    let mut taken = 0;
    while taken < BATCH {
        let Some(parcel) = inbox.take() else { break };
        taken += 1;
        if let Some(note) = parcel.note() {
            gateway
                .books
                .enter(note.ingress, Entry::TakenOver, parcel.bytes().len());
            match gateway.io.allocate() {
                Some(mut frame) => {
                    frame.fill(parcel.bytes());
                    // A batch has room for four times what is taken here.
                    if let Err(packet) = batch.push(note.packet(frame)) {
                        gateway.settle(packet, Fate::Drop(DropReason::NoFrame));
                    }
                }
                None => gateway.books.settle(note.ingress, Fate::Drop(DropReason::NoFrame)),
            }
        }
        inbox.give_back(parcel);
    }
    taken
}
