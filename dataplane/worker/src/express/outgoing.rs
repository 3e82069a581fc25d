//! The lane's way out: to a station or into a tunnel, where either is simply there.

use super::exits::Exits;
use super::ingress::Ingress;
use super::sending::Sending;
use super::tunnel_exit::TunnelExit;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use tombolo_packet_io::{FrameBatch, PacketIo};
use tombolo_wire::plain;

/// All that leaves.
pub(super) struct Outgoing {
    pub(super) departures: Departures,
    tunnel_exit: TunnelExit,
}

/// What a packet to a station needs, sealed or not.
pub(super) struct Departures {
    /// Known stations.
    pub(super) exits: Exits,
    /// What was sent.
    pub(super) sending: Sending,
}

/// A packet whose way is decided.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    /// Place of its frame in the batch.
    pub(super) place: usize,
    /// `NextHop` bits.
    pub(super) hop: u32,
    /// IPv4 destination as it leaves.
    pub(super) destination: u32,
    /// Bytes of the IP packet.
    pub(super) ip_length: u16,
    /// It was taken from the batch, and booked, before.
    pub(super) booked: bool,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Outgoing {
            departures: Departures {
                exits: Exits::new(),
                sending: Sending::default(),
            },
            tunnel_exit: TunnelExit::default(),
        }
    }

    /// A new generation: everything is to be looked up again.
    pub(super) fn forget(&mut self) {
        self.departures.exits.forget();
        self.tunnel_exit.forget();
    }

    /// Has the packet edited and sends it on its way. False, and nothing is changed, if its way out is not simply there.
    #[inline(always)]
    pub(super) fn send<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        frames: &mut FrameBatch,
        leaving: Leaving,
        edit: impl FnOnce(&mut [u8; plain::HEAD]),
    ) -> bool {
        if Exits::seals(leaving.hop.into()) != 0 {
            return self.seal(gateway, keys, frames, leaving, edit);
        }
        let key = Exits::key(leaving.hop.into(), leaving.destination.into());
        self.send_to(gateway, frames, leaving, (key, Exits::place(key)), edit)
    }

    /// The same for what leaves into a tunnel: it is taken out of the batch.
    #[inline(always)]
    pub(super) fn seal<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        frames: &mut FrameBatch,
        leaving: Leaving,
        edit: impl FnOnce(&mut [u8; plain::HEAD]),
    ) -> bool {
        let Leaving { hop, ip_length, .. } = leaving;
        let departures = &mut self.departures;
        if !self.tunnel_exit.takes(gateway, keys, departures, hop, ip_length) {
            return false;
        }
        let Some(mut frame) = frames.take(leaving.place) else {
            return false;
        };
        if !leaving.booked {
            departures.sending.received(frame.len());
        }
        edit(frame.head_mut());
        self.tunnel_exit.add(frame);
        true
    }

    /// The same for what leaves by an exit, given by key and place: it stays in the batch until that is finished.
    #[inline(always)]
    pub(super) fn send_to<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        frames: &mut FrameBatch,
        leaving: Leaving,
        (key, place): (u64, u64),
        edit: impl FnOnce(&mut [u8; plain::HEAD]),
    ) -> bool {
        let Departures { exits, sending } = &mut self.departures;
        let found = exits.at(gateway.tables, gateway.ports, key, place);
        let Some(exit) = found.filter(|exit| leaving.ip_length <= exit.mtu) else {
            return false;
        };
        let Some(frame) = frames.get_mut(leaving.place) else {
            return false;
        };
        let head = frame.head_mut();
        edit(head);
        exit.stations.write(head);
        sending.mark(leaving.place, exit.gate);
        true
    }

    /// Sends the rest of a batch and closes its books. `booked`: as [`Sending::finish`] takes it.
    pub(super) fn finish<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        booked: u64,
    ) {
        self.tunnel_exit.finish(gateway, keys, &mut self.departures, ingress);
        self.departures.sending.finish(gateway, ingress, frames, booked);
    }
}
