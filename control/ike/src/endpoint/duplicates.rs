//! Two IKE SAs of one tunnel: both sides began at once, or the peer lost its memory (RFC 7296 §2.4).

use super::Endpoint;
use crate::now::Now;
use crate::sa::established::Standing;
use crate::sa::{IkeSa, SaId, State};

/// A peer that was to delete a superfluous IKE SA has had this time.
const PEER_DELETES_MS: u64 = 30_000;

impl Endpoint {
    /// Whether the peer of an IKE SA that we begin has none with us, as far as we know: none between the same identities is up, and none is
    /// half open from its address.
    pub(super) fn is_alone(&self, newcomer: &IkeSa) -> bool {
        let Some(own) = newcomer.connection().and_then(|name| self.connections.get(name)) else {
            return false;
        };
        let mut same = self
            .connections
            .values()
            .filter(|c| c.own.identity == own.own.identity && c.peer.identity == own.peer.identity);
        let is_up = |name: &str| {
            self.sas_of(name)
                .any(|sa| sa.id != newcomer.id && sa.established().is_some())
        };
        !self.admission.is_half_open_from(newcomer.path.remote.ip()) && !same.any(|c| is_up(&c.name))
    }

    /// An IKE SA is up: its tunnel's others end.
    pub(super) fn came_up(&mut self, now: Now, id: SaId) {
        let Some(sa) = self.sas.get(&id) else { return };
        let Some(state) = sa.established() else { return };
        let (name, initial_contact, begun) = (state.connection.clone(), state.initial_contact, sa.created);
        let newcomer = Line::of(sa);
        if self.is_down(&name) {
            // Its peer came in by another tunnel of the same addresses; whose it is was known only now.
            self.leave(&name);
            return self.touch(now, &name);
        }
        self.set_begin(&name, None);
        if let Some(tunnel) = self.tunnels.get_mut(&name) {
            tunnel.came_up();
        }
        let others: Vec<SaId> = self
            .sas_of(&name)
            .map(|sa| sa.id)
            .filter(|other| *other != id)
            .collect();
        for other in others {
            let Some(sa) = self.sas.get_mut(&other) else { continue };
            if matches!(sa.state, State::InitSent(_) | State::IntermediateSent(_)) {
                // The peer was faster; what it knows of ours is half open, and goes by itself.
                self.drop_silently(other);
                continue;
            }
            let line = Line::of(sa);
            let Some(state) = sa.established_mut().filter(|state| state.standing == Standing::Current) else {
                continue;
            };
            if initial_contact && state.since <= begun {
                // The peer does not know it any more: no Delete would be understood.
                self.drop_silently(other);
                continue;
            }
            // One that was up when the newcomer began is given up: the peer wants a new one, or has forgotten it.
            let together = state.since > begun;
            let loser = if !together || loses(line, newcomer) { other } else { id };
            self.retire(now, loser);
        }
    }

    fn drop_silently(&mut self, id: SaId) {
        if let Some(sa) = self.sas.remove(&id) {
            self.forget(&sa);
        }
        self.children_changed = true;
        self.dirty.insert(id);
    }

    /// The side that began the superfluous one deletes it.
    fn retire(&mut self, now: Now, id: SaId) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let ours = sa.initiator;
        if let Some(state) = sa.established_mut() {
            let delete_at = if ours {
                now.monotonic
            } else {
                now.monotonic.after(PEER_DELETES_MS)
            };
            state.standing = Standing::Replaced { delete_at };
        }
        self.children_changed = true;
        self.dirty.insert(id);
        self.turn(now, id, |_, _| {});
    }
}

#[derive(Clone, Copy)]
struct Line {
    initiator: bool,
    initiator_spi: u64,
    id: SaId,
}

impl Line {
    fn of(sa: &IkeSa) -> Line {
        Line {
            initiator: sa.initiator,
            initiator_spi: sa.spis().0,
            id: sa.id,
        }
    }
}

/// Both sides must find the same one: begun by different sides, that with the lower initiator SPI; begun by one, the older.
fn loses(one: Line, newcomer: Line) -> bool {
    match one.initiator == newcomer.initiator {
        true => one.id < newcomer.id,
        false => one.initiator_spi < newcomer.initiator_spi,
    }
}
