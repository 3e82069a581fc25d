//! How long an idle session, and a mapping without sessions, stay.

/// Idle times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// UDP that was answered. RFC 4787 REQ-5: not under 120, 300 recommended.
    pub udp: u32,
    /// UDP that was not answered yet; not under 120 either.
    pub udp_unreplied: u32,
    /// TCP after its handshake. RFC 5382 REQ-5: not under 2 hours 4 minutes.
    pub tcp_established: u32,
    /// TCP while it opens, or is half closed. RFC 5382 REQ-5: not under 4 minutes.
    pub tcp_transitory: u32,
    /// TCP closed by both ends: the 4 minutes of TIME-WAIT.
    pub tcp_closing: u32,
    /// TCP after a RST, which may be forged: a living connection has so long to show itself.
    pub tcp_reset: u32,
    /// ICMP echo. RFC 5508 REQ-2: not under 60.
    pub icmp: u32,
    /// Every other protocol.
    pub other: u32,
    /// How long a mapping keeps its outside port after its last session.
    pub mapping_linger: u32,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            udp: 300,
            udp_unreplied: 120,
            tcp_established: 7_440,
            tcp_transitory: 240,
            tcp_closing: 240,
            tcp_reset: 30,
            icmp: 60,
            other: 300,
            mapping_linger: 10,
        }
    }
}

/// Sessions write down that they were used at most once in so many seconds; their timers are longer by as much.
pub(crate) const LAST_SEEN_GRAIN: u32 = 4;
