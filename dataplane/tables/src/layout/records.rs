//! The records themselves. Sizes are multiples of 8 and there is no padding: `zerocopy` refuses it.

use super::Address;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "Any" in fields that name a segment, protocol, tunnel, SA or pool by number.
pub mod wildcard {
    /// Any segment.
    pub const SEGMENT: u16 = u16::MAX;
    /// No tunnel, SA, pool or mapping.
    pub const NONE: u32 = u32::MAX;
    /// Any IP protocol (255 is reserved by IANA).
    pub const PROTOCOL: u8 = 255;
}

/// `PortRecord::flags`.
pub mod port_flag {
    /// Faces the underlay: own addresses may end tunnels; clear packets for protected prefixes are dropped.
    pub const UNDERLAY: u16 = 1;
    /// Link is up as the kernel last said.
    pub const UP: u16 = 2;
    /// The device is attached in generic (skb) mode by choice.
    pub const GENERIC: u16 = 4;
}

/// One port: a device (or one VLAN on it) with its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortRecord {
    /// Operator's name, zero-padded.
    pub name: [u8; 16],
    /// Kernel device, zero-padded.
    pub device: [u8; 16],
    /// Kernel interface index of the device.
    pub ifindex: u32,
    /// Kernel interface index of the TAP that carries punts; 0 before it exists.
    pub tap_ifindex: u32,
    /// Own MAC address, then two zero bytes.
    pub mac: [u8; 8],
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Segment of what arrives here.
    pub segment: u16,
    /// `port_flag`.
    pub flags: u16,
    /// 802.1Q tag, 0 = untagged.
    pub vlan: u16,
    /// Receive queues of the device; each has a worker.
    pub queues: u16,
    /// First port and last port (inclusive) that NAT to the port's own address may use; ICMP ids alike. 0, 0 = none.
    pub nat_port_first: u16,
    /// See `nat_port_first`.
    pub nat_port_last: u16,
    /// Zero.
    pub reserved: u16,
}

/// An address of the gateway on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OwnAddressRecord {
    /// The address.
    pub address: Address,
    /// Port that bears it.
    pub port: u16,
    /// Prefix length within the address's own family (0–32 or 0–128).
    pub prefix_length: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// `SegmentRecord::flags`.
pub mod segment_flag {
    /// Policy is stateless and nothing is translated: packets bypass the session table.
    pub const STATELESS: u16 = 1;
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SegmentRecord {
    /// Operator's name, zero-padded.
    pub name: [u8; 32],
    /// Moves when policy, NAT or routes of this segment change.
    pub epoch: u32,
    /// `segment_flag`.
    pub flags: u16,
    /// TCP MSS ceiling in bytes for what enters or leaves this segment, 0 = from the path's MTU alone.
    pub mss_max: u16,
    /// Root of this segment's trie in `Routes4` (format: `build::routes`).
    pub root4: u32,
    /// Root in `Routes6`.
    pub root6: u32,
}

/// `NeighbourRecord::state`.
pub mod neighbour_state {
    /// The slot is free.
    pub const FREE: u8 = 0;
    /// Named but its MAC is not known yet: packets are held (bounded) and control is asked.
    pub const UNRESOLVED: u8 = 1;
    /// `mac` is right.
    pub const REACHABLE: u8 = 2;
    /// Resolution failed: packets are dropped and their senders told.
    pub const FAILED: u8 = 3;
}

/// A host or gateway on a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NeighbourRecord {
    /// Its IP address.
    pub address: Address,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Port it is on.
    pub port: u16,
    /// `neighbour_state`.
    pub state: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// `PolicyRuleRecord::action`.
pub mod rule_action {
    /// Let the flow pass and remember it.
    pub const ALLOW: u8 = 1;
    /// Drop in silence (counted).
    pub const DENY: u8 = 2;
    /// Drop and tell the sender (TCP RST is not forged; ICMP administratively prohibited).
    pub const REJECT: u8 = 3;
}

/// One policy rule; the first that matches decides. Addresses are matched on the original source and the translated destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyRuleRecord {
    /// Source prefix.
    pub source: Address,
    /// Destination prefix.
    pub destination: Address,
    /// Ingress segment, or `wildcard::SEGMENT`.
    pub from: u16,
    /// Egress segment, or `wildcard::SEGMENT`.
    pub to: u16,
    /// Inclusive source port range; 0–65535 = any. Ignored for protocols without ports.
    pub source_port_first: u16,
    /// See `source_port_first`.
    pub source_port_last: u16,
    /// Inclusive destination port range (for ICMP: type in the upper byte, code in the lower).
    pub destination_port_first: u16,
    /// See `destination_port_first`.
    pub destination_port_last: u16,
    /// Length of `source` counted in its 128-bit mapped form (IPv4 /8 = 104); 0 = any address of either family.
    pub source_length: u8,
    /// Length of `destination`, likewise.
    pub destination_length: u8,
    /// IP protocol, or `wildcard::PROTOCOL`.
    pub protocol: u8,
    /// `rule_action`.
    pub action: u8,
    /// 4 or 6, or 0 for both.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// `NatRuleRecord::kind`.
pub mod nat_kind {
    /// Source NAT to one address or a pool of them (`pool`).
    pub const SOURCE_POOL: u8 = 1;
    /// Source NAT to the egress port's own address, within the port's NAT range.
    pub const SOURCE_PORT_ADDRESS: u8 = 2;
    /// Destination NAT (port forward): `match_destination` and ports become `to_address` and `to_port_first` + offset.
    pub const DESTINATION: u8 = 3;
    /// No translation: ends the search (an exception above a wider rule).
    pub const EXEMPT: u8 = 4;
}

/// One NAT rule; per direction (source or destination) the first that matches decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NatRuleRecord {
    /// Source prefix to match.
    pub match_source: Address,
    /// Destination prefix to match.
    pub match_destination: Address,
    /// New destination of a `DESTINATION` rule.
    pub to_address: Address,
    /// Segment where the flow starts, or `wildcard::SEGMENT`.
    pub from: u16,
    /// Egress segment (source rules), or `wildcard::SEGMENT`.
    pub to: u16,
    /// Inclusive destination port range to match; 0–65535 = any.
    pub match_port_first: u16,
    /// See `match_port_first`.
    pub match_port_last: u16,
    /// First new destination port; 0 = unchanged.
    pub to_port_first: u16,
    /// Length of `match_source` in mapped form, 0 = any.
    pub match_source_length: u8,
    /// Length of `match_destination` in mapped form, 0 = any.
    pub match_destination_length: u8,
    /// IP protocol, or `wildcard::PROTOCOL`.
    pub protocol: u8,
    /// `nat_kind`.
    pub kind: u8,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: u8,
    /// `PoolIndex` of a `SOURCE_POOL` rule, else `wildcard::NONE`.
    pub pool: u32,
    /// Zero.
    pub reserved2: u32,
}

/// A contiguous range of outside addresses with the ports that NAT may use on them. The planner makes one also for every
/// port's own address that a `SOURCE_PORT_ADDRESS` rule can reach. Mappings name a pool by its index, and their addresses have
/// rows of port-block words in the state region: both are stable, and an address has one row in all pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PoolRecord {
    /// First outside address.
    pub first: Address,
    /// How many addresses follow on from `first`, itself included.
    pub count: u32,
    /// First port handed out (inclusive); ICMP ids use the same range.
    pub port_first: u16,
    /// Last port handed out (inclusive).
    pub port_last: u16,
    /// Most sessions one inside host may hold, 0 = no limit.
    pub sessions_per_host_max: u32,
    /// The gateway's port that bears the address if this pool is a port's own address, else `u16::MAX`.
    pub port: u16,
    /// Zero.
    pub reserved: u16,
    /// Row of `first` in the port state; the other addresses follow on.
    pub row: u32,
    /// Zero.
    pub reserved2: u32,
}

/// `TunnelRecord::encapsulation`.
pub mod encapsulation {
    /// ESP straight in IP (protocol 50).
    pub const ESP: u8 = 1;
    /// ESP in UDP (RFC 3948).
    pub const ESP_UDP: u8 = 2;
}

/// `TunnelRecord::flags`.
pub mod tunnel_flag {
    /// Set DF on the outer IPv4 header always.
    pub const DF_SET: u16 = 1;
    /// Copy DF from the inner IPv4 header.
    pub const DF_COPY: u16 = 2;
    /// Copy the inner DSCP to the outer header (RFC 2983 uniform model); else 0.
    pub const DSCP_COPY: u16 = 4;
    /// Administratively up.
    pub const ENABLED: u16 = 8;
    /// Which SA seals depends on the packet: there are several, or one that not every packet may use.
    pub const CHOOSES: u16 = 16;
    /// ESP in UDP to a peer behind a NAT: sealed for where its last authentic packet came from (RFC 7296 §2.23), if the state says.
    pub const FOLLOWS: u16 = 32;
    /// A member of the bundle `TunnelRecord::bundle`.
    pub const BUNDLED: u16 = 64;
}

/// One tunnel. `outbound` changes at a rekey; the index does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TunnelRecord {
    /// Operator's name, zero-padded.
    pub name: [u8; 32],
    /// Outer source: an own address of an underlay port.
    pub local: Address,
    /// Outer destination.
    pub remote: Address,
    /// Route to `remote` in the underlay segment, resolved by the planner: `NextHop` bits (Neighbour or OnLink).
    pub underlay_next_hop: u32,
    /// `SaIndex` to seal with, or `wildcard::NONE` when down: packets are then dropped, never sent another way. With
    /// `tunnel_flag::CHOOSES` the first of several, linked by `SaRecord::next`.
    pub outbound: u32,
    /// UDP source and destination port of the outer header, host order (ESP_UDP only).
    pub local_port: u16,
    /// See `local_port`.
    pub remote_port: u16,
    /// Segment of what comes out.
    pub segment: u16,
    /// Segment in which the outer packet travels.
    pub underlay_segment: u16,
    /// Largest inner packet in bytes as configured or computed; the state region may hold a lower one (path MTU).
    pub mtu: u16,
    /// `tunnel_flag`.
    pub flags: u16,
    /// `encapsulation`.
    pub encapsulation: u8,
    /// Zero.
    pub reserved: u8,
    /// `BundleIndex`, with `tunnel_flag::BUNDLED`.
    pub bundle: u16,
}

/// Most outbound SAs of a tunnel: children, and one for each worker.
pub const OUTBOUND_MAX: usize = 256;

/// `SaRecord::cipher`. Key bytes: 16, 32, 32; salt always 4 (RFC 4106 §4, RFC 7634 §2).
pub mod cipher {
    /// AES-128-GCM with a 16-byte ICV.
    pub const AES_128_GCM: u8 = 1;
    /// AES-256-GCM with a 16-byte ICV.
    pub const AES_256_GCM: u8 = 2;
    /// ChaCha20-Poly1305.
    pub const CHACHA20_POLY1305: u8 = 3;
}

/// `SaRecord::flags`.
pub mod sa_flag {
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    pub const ESN: u8 = 1;
    /// Inbound (else outbound).
    pub const INBOUND: u8 = 2;
    /// Do not check replay (inbound).
    pub const NO_REPLAY_CHECK: u8 = 4;
    /// The peer's window is at least 4096: any worker may seal; else `sealing_worker` alone does.
    pub const WIDE_PEER_WINDOW: u8 = 8;
    /// Keyed by IKEv2: its sequence numbers are not leased.
    pub const NEGOTIATED: u8 = 16;
    /// `sealing_worker` alone uses it (RFC 9611); the others take the next one that they may, and nobody hands packets over for it.
    pub const OWN_WORKER: u8 = 32;
}

/// One security association, one direction. Zeroed when its generation is freed; never `Debug`, it holds a key.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SaRecord {
    /// Key, zero-padded.
    pub key: [u8; 32],
    /// Salt, 4 bytes (RFC 4106 §4).
    pub salt: [u8; 4],
    /// SPI in host order; 0 = free slot.
    pub spi: u32,
    /// `TunnelIndex` it belongs to.
    pub tunnel: u32,
    /// First `SelectorRecord`: what inner packets may be.
    pub selector_first: u32,
    /// Outbound: `SaIndex` of the one to try next, or `wildcard::NONE`.
    pub next: u32,
    /// Changes whenever the key does: tells workers to expand it again.
    pub key_version: u32,
    /// `cipher`.
    pub cipher: u8,
    /// `sa_flag`.
    pub flags: u8,
    /// Replay window in packets (multiple of 64, 64–4096).
    pub replay_window: u16,
    /// The one worker that seals when the peer's window is narrow, or with `sa_flag::OWN_WORKER`.
    pub sealing_worker: u16,
    /// How many `SelectorRecord`s.
    pub selector_count: u16,
}

/// A traffic selector of an SA (RFC 4301 §4.4.1.1): inclusive address ranges of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SelectorRecord {
    /// The peer's side (inner source of what arrives): first address.
    pub remote_first: Address,
    /// Last address, inclusive.
    pub remote_last: Address,
    /// Our side (inner destination of what arrives).
    pub local_first: Address,
    /// Last address, inclusive.
    pub local_last: Address,
}
