//! Tunnels: what every one has, and how it is keyed.

use super::{IkeTunnel, PortId, SegmentId};
use crate::value::{Name, Prefix, SecretName};
use core::net::IpAddr;
use tombolo_wire::mtu::{AEAD, Outer, esp_inner_mtu, with_published};

/// UDP port of IKE (RFC 7296 §2).
pub const IKE_PORT: u16 = 500;
/// UDP port of ESP in UDP (RFC 3948), and of IKE beside it.
pub const ESP_UDP_PORT: u16 = 4500;

/// An ESP tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tunnel {
    /// Its name.
    pub name: Name,
    /// Segment of what comes out.
    pub segment: SegmentId,
    /// Underlay port that bears `local`.
    pub port: PortId,
    /// Outer source.
    pub local: IpAddr,
    /// What inner packets may be; never empty ("anything" is 0.0.0.0/0 and ::/0). Of a tunnel keyed by IKEv2 the peer may have
    /// narrowed them further.
    pub selectors: Vec<Selector>,
    /// Largest inner packet in bytes; none = computed.
    pub mtu: Option<u16>,
    /// DF of the outer IPv4 header.
    pub dont_fragment: DontFragment,
    /// DSCP of the outer header.
    pub dscp: Dscp,
    /// Inbound window in packets: a multiple of 64, at most 4096; 0 = replay is not checked.
    pub replay_window: u16,
    /// The peer's window in packets: from 4096 on, any worker may seal.
    pub peer_window: u16,
    /// Where its keys come from.
    pub keying: Keying,
}

impl Tunnel {
    /// Outer destination as far as the configuration says it: none for a DNS name and for a peer at any address.
    pub fn remote(&self) -> Option<IpAddr> {
        match &self.keying {
            Keying::Manual(manual) => Some(manual.remote),
            Keying::Ike(ike) => ike.remote.address(),
        }
    }

    /// Largest inner packet in bytes, where the link carries `link_mtu` bytes: the smallest one of what is computed, what the
    /// peer's operator publishes, and what the configuration says. 0 = none fits.
    pub fn inner_mtu(&self, link_mtu: u16, udp: bool) -> u16 {
        let ike = self.ike();
        let outer = Outer {
            mtu: ike
                .and_then(|ike| ike.outer_mtu_max)
                .map_or(link_mtu, |most| link_mtu.min(most)),
            v6: self.local.is_ipv6(),
            udp,
        };
        let published = ike.map(|ike| ike.published_mtu).unwrap_or_default();
        let published = if udp { published.udp } else { published.plain };
        let computed = with_published(esp_inner_mtu(outer, AEAD), published);
        self.mtu.map_or(computed, |wanted| computed.min(wanted))
    }

    /// UDP ports at `local` that are its own: no NAT may use them.
    pub fn udp_ports(&self) -> Vec<u16> {
        match &self.keying {
            Keying::Manual(manual) => match manual.encapsulation {
                Encapsulation::None => Vec::new(),
                Encapsulation::Udp { local_port, .. } => vec![local_port],
            },
            Keying::Ike(_) => vec![IKE_PORT, ESP_UDP_PORT],
        }
    }

    /// Manual keys, if it has them.
    pub fn manual(&self) -> Option<&ManualKeys> {
        match &self.keying {
            Keying::Manual(manual) => Some(manual),
            Keying::Ike(_) => None,
        }
    }

    /// What IKEv2 needs, if that keys it.
    pub fn ike(&self) -> Option<&IkeTunnel> {
        match &self.keying {
            Keying::Manual(_) => None,
            Keying::Ike(ike) => Some(ike),
        }
    }
}

/// Where the keys of a tunnel come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keying {
    /// A file: `type: esp`.
    Manual(ManualKeys),
    /// IKEv2: `type: ipsec`. Without negotiated SAs the tunnel is down, and what is routed into it is dropped.
    Ike(Box<IkeTunnel>),
}

/// An SA for each direction from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManualKeys {
    /// Outer destination, same family as the tunnel's `local`.
    pub remote: IpAddr,
    /// What surrounds ESP.
    pub encapsulation: Encapsulation,
    /// File with the keys.
    pub keys: SecretName,
}

/// What surrounds ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// ESP straight in IP.
    None,
    /// ESP in UDP (RFC 3948).
    Udp {
        /// UDP port at our end.
        local_port: u16,
        /// UDP port at the peer's end.
        remote_port: u16,
    },
}

/// A pair of prefixes of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selector {
    /// Our side.
    pub local: Prefix,
    /// The peer's side.
    pub remote: Prefix,
}

/// DF of the outer IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DontFragment {
    /// Always set.
    Set,
    /// As the inner packet has it.
    Copy,
    /// Never set.
    Clear,
}

/// DSCP of the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dscp {
    /// As the inner packet has it.
    Copy,
    /// Zero.
    Zero,
}
