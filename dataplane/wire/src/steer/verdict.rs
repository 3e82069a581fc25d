//! The possible ends of the rule. `bpf/src/verdict.h` holds the same list; a test of `tombolo-bpf` compares them.

/// Who gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel gets it: by `XDP_PASS`, or of a VLAN port through a worker.
    Pass,
    /// The worker of its queue gets it (redirect); dropped when no socket is there.
    Work,
    /// It ends here (`XDP_DROP`).
    Drop,
}

macro_rules! verdicts {
    ($($variant:ident => ($action:ident, $name:literal, $text:literal)),+ $(,)?) => {
        /// What the steering rule says about a frame, and why.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Verdict { $(#[doc = $text] $variant),+ }

        impl Verdict {
            /// All verdicts, in the order of the counters.
            pub const ALL: &'static [Verdict] = &[$(Verdict::$variant),+];

            /// Who gets it; what XDP does for that is [`SteerPort::action`](super::SteerPort::action).
            pub fn action(self) -> Action {
                match self { $(Verdict::$variant => Action::$action),+ }
            }

            /// The name that counters and the CLI show.
            pub fn name(self) -> &'static str {
                match self { $(Verdict::$variant => $name),+ }
            }

            /// One sentence for people.
            pub fn text(self) -> &'static str {
                match self { $(Verdict::$variant => $text),+ }
            }
        }
    };
}

verdicts! {
    PassArp => (Pass, "pass-arp", "ARP: the kernel answers."),
    PassNeighbour => (Pass, "pass-neighbour", "IPv6 neighbour discovery with hop limit 255: the kernel answers."),
    PassDhcp => (Pass, "pass-dhcp", "DHCP or DHCPv6 to the link or to an own address."),
    PassSsh => (Pass, "pass-ssh", "SSH to an own address."),
    PassBgp => (Pass, "pass-bgp", "BGP to an own address."),
    PassService => (Pass, "pass-service", "A configured local service on an own address."),
    PassHostReply => (Pass, "pass-host-reply", "To an own address, on a port of the host's own connections."),
    PassIke => (Pass, "pass-ike", "IKE to an own address: UDP 500, or 4500 with the zero marker."),
    PassWireGuard => (Pass, "pass-wireguard", "A WireGuard handshake or cookie (types 1 to 3)."),
    PassEcho => (Pass, "pass-echo", "An ICMP echo request to an own address."),
    PassIcmpError => (Pass, "pass-icmp-error", "An ICMP error about something that the host itself sent."),
    WorkTransit => (Work, "work-transit", "Not for an own address of the port: to be forwarded."),
    WorkEsp => (Work, "work-esp", "ESP to an own address."),
    WorkEspUdp => (Work, "work-esp-udp", "ESP in UDP 4500 to an own address."),
    WorkWireGuard => (Work, "work-wireguard", "WireGuard data (type 4) or an unknown type to an own address."),
    WorkNat => (Work, "work-nat", "To an own address, on a port or ICMP id that NAT owns."),
    WorkIcmpError => (Work, "work-icmp-error", "An ICMP error about a tunnel's outer packet or a translated flow."),
    WorkFragment => (Work, "work-fragment", "A fragment to an own address; the workers count it."),
    WorkOwn => (Work, "work-own", "Anything else to an own address; the workers translate, punt or drop it."),
    WorkMalformed => (Work, "work-malformed", "An IP or L4 header that cannot be; the workers count why."),
    DropTruncated => (Drop, "drop-truncated", "Shorter than its Ethernet or VLAN header."),
    DropUnknownPort => (Drop, "drop-unknown-port", "No port for this device and VLAN."),
    DropWrongMac => (Drop, "drop-wrong-mac", "Addressed to another station's MAC address."),
    DropEthertype => (Drop, "drop-ethertype", "Neither IP nor ARP (LLDP, double VLAN tags, …)."),
    DropGroup => (Drop, "drop-group", "Broadcast or multicast other than ARP, neighbour discovery and DHCP."),
    DropKeepalive => (Drop, "drop-keepalive", "A NAT keepalive (RFC 3948 §2.3): consumed as intended."),
}
