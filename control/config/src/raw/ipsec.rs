//! Tunnels keyed by IKEv2, as they stand in the file.

use super::Mtu;
use crate::model::{DontFragment, Dscp, Remote};
use crate::reader::{At, Named, statement};
use crate::scalars::{
    AlgorithmWord, Bounded, ByteCount, EsnWord, FreeText, IkeVersion, IpsecType, NatTraversal, StartWord,
};
use crate::value::{IdentityWord, InterfaceAddress, Name, Prefix, SecretName};
use core::net::IpAddr;

statement! {
    /// An ESP tunnel keyed by IKEv2. What is left out, its profile says.
    RawIpsecTunnel = "an IPsec tunnel" {
        /// Kind.
        #[allow(dead_code, reason = "it chose this statement")]
        r#type: required At<IpsecType>,
        /// Kind of gateway at the other end: aws, aws-large, azure-custom, gcp, cloudflare, tombolo or custom.
        profile: required At<crate::model::ProfileName>,
        /// Segment of what comes out.
        segment: required At<Name>,
        /// Outer source: an address of an underlay port.
        local: required At<IpAddr>,
        /// The peer: an address, a DNS name, or `any` (it comes to us and proves who it is).
        remote: required At<Remote>,
        /// Who we say we are: ip:, fqdn:, email:, dn: or keyid:. Default: `local`.
        local_id: optional At<IdentityWord>,
        /// Exactly whom we accept; `any` = whoever its certificate proves. Default: `remote`.
        remote_id: optional At<IdentityWord>,
        /// A SPIFFE ID that the peer's certificate must bear.
        remote_spiffe: optional At<FreeText>,
        /// File in the secrets directory with the pre-shared key.
        secret: optional At<SecretName>,
        /// Accept a pre-shared key of fewer than 20 bytes. Default false.
        allow_short_secret: optional At<bool>,
        /// File in the secrets directory: own certificate and those between it and the peer's root (PEM).
        certificate: optional At<SecretName>,
        /// File in the secrets directory: private key (PKCS #8, PEM).
        key: optional At<SecretName>,
        /// File in the secrets directory: roots of the peer's certificate (PEM).
        roots: optional At<SecretName>,
        /// File in the secrets directory: revocation lists (PEM).
        revocations: optional At<SecretName>,
        /// Post-quantum pre-shared key (RFC 8784).
        ppk: optional RawPpk,
        /// Own addresses inside the tunnel, with prefix lengths; at most one of each family.
        inside: optional Vec<At<InterfaceAddress>>,
        /// Child SAs, by name. Default: one for everything that the profile allows.
        children: optional Named<Name, RawChild>,
        /// `auto` starts by itself, `responder` waits for the peer. Default auto, for `remote: any` responder.
        start: optional At<StartWord>,
        /// Size of the peer's gateway, where its ceiling depends on it (Azure: VpnGw1 to VpnGw5AZ).
        sku: optional At<FreeText>,
        /// Overrides for the IKE SA.
        ike: optional RawIke,
        /// Overrides for child SAs.
        esp: optional RawEsp,
        /// Overrides of when to rekey.
        rekey: optional RawRekey,
        /// Overrides of dead peer detection.
        dpd: optional RawDpd,
        /// Inbound replay window in packets, a multiple of 64; 0 = no check. Default: the profile's.
        replay_window: optional At<Bounded<0, 4096>>,
        /// The peer's replay window in packets. Default: the profile's.
        peer_window: optional At<Bounded<32, 65_535>>,
        /// `auto` looks for NAT, `force` sends ESP in UDP in any case, `start-4500` also starts there. Default: the profile's.
        nat_t: optional At<NatTraversal>,
        /// One child SA for each worker (RFC 9611). Default: the profile's.
        per_worker: optional At<bool>,
        /// Largest IKE datagram in bytes (RFC 7383). Default: the profile's.
        fragment_bytes: optional At<Bounded<576, 9000>>,
        /// Largest inner packet in bytes. Default: computed.
        mtu: optional At<Mtu>,
        /// DF of the outer IPv4 header. Default set.
        df: optional At<DontFragment>,
        /// DSCP of the outer header. Default copy.
        dscp: optional At<Dscp>,
        /// 2; nothing else is spoken.
        ike_version: optional At<IkeVersion>,
    }
}

statement! {
    /// A child SA: any packet between both sides.
    RawChild = "a child" {
        /// Our side. Default: everything.
        local: optional Vec<At<Prefix>>,
        /// The peer's side. Default: everything.
        remote: optional Vec<At<Prefix>>,
    }
}

statement! {
    /// A post-quantum pre-shared key.
    RawPpk = "ppk" {
        /// Its name at both ends.
        id: required At<FreeText>,
        /// File in the secrets directory.
        secret: required At<SecretName>,
        /// Refuse a peer without it. Default true.
        required: optional At<bool>,
    }
}

statement! {
    /// What is proposed for the IKE SA, best first, and how long it lives.
    RawIke = "ike" {
        /// aes-256-gcm, aes-128-gcm, chacha20-poly1305, aes-256-cbc, aes-128-cbc.
        encryption: optional Vec<At<AlgorithmWord>>,
        /// sha256, sha384, sha512: beside aes-…-cbc.
        integrity: optional Vec<At<AlgorithmWord>>,
        /// sha256, sha384, sha512.
        prf: optional Vec<At<AlgorithmWord>>,
        /// Diffie-Hellman groups: 14, 19, 20, 21, 31, or their names.
        groups: optional Vec<At<AlgorithmWord>>,
        /// One additional key exchange (RFC 9370): ml-kem-768, and `none` to let the peer go without.
        additional: optional Vec<At<AlgorithmWord>>,
        /// Seconds.
        lifetime: optional At<Bounded<60, 604_800>>,
    }
}

statement! {
    /// What is proposed for child SAs, best first, and how long they live.
    RawEsp = "esp" {
        /// aes-256-gcm, aes-128-gcm, chacha20-poly1305.
        encryption: optional Vec<At<AlgorithmWord>>,
        /// Diffie-Hellman groups of a rekey (PFS): 14, 19, 20, 21, 31, or their names; `none` = without.
        groups: optional Vec<At<AlgorithmWord>>,
        /// One additional key exchange of a rekey (RFC 9370): ml-kem-768, and `none` to let the peer go without.
        additional: optional Vec<At<AlgorithmWord>>,
        /// Extended sequence numbers: on, off or either.
        esn: optional At<EsnWord>,
        /// Seconds.
        lifetime: optional At<Bounded<30, 604_800>>,
        /// Bytes after which a child SA is rekeyed; 0 = not.
        bytes: optional At<ByteCount>,
        /// Packets after which a child SA is rekeyed; 0 = not before sequence numbers end.
        packets: optional At<ByteCount>,
    }
}

statement! {
    /// Rekeying comes `margin` * (1 to 1 + `fuzz-percent` / 100) seconds before the end.
    RawRekey = "rekey" {
        /// Seconds.
        margin: optional At<Bounded<1, 86_400>>,
        /// Percent.
        fuzz_percent: optional At<Bounded<0, 1000>>,
    }
}

statement! {
    /// Dead peer detection.
    RawDpd = "dpd" {
        /// Seconds of silence before the peer is asked.
        delay: optional At<Bounded<1, 3600>>,
        /// Seconds without an answer until it is dead.
        timeout: optional At<Bounded<1, 3600>>,
    }
}

statement! {
    /// Several tunnels to one peer, used together.
    RawBundle = "a bundle" {
        /// Two to sixteen tunnels with `type: ipsec`, of one segment and one profile.
        tunnels: required Vec<At<Name>>,
    }
}
