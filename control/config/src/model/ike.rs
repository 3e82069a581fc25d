//! A tunnel keyed by IKEv2: what its statement and its profile say together. Nothing is left to defaults; secrets are names
//! of files.

use crate::value::{InterfaceAddress, Name, Prefix, SecretName};
use core::fmt;
use core::net::IpAddr;
use tombolo_ike::connection::Lifetime;
use tombolo_ike::identity::Identity;
use tombolo_ike::transform::{EspProposal, IkeProposal};

/// What IKEv2 needs to know of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IkeTunnel {
    /// Kind of gateway at the other end.
    pub profile: ProfileName,
    /// Where the peer is.
    pub remote: Remote,
    /// Who we say we are.
    pub own_identity: Identity,
    /// Exactly whom we accept; none = whoever its certificate proves.
    pub peer_identity: Option<Identity>,
    /// A SPIFFE ID that the peer's certificate must bear.
    pub peer_spiffe: Option<String>,
    /// What proves both identities.
    pub credentials: Credentials,
    /// Post-quantum pre-shared key (RFC 8784).
    pub ppk: Option<IkePpk>,
    /// Own addresses inside the tunnel, at most one of each family.
    pub inside: Vec<InterfaceAddress>,
    /// Child SAs; at least one.
    pub children: Vec<IkeChild>,
    /// Starts by itself, and again after every end; else the peer does.
    pub initiate: bool,
    /// Uses UDP 4500 from the first message on (RFC 7296 §2.23).
    pub start_on_4500: bool,
    /// ESP in UDP even where no NAT was found.
    pub force_udp: bool,
    /// Best first.
    pub ike_proposals: Vec<IkeProposal>,
    /// Of every child, best first.
    pub esp_proposals: Vec<EspProposal>,
    /// Of the IKE SA.
    pub ike_lifetime: Lifetime,
    /// Of child SAs.
    pub child_lifetime: Lifetime,
    /// Bytes after which a child SA is rekeyed; 0 = not.
    pub child_bytes_max: u64,
    /// Packets after which a child SA is rekeyed; 0 = not.
    pub child_packets_max: u64,
    /// Silence in milliseconds after which the peer is asked for a sign of life.
    pub dpd_delay_ms: u64,
    /// Milliseconds without an answer after which the peer is dead.
    pub dpd_timeout_ms: u64,
    /// Largest IKE datagram in bytes, IP header included (RFC 7383).
    pub fragment_bytes: u16,
    /// Offers one child SA for each worker (RFC 9611).
    pub per_worker: bool,
    /// Largest outer packet in bytes that the peer takes; none = what the path carries.
    pub outer_mtu_max: Option<u16>,
    /// Largest inner packet that the peer's operator publishes; the smaller one of this and the computed one counts.
    pub published_mtu: InnerMtu,
    /// What the peer's operator lets through this tunnel.
    pub ceiling: Ceiling,
}

/// Kind of gateway at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileName {
    /// AWS Site-to-Site VPN.
    Aws,
    /// AWS Site-to-Site VPN, large bandwidth tunnel.
    AwsLarge,
    /// Azure VPN gateway without a custom policy. Never in a validated configuration: it asks for Diffie-Hellman group 2.
    AzureDefault,
    /// Azure VPN gateway with a custom IPsec/IKE policy.
    AzureCustom,
    /// GCP HA VPN.
    Gcp,
    /// Cloudflare Magic WAN.
    Cloudflare,
    /// Another Tombolo.
    Tombolo,
    /// Anything else: the statement says it all.
    Custom,
}

impl ProfileName {
    /// All of them.
    pub const ALL: [ProfileName; 8] = [
        ProfileName::Aws,
        ProfileName::AwsLarge,
        ProfileName::AzureDefault,
        ProfileName::AzureCustom,
        ProfileName::Gcp,
        ProfileName::Cloudflare,
        ProfileName::Tombolo,
        ProfileName::Custom,
    ];

    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ProfileName::Aws => "aws",
            ProfileName::AwsLarge => "aws-large",
            ProfileName::AzureDefault => "azure-default",
            ProfileName::AzureCustom => "azure-custom",
            ProfileName::Gcp => "gcp",
            ProfileName::Cloudflare => "cloudflare",
            ProfileName::Tombolo => "tombolo",
            ProfileName::Custom => "custom",
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Here, of the same family as the tunnel's `local`.
    Address(IpAddr),
    /// Where DNS says.
    Name(String),
    /// Anywhere: it comes to us and proves who it is.
    Any,
}

impl Remote {
    /// The address, where one is given.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Remote::Address(address) => Some(*address),
            Remote::Name(_) | Remote::Any => None,
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Address(address) => address.fmt(f),
            Remote::Name(name) => f.write_str(name),
            Remote::Any => f.write_str("any"),
        }
    }
}

/// What proves both identities: files of the secrets directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// One pre-shared key for both.
    Psk {
        /// The key, as text.
        secret: SecretName,
        /// Fewer than 20 bytes are accepted.
        allow_short: bool,
    },
    /// X.509 certificates, all in PEM.
    Certificate {
        /// Own certificate first, then those between it and a root of the peer's.
        certificate: SecretName,
        /// Private key, PKCS #8.
        key: SecretName,
        /// Roots that the peer's certificate must lead to.
        roots: SecretName,
        /// Revocation lists.
        revocations: Option<SecretName>,
    },
}

/// Post-quantum pre-shared key (RFC 8784).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkePpk {
    /// PPK_ID.
    pub id: String,
    /// File of the secrets directory.
    pub secret: SecretName,
    /// Refuse a peer without it.
    pub required: bool,
}

/// A child SA: any packet between both sides, of either family that both have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeChild {
    /// Its name; unique in the tunnel.
    pub name: Name,
    /// Our side; never empty.
    pub local: Vec<Prefix>,
    /// The peer's side; never empty.
    pub remote: Vec<Prefix>,
}

/// Largest inner packet in bytes by what surrounds ESP; none = nothing is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InnerMtu {
    /// ESP straight in IP.
    pub plain: Option<u16>,
    /// ESP in UDP.
    pub udp: Option<u16>,
}

/// What an operator of gateways lets through one tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Bit per second.
    pub bits: Option<u64>,
    /// Packets per second.
    pub packets: Option<u64>,
}
