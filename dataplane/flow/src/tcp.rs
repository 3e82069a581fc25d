//! How far a session is, from the flags of its packets, and how long it may then be idle.
//!
//! No sequence numbers are kept, so a forged RST cannot be told from a true one: it only shortens the session's timer, and
//! any later packet of a living connection lengthens it again.

use crate::expiry::Timers;

/// TCP header flags as on the wire.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Aborts it.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// IP protocol numbers that the tables treat apart.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

/// Which way a packet goes through a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// As the packet that opened it.
    Forward = 0,
    /// The replies.
    Reverse = 1,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Not TCP; no reply yet.
    Unreplied = 0,
    /// Not TCP; packets went both ways.
    Replied = 1,
    /// TCP: the initiator's SYN was seen.
    SynSent = 2,
    /// TCP: the responder answered, or the session was adopted midway.
    SynReceived = 3,
    /// TCP: the initiator acknowledged.
    Established = 4,
    /// TCP: the initiator closed its side.
    FinForward = 5,
    /// TCP: the responder closed its side.
    FinReverse = 6,
    /// TCP: both closed.
    FinBoth = 7,
    /// TCP: aborted.
    Reset = 8,
}

impl Phase {
    /// The phase that the first packet opens; `adopt` accepts a TCP packet that is no SYN. `None`: it may not open one.
    pub fn first(protocol_number: u8, tcp_flags: u8, adopt: bool) -> Option<Phase> {
        if protocol_number != protocol::TCP {
            return Some(Phase::Unreplied);
        }
        if tcp_flags & (flag::SYN | flag::ACK | flag::RST | flag::FIN) == flag::SYN {
            return Some(Phase::SynSent);
        }
        adopt.then_some(if tcp_flags & flag::RST != 0 {
            Phase::Reset
        } else {
            Phase::SynReceived
        })
    }

    /// From the byte in an entry; what no worker wrote is `Unreplied`.
    #[inline]
    pub fn from_bits(bits: u8) -> Phase {
        match bits {
            1 => Phase::Replied,
            2 => Phase::SynSent,
            3 => Phase::SynReceived,
            4 => Phase::Established,
            5 => Phase::FinForward,
            6 => Phase::FinReverse,
            7 => Phase::FinBoth,
            8 => Phase::Reset,
            _ => Phase::Unreplied,
        }
    }

    /// After one more packet; `tcp_flags` is read in TCP phases only.
    #[inline]
    pub fn after(self, direction: Direction, tcp_flags: u8) -> Phase {
        match self {
            Phase::Replied => Phase::Replied,
            Phase::Unreplied => match direction {
                Direction::Forward => Phase::Unreplied,
                Direction::Reverse => Phase::Replied,
            },
            Phase::SynSent
            | Phase::SynReceived
            | Phase::Established
            | Phase::FinForward
            | Phase::FinReverse
            | Phase::FinBoth
            | Phase::Reset => self.after_tcp(direction, tcp_flags),
        }
    }

    #[inline]
    fn after_tcp(self, direction: Direction, tcp_flags: u8) -> Phase {
        if tcp_flags & flag::RST != 0 {
            return Phase::Reset;
        }
        if tcp_flags & flag::SYN != 0 {
            return self.after_syn(direction, tcp_flags & flag::ACK != 0);
        }
        if tcp_flags & flag::FIN != 0 {
            return self.after_fin(direction);
        }
        match (self, direction) {
            (Phase::SynReceived, Direction::Forward) if tcp_flags & flag::ACK != 0 => Phase::Established,
            // The connection lives on after a RST that its ends did not believe.
            (Phase::Reset, Direction::Forward | Direction::Reverse) => Phase::SynReceived,
            (
                Phase::Unreplied
                | Phase::Replied
                | Phase::SynSent
                | Phase::SynReceived
                | Phase::Established
                | Phase::FinForward
                | Phase::FinReverse
                | Phase::FinBoth,
                Direction::Forward | Direction::Reverse,
            ) => self,
        }
    }

    fn after_syn(self, direction: Direction, acknowledges: bool) -> Phase {
        match (self, direction) {
            (Phase::SynSent, Direction::Reverse) => Phase::SynReceived,
            // The initiator opens the same tuple again (RFC 9293 §3.6.1: an old connection in TIME-WAIT).
            (Phase::FinBoth | Phase::Reset, Direction::Forward) if !acknowledges => Phase::SynSent,
            (
                Phase::Unreplied
                | Phase::Replied
                | Phase::SynSent
                | Phase::SynReceived
                | Phase::Established
                | Phase::FinForward
                | Phase::FinReverse
                | Phase::FinBoth
                | Phase::Reset,
                Direction::Forward | Direction::Reverse,
            ) => self,
        }
    }

    fn after_fin(self, direction: Direction) -> Phase {
        match (self, direction) {
            (Phase::FinReverse | Phase::FinBoth, Direction::Forward) => Phase::FinBoth,
            (Phase::FinForward | Phase::FinBoth, Direction::Reverse) => Phase::FinBoth,
            (Phase::SynSent, Direction::Reverse) => Phase::SynSent,
            (
                Phase::SynSent | Phase::SynReceived | Phase::Established | Phase::FinForward | Phase::Reset,
                Direction::Forward,
            ) => Phase::FinForward,
            (Phase::SynReceived | Phase::Established | Phase::FinReverse | Phase::Reset, Direction::Reverse) => {
                Phase::FinReverse
            }
            (Phase::Unreplied | Phase::Replied, Direction::Forward | Direction::Reverse) => self,
        }
    }

    /// Seconds that a session of this protocol may be idle in this phase.
    pub fn idle_seconds_max(self, protocol_number: u8, timers: &Timers) -> u32 {
        match self {
            Phase::Unreplied | Phase::Replied => match (protocol_number, self == Phase::Replied) {
                (protocol::UDP, true) => timers.udp,
                (protocol::UDP, false) => timers.udp_unreplied,
                (protocol::ICMP | protocol::ICMPV6, _) => timers.icmp,
                (_, _) => timers.other,
            },
            Phase::Established => timers.tcp_established,
            Phase::SynSent | Phase::SynReceived | Phase::FinForward | Phase::FinReverse => timers.tcp_transitory,
            Phase::FinBoth => timers.tcp_closing,
            Phase::Reset => timers.tcp_reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Forward, Reverse};
    use super::flag::{ACK, FIN, RST, SYN};
    use super::*;

    fn run(packets: &[(Direction, u8)]) -> Phase {
        let first = Phase::first(protocol::TCP, packets[0].1, false).expect("opens");
        packets[1..]
            .iter()
            .fold(first, |phase, (direction, flags)| phase.after(*direction, *flags))
    }

    #[test]
    fn a_connection_opens_and_closes() {
        let open = [(Forward, SYN), (Reverse, SYN | ACK), (Forward, ACK)];
        assert_eq!(run(&open[..1]), Phase::SynSent);
        assert_eq!(run(&open[..2]), Phase::SynReceived);
        assert_eq!(run(&open), Phase::Established);
        let closed = [
            &open[..],
            &[
                (Forward, FIN | ACK),
                (Reverse, ACK),
                (Reverse, FIN | ACK),
                (Forward, ACK),
            ],
        ]
        .concat();
        assert_eq!(run(&closed[..4]), Phase::FinForward);
        assert_eq!(run(&closed[..6]), Phase::FinBoth);
        assert_eq!(run(&closed), Phase::FinBoth);
        assert_eq!(run(&[&closed[..], &[(Forward, SYN)]].concat()), Phase::SynSent);
    }

    #[test]
    fn one_side_alone_establishes_nothing() {
        assert_eq!(
            run(&[(Forward, SYN), (Forward, ACK), (Forward, ACK), (Forward, SYN)]),
            Phase::SynSent
        );
        assert_eq!(run(&[(Forward, SYN), (Reverse, ACK)]), Phase::SynSent);
        assert_eq!(
            run(&[(Forward, SYN), (Reverse, SYN | ACK), (Reverse, ACK)]),
            Phase::SynReceived
        );
    }

    #[test]
    fn a_reset_that_was_not_believed_is_undone() {
        let established = [(Forward, SYN), (Reverse, SYN | ACK), (Forward, ACK)];
        let reset = [&established[..], &[(Reverse, RST)]].concat();
        assert_eq!(run(&reset), Phase::Reset);
        assert_eq!(
            run(&[&reset[..], &[(Forward, ACK), (Forward, ACK)]].concat()),
            Phase::Established
        );
    }

    #[test]
    fn only_a_syn_opens_unless_adopted() {
        for flags in [0, ACK, SYN | ACK, RST, FIN, SYN | FIN, SYN | RST] {
            assert_eq!(Phase::first(protocol::TCP, flags, false), None, "{flags:#x}");
        }
        assert_eq!(Phase::first(protocol::TCP, ACK, true), Some(Phase::SynReceived));
        assert_eq!(Phase::first(protocol::UDP, 0, false), Some(Phase::Unreplied));
    }

    #[test]
    fn timers_follow_the_rfcs() {
        let timers = Timers::default();
        let idle = |phase: Phase, protocol_number| phase.idle_seconds_max(protocol_number, &timers);
        assert!(idle(Phase::Unreplied, protocol::UDP) >= 120, "RFC 4787 REQ-5");
        assert_eq!(idle(Phase::Replied, protocol::UDP), 300);
        assert!(idle(Phase::Established, protocol::TCP) >= 7_440, "RFC 5382 REQ-5");
        for phase in [
            Phase::SynSent,
            Phase::SynReceived,
            Phase::FinForward,
            Phase::FinReverse,
            Phase::FinBoth,
        ] {
            assert!(idle(phase, protocol::TCP) >= 240, "RFC 5382 REQ-5: {phase:?}");
        }
        assert!(idle(Phase::Unreplied, protocol::ICMP) >= 60, "RFC 5508 REQ-2");
    }

    #[test]
    fn phases_survive_the_trip_through_bits() {
        for bits in 0..=8u8 {
            assert_eq!(Phase::from_bits(bits) as u8, bits);
        }
        assert_eq!(Phase::from_bits(0xff), Phase::Unreplied);
    }
}
