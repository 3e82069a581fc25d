//! What becomes of a packet: exactly one fate each. Counters, CLI, metrics and docs derive from these lists.

macro_rules! drop_reasons {
    ($($variant:ident => ($name:literal, $text:literal)),+ $(,)?) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $variant),+ }

        impl DropReason {
            /// All reasons, in counter order.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant),+];

            /// The name that counters, metrics and the CLI show.
            pub fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name),+ }
            }

            /// One sentence for people.
            pub fn text(self) -> &'static str {
                match self { $(DropReason::$variant => $text),+ }
            }
        }
    };
}

drop_reasons! {
    EthernetTruncated => ("ethernet-truncated", "The frame is shorter than its Ethernet or VLAN header."),
    NotIp => ("not-ip", "Neither IPv4 nor IPv6, and nothing the kernel was waiting for."),
    WrongMac => ("wrong-mac", "Addressed to another station's MAC address."),
    IpMalformed => ("ip-malformed", "IP version, header length or total length is impossible."),
    IpChecksum => ("ip-checksum", "The IPv4 header checksum is wrong."),
    IpOptions => ("ip-options", "IPv4 options or IPv6 hop-by-hop headers that the gateway does not process."),
    ExtensionHeaders => ("extension-headers", "An IPv6 chain of extension headers that is too long, looped or truncated."),
    L4Malformed => ("l4-malformed", "A TCP, UDP or ICMP header that is truncated or impossible."),
    AddressInvalid => ("address-invalid", "A source or destination that may not be forwarded (loopback, multicast source, unspecified)."),
    SourceSpoofed => ("source-spoofed", "The source is one of the gateway's own addresses."),
    FragmentNeedsPorts => ("fragment-needs-ports", "A fragment where ports decide (NAT or policy by port); reassembly is not done."),
    FragmentOverlap => ("fragment-overlap", "A fragment that could hide a header (tiny or overlapping, RFC 1858, RFC 5722)."),
    OuterFragment => ("outer-fragment", "A fragment of a tunnel's outer packet; the peer must fragment before sealing."),
    TtlExpired => ("ttl-expired", "TTL or hop limit reached zero; the sender was told (rate limited)."),
    NoRoute => ("no-route", "No route to the destination; the sender was told (rate limited)."),
    RouteDiscard => ("route-discard", "A discard route, or a protected prefix whose tunnel is gone."),
    PolicyDenied => ("policy-denied", "A policy rule denies the flow."),
    PolicyDefaultDeny => ("policy-default-deny", "No policy rule allows traffic between these segments."),
    PolicyRejected => ("policy-rejected", "A policy rule rejects the flow; the sender was told (rate limited)."),
    StateInvalid => ("state-invalid", "No session, and the packet cannot start one (TCP without SYN, a reply, an error for an unknown flow)."),
    NatExhausted => ("nat-exhausted", "No outside port is free in the pool, or the mapping table is full."),
    NatHostQuota => ("nat-host-quota", "The inside host holds as many sessions as it may."),
    NatUntranslatable => ("nat-untranslatable", "The protocol cannot be translated and may not pass untranslated."),
    SessionTableFull => ("session-table-full", "The session table is at its stated capacity."),
    TooBig => ("too-big", "Larger than the path's MTU and may not be fragmented; the sender was told (rate limited)."),
    ClearFromUnderlay => ("clear-from-underlay", "An unencrypted packet from the underlay for a protected prefix."),
    EspTooShort => ("esp-too-short", "Shorter than an ESP header, IV, trailer and ICV."),
    EspUnknownSpi => ("esp-unknown-spi", "No SA for this SPI and address."),
    EspReplay => ("esp-replay", "Sequence number seen before or left of the window (RFC 4303 §3.4.3)."),
    EspAuth => ("esp-auth", "The ICV is wrong."),
    EspPadding => ("esp-padding", "Decrypted padding or next header is impossible."),
    EspSelectors => ("esp-selectors", "Inner addresses outside the SA's selectors (RFC 4301 §5.2)."),
    EcnNotCapable => ("ecn-not-capable", "The outer header says congestion, the inner transport cannot hear of it (RFC 6040 §4.2)."),
    EspDummy => ("esp-dummy", "A dummy packet (next header 59, RFC 4303 §2.6): discarded as intended."),
    TunnelDown => ("tunnel-down", "The tunnel has no outbound SA; the packet may not leave another way."),
    TunnelSelectors => ("tunnel-selectors", "No child SA of the tunnel may carry these inner addresses (RFC 4301 §5.1)."),
    SequenceExhausted => ("sequence-exhausted", "The SA has no leased sequence number left."),
    NeighbourFailed => ("neighbour-failed", "The next hop does not answer to ARP or ND; senders of packets after the first ones were told (rate limited)."),
    HoldOverflow => ("hold-overflow", "Too many packets wait for an unresolved next hop."),
    PortDown => ("port-down", "The egress port is down or not served by this worker."),
    TxFull => ("tx-full", "The transmit ring stayed full."),
    NoFrame => ("no-frame", "No free frame for a copy, a fragment or an error message."),
    PuntFailed => ("punt-failed", "The kernel's TAP did not take the packet."),
    PuntLimit => ("punt-limit", "Too many packets for the kernel in this interval."),
    UnsupportedEncapsulation => ("unsupported-encapsulation", "A tunnel protocol the gateway does not speak."),
    HandOverFull => ("hand-over-full", "The queue to the worker that must seal is full."),
    KeepaliveConsumed => ("keepalive-consumed", "A NAT keepalive (RFC 3948 §2.3): consumed as intended."),
}

/// Why a packet goes to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PuntReason {
    /// To one of the gateway's own addresses.
    Local,
    /// The kernel speaks this protocol for us (ARP, ND, IKE, BGP …).
    Protocol,
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Sent out of a port.
    Send,
    /// Dropped, and why.
    Drop(DropReason),
    /// Given to the kernel, and why.
    Punt(PuntReason),
    /// Given to another worker, which must seal it.
    HandOver,
    /// Waiting for a next hop.
    Hold,
}

/// Per-port, per-worker counters: the books. `received + originated + taken_over = sent + dropped + punted + handed_over + held`,
/// where `held` is a gauge. Drops are booked on the port where the packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Counter {
    /// Frames taken from the port.
    Received,
    /// Bytes of those frames.
    ReceivedBytes,
    /// Frames made here: ICMP errors, fragments beyond the first, packets of the kernel.
    Originated,
    /// Frames another worker handed over.
    TakenOver,
    /// Frames sent; booked on the port where the packet came in.
    Sent,
    /// Frames given to the kernel.
    Punted,
    /// Frames handed to another worker.
    HandedOver,
    /// Frames waiting now (gauge).
    Held,
    /// Frames that left through this port, whoever received them.
    Transmitted,
    /// Bytes of those frames.
    TransmittedBytes,
    /// First counter of the drops: add `DropReason as usize`.
    DropFirst,
}

/// Words of one port's counters of one worker.
pub const COUNTERS_PER_PORT: usize = 96;

const _: () = assert!(Counter::DropFirst as usize + DropReason::ALL.len() <= COUNTERS_PER_PORT);

impl Counter {
    /// Counters before the drops, with the names that metrics show.
    pub const NAMED: [(Counter, &'static str); 10] = [
        (Counter::Received, "received"),
        (Counter::ReceivedBytes, "received-bytes"),
        (Counter::Originated, "originated"),
        (Counter::TakenOver, "taken-over"),
        (Counter::Sent, "sent"),
        (Counter::Punted, "punted"),
        (Counter::HandedOver, "handed-over"),
        (Counter::Held, "held"),
        (Counter::Transmitted, "transmitted"),
        (Counter::TransmittedBytes, "transmitted-bytes"),
    ];

    /// Word of the counter of a drop reason.
    #[inline]
    pub fn dropped(reason: DropReason) -> usize {
        Counter::DropFirst as usize + reason as usize
    }
}
