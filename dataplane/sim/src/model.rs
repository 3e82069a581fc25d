//! The reference model: a gateway of the demo in a hundred lines of sets and lists, slow and plain. It says what must become
//! of each packet; which outside port a new mapping gets is the gateway's choice, held against the rules of NAT.

use crate::worlds::{DEV, NAT_PORTS, PROD, Side, UPLINK};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use tombolo_tables::fate::DropReason;
use tombolo_wire::protocol::{ICMP, ICMPV6, TCP};

/// Outside port of the gateway that leads to [`SERVER_PORT`] of prod host 11.
pub const FORWARDED: u16 = 8080;
/// See [`FORWARDED`].
pub const SERVER_PORT: u16 = 80;

/// An address with its port or ICMP identifier.
pub type Endpoint = (IpAddr, u16);

/// A packet's tuple, in the segment where it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Segment.
    pub segment: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In clear, by the port of this segment.
    Port(u16),
    /// Sealed.
    Tunnel,
}

/// What must become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It leaves so.
    Leaves(Place, Endpoint, Endpoint),
    /// It leaves so, from the outside port that the gateway chooses.
    LeavesTranslated(Place, IpAddr, Endpoint),
    /// It is dropped.
    Dropped(DropReason),
}

struct Session {
    forward: Tuple,
    reverse: Tuple,
    places: [Place; 2],
    needs: Vec<(u16, u16)>,
    version: u64,
    translated: bool,
}

/// What the next packet of a new translated flow will make.
struct Pending {
    forward: Tuple,
    egress: u16,
    places: [Place; 2],
    needs: Vec<(u16, u16)>,
    inside_destination: Endpoint,
}

/// The model.
#[derive(Default)]
pub struct Model {
    /// Pairs of segments between which policy lets flows begin.
    pub allowed: BTreeSet<(u16, u16)>,
    version: u64,
    sessions: BTreeMap<u64, Session>,
    keys: HashMap<Tuple, u64>,
    next: u64,
    pending: Option<Pending>,
}

impl Model {
    /// Policy changed, or at least somebody said so.
    pub fn change(&mut self) {
        self.version += 1;
    }

    /// So much time passed that every flow ended.
    pub fn forget(&mut self) {
        self.sessions.clear();
        self.keys.clear();
    }

    /// How many flows there are.
    pub fn flows(&self) -> usize {
        self.sessions.len()
    }

    /// A flow by number, to go on with: the tuple of its next packet, and whether it comes by the tunnel.
    pub fn some_flow(&self, number: usize, reply: bool) -> Option<(Tuple, bool)> {
        let session = self.sessions.values().nth(number % self.sessions.len().max(1))?;
        Some(if reply {
            (session.reverse, session.places[0] == Place::Tunnel)
        } else {
            (session.forward, session.places[1] == Place::Tunnel)
        })
    }

    /// What must become of a packet; `opens` tells whether it may begin a connection (a SYN, a request).
    pub fn meet(&mut self, tuple: Tuple, tunnel: bool, opens: bool, reply: bool) -> Outcome {
        if let Some(number) = self.keys.get(&tuple).copied() {
            return self.known(number, &tuple);
        }
        self.unknown(tuple, tunnel, opens, reply)
    }

    fn known(&mut self, number: u64, tuple: &Tuple) -> Outcome {
        let session = self.sessions.get_mut(&number).expect("a key has its session");
        if session.version != self.version {
            session.version = self.version;
            if !session.needs.iter().all(|pair| self.allowed.contains(pair)) {
                let session = self.sessions.remove(&number).expect("it was there");
                self.keys.remove(&session.forward);
                self.keys.remove(&session.reverse);
                return Outcome::Dropped(DropReason::PolicyDefaultDeny);
            }
        }
        if *tuple == session.forward {
            Outcome::Leaves(session.places[0], session.reverse.destination, session.reverse.source)
        } else {
            Outcome::Leaves(session.places[1], session.forward.destination, session.forward.source)
        }
    }

    fn unknown(&mut self, tuple: Tuple, tunnel: bool, opens: bool, reply: bool) -> Outcome {
        let from = tuple.segment;
        let came = if tunnel { Place::Tunnel } else { Place::Port(from) };
        let to_gateway = outside(tuple.destination.0) == tuple.destination.0;
        let forwarded = to_gateway && tuple.protocol == TCP && tuple.destination.1 == FORWARDED;
        if to_gateway && !forwarded {
            // A port of the NAT range that no flow has.
            return Outcome::Dropped(DropReason::StateInvalid);
        }
        let (egress, place, mut needs) = if forwarded {
            (PROD, Place::Port(PROD), vec![(UPLINK, PROD)])
        } else {
            let (egress, place) = leads(tuple.destination.0);
            (egress, place, vec![(from, egress)])
        };
        if forwarded && from != UPLINK {
            needs.insert(0, (from, UPLINK));
        }
        needs.retain(|(from, to)| from != to);
        if !needs.iter().all(|pair| self.allowed.contains(pair)) {
            return Outcome::Dropped(DropReason::PolicyDefaultDeny);
        }
        let source_translated = egress == UPLINK || (forwarded && from != UPLINK);
        let translated = source_translated || forwarded;
        let starts = match tuple.protocol {
            TCP => opens || !translated,
            ICMP | ICMPV6 => !reply,
            _ => true,
        };
        if !starts {
            return Outcome::Dropped(DropReason::StateInvalid);
        }
        let inside_destination = if forwarded {
            (Side::A.host4(PROD, 11), SERVER_PORT)
        } else {
            tuple.destination
        };
        let pending = Pending {
            forward: tuple,
            egress,
            places: [place, came],
            needs,
            inside_destination,
        };
        if source_translated {
            self.pending = Some(pending);
            return Outcome::LeavesTranslated(place, outside(tuple.source.0), inside_destination);
        }
        self.insert(pending, tuple.source, false);
        Outcome::Leaves(place, tuple.source, inside_destination)
    }

    /// The gateway chose `port` for the flow that was just met.
    ///
    /// # Panics
    /// When the choice breaks a rule of NAT.
    pub fn chose(&mut self, port: u16) {
        let pending = self.pending.take().expect("a translated flow was met");
        assert!(
            (NAT_PORTS.0..=NAT_PORTS.1).contains(&port),
            "{port} is not the gateway's to give"
        );
        let (inside, protocol) = (pending.forward.source, pending.forward.protocol);
        let endpoint = (outside(inside.0), port);
        for session in self.sessions.values().filter(|session| session.translated) {
            let other = session.forward.source;
            if session.forward.protocol != protocol || outside(other.0) != endpoint.0 {
                continue;
            }
            let same_inside = other == inside && session.forward.segment == pending.forward.segment;
            let same_outside = session.reverse.destination == endpoint;
            assert_eq!(
                same_inside, same_outside,
                "one outside port per inside endpoint, and no other (RFC 4787 REQ-1): {other:?} and {inside:?}"
            );
        }
        self.insert(pending, endpoint, true);
    }

    fn insert(&mut self, new: Pending, source: Endpoint, translated: bool) {
        let echo = matches!(new.forward.protocol, ICMP | ICMPV6);
        let (to, port) = new.inside_destination;
        let reverse = Tuple {
            segment: new.egress,
            protocol: new.forward.protocol,
            source: (to, if echo { source.1 } else { port }),
            destination: source,
        };
        assert!(
            !self.keys.contains_key(&reverse),
            "an outside tuple shared by two sessions: {reverse:?}"
        );
        let number = self.next;
        self.next += 1;
        self.keys.insert(new.forward, number);
        self.keys.insert(reverse, number);
        let session = Session {
            forward: new.forward,
            reverse,
            places: new.places,
            needs: new.needs,
            version: self.version,
            translated,
        };
        self.sessions.insert(number, session);
    }
}

/// The gateway's outside address of a family.
fn outside(example: IpAddr) -> IpAddr {
    if example.is_ipv6() {
        Side::A.outside6()
    } else {
        Side::A.outside4()
    }
}

/// Where a destination leads, from whichever segment.
fn leads(destination: IpAddr) -> (u16, Place) {
    for segment in [PROD, DEV] {
        for host in [10, 11] {
            let near = [Side::A.host4(segment, host), Side::A.host6(segment, host)];
            let far = [Side::B.host4(segment, host), Side::B.host6(segment, host)];
            if near.contains(&destination) {
                return (segment, Place::Port(segment));
            }
            if far.contains(&destination) {
                return (segment, Place::Tunnel);
            }
        }
    }
    (UPLINK, Place::Port(UPLINK))
}
