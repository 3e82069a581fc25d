//! Who uses an SA that is not here is told so, now and then (RFC 7296 §1.5): it learns earlier that one side has forgotten it.

use super::Endpoint;
use crate::connection::Path;
use crate::now::Now;
use crate::sa::established::Standing;
use crate::sa::step::Transmit;
use crate::wire::{Flags, Header, Message, Notify, Payload, notify};
use core::net::IpAddr;

impl Endpoint {
    /// A message for an IKE SA that is not here. Our answer is as little authentic as the question, has no state, and never answers an
    /// answer (RFC 7296 §2.21.4).
    pub(super) fn answer_stray(&mut self, now: Now, path: Path, header: &Header) {
        let is_ours = self
            .by_addresses
            .contains_key(&(path.local.ip(), Some(path.remote.ip())))
            || self.by_addresses.contains_key(&(path.local.ip(), None));
        if header.flags.response || header.responder_spi == 0 || !is_ours {
            return;
        }
        // What bears an SPI of ours is bent, or our own message thrown back at us.
        if [header.initiator_spi, header.responder_spi]
            .iter()
            .any(|spi| self.by_spi.contains_key(spi))
        {
            return;
        }
        if !self.admission.may_answer_stray(now.monotonic) {
            return;
        }
        let flags = Flags {
            initiator: !header.flags.initiator,
            response: true,
        };
        let (i, r) = (header.initiator_spi, header.responder_spi);
        let header = Header::new(i, r, header.exchange, flags, header.message_id);
        let payloads = vec![Payload::Notify(Notify::new(notify::INVALID_IKE_SPI, &[]))];
        if let Ok(bytes) = (Message { header, payloads }).encode() {
            self.transmits.push(Transmit { path, bytes });
        }
    }

    /// Workers got ESP with an SPI that is none of ours, from this address. If an IKE SA with that peer is up, the peer is told, not more often
    /// than every ten seconds; a stranger is not.
    pub fn handle_unknown_spi(&mut self, now: Now, remote: IpAddr, spi: u32) {
        if self.child_spis.owner(spi).is_some() {
            return;
        }
        let names = self
            .connections
            .values()
            .filter(|c| c.remote.is_none_or(|ip| ip == remote));
        let ids = names.filter_map(|c| self.by_tunnel.get(&c.name)).flatten();
        let mut with_peer = ids.copied().filter(|id| {
            self.sas.get(id).is_some_and(|sa| {
                let is_up = sa
                    .established()
                    .is_some_and(|state| state.standing == Standing::Current);
                is_up && sa.path.remote.ip() == remote
            })
        });
        if let Some(id) = with_peer.next() {
            self.turn(now, id, |sa, step| {
                if let Some(state) = sa.established_mut() {
                    state.tell_unknown_spi(step.now.monotonic, spi);
                }
            });
        }
    }
}
