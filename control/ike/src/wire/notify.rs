//! Notifications (RFC 7296 §3.10): their form, their numbers ("IKEv2 Notify Message Types" at IANA) and what they tell an operator.

use super::error::{Fault, TooLarge};
use super::reader::Reader;
use super::security_association::protocol;
use super::writer;
use serde::{Deserialize, Serialize};

/// First number that is news and no error; unknown ones are ignored (RFC 7296 §3.10.1).
pub const STATUS_FIRST: u16 = 16384;

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Of the SPI: see [`protocol`]; meaningless without one.
    pub protocol: u8,
    /// The SA that it is about, if any.
    pub spi: Vec<u8>,
    /// What it says.
    pub kind: u16,
    /// In the form of the kind.
    pub data: Vec<u8>,
}

impl Notify {
    /// About no SA but the one that carries it.
    pub fn new(kind: u16, data: &[u8]) -> Notify {
        Notify {
            protocol: protocol::NONE,
            spi: Vec::new(),
            kind,
            data: data.to_vec(),
        }
    }

    /// About an ESP SA.
    pub fn of_child(kind: u16, spi: u32) -> Notify {
        Notify {
            protocol: protocol::ESP,
            spi: spi.to_be_bytes().to_vec(),
            ..Notify::new(kind, &[])
        }
    }

    /// Whether it says that the request failed (RFC 7296 §3.10.1: known or not).
    pub fn is_error(&self) -> bool {
        self.kind < STATUS_FIRST
    }

    /// The ESP SA that it is about.
    pub fn child_spi(&self) -> Option<u32> {
        let spi = <[u8; 4]>::try_from(&self.spi[..]).ok()?;
        (self.protocol == protocol::ESP).then(|| u32::from_be_bytes(spi))
    }

    /// Data as numbers of 16 bits: the group of INVALID_KE_PAYLOAD, the hashes of SIGNATURE_HASH_ALGORITHMS. None if a half one is left.
    pub fn numbers(&self) -> Option<Vec<u16>> {
        let (pairs, rest) = self.data.as_chunks::<2>();
        rest.is_empty()
            .then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
    }

    pub(super) fn parse(body: &[u8]) -> Result<Notify, Fault> {
        let mut reader = Reader::new(body);
        let [protocol, spi_bytes] = reader.array()?;
        let kind = reader.u16()?;
        Ok(Notify {
            protocol,
            spi: reader.take(usize::from(spi_bytes))?.to_vec(),
            kind,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        out.extend_from_slice(&[self.protocol, writer::count(self.spi.len())?]);
        out.extend_from_slice(&self.kind.to_be_bytes());
        out.extend_from_slice(&self.spi);
        out.extend_from_slice(&self.data);
        Ok(())
    }
}

/// The name of a kind, if it has one here.
pub fn name(kind: u16) -> Option<&'static str> {
    KINDS.iter().find(|known| known.0 == kind).map(|known| known.1)
}

/// What a kind says, for an operator: the sender of the notification is "the peer".
pub fn meaning(kind: u16) -> Option<&'static str> {
    KINDS.iter().find(|known| known.0 == kind).map(|known| known.2)
}

/// Numbers of hashes in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §7, RFC 8420).
pub mod hash {
    /// Too weak: not announced.
    pub const SHA1: u16 = 1;
    /// SHA2-256.
    pub const SHA2_256: u16 = 2;
    /// SHA2-384.
    pub const SHA2_384: u16 = 3;
    /// SHA2-512.
    pub const SHA2_512: u16 = 4;
    /// No hash before the signature: Ed25519.
    pub const IDENTITY: u16 = 5;
}

/// Forms of a PPK_ID, the first octet of PPK_IDENTITY (RFC 8784 §5.1).
pub mod ppk_id {
    /// PPK_ID_OPAQUE.
    pub const OPAQUE: u8 = 1;
    /// PPK_ID_FIXED.
    pub const FIXED: u8 = 2;
}

macro_rules! kinds {
    ($($number:literal $name:ident $meaning:literal)*) => {
        $(#[doc = concat!("`", stringify!($number), "`: ", $meaning, ".")] pub const $name: u16 = $number;)*

        const KINDS: &[(u16, &str, &str)] = &[$(($number, stringify!($name), $meaning)),*];
    };
}

// Errors to 16383, then news. RFC 7296 §3.10.1 where nothing else is said.
kinds! {
    1 UNSUPPORTED_CRITICAL_PAYLOAD "the peer does not know a payload that it was told to understand"
    4 INVALID_IKE_SPI "the peer has no such IKE SA: it was restarted or has given up"
    5 INVALID_MAJOR_VERSION "the peer does not speak IKEv2"
    7 INVALID_SYNTAX "the peer found a message malformed"
    9 INVALID_MESSAGE_ID "the peer saw a message id outside of its window"
    11 INVALID_SPI "the peer got ESP packets for an SA that it does not have"
    14 NO_PROPOSAL_CHOSEN "the peer accepts none of the proposals: compare encryption, PRF, integrity and groups of both sides"
    17 INVALID_KE_PAYLOAD "the peer wants another group for the key exchange"
    24 AUTHENTICATION_FAILED "the peer did not accept the proof of identity: compare identities and secret (or certificate) of both sides"
    34 SINGLE_PAIR_REQUIRED "the peer wants a child SA for a single pair of addresses"
    35 NO_ADDITIONAL_SAS "the peer takes no further child SA"
    36 INTERNAL_ADDRESS_FAILURE "the peer cannot assign an address"
    37 FAILED_CP_REQUIRED "the peer expects to be asked for an address"
    38 TS_UNACCEPTABLE "the peer accepts none of the traffic selectors: compare the networks of both sides"
    39 INVALID_SELECTORS "the peer got a packet through a child SA whose selectors do not cover it"
    40 UNACCEPTABLE_ADDRESSES "the peer does not accept the new addresses (RFC 4555)"
    41 UNEXPECTED_NAT_DETECTED "the peer sees a NAT that was forbidden (RFC 4555)"
    43 TEMPORARY_FAILURE "the peer is busy with an exchange that collides with this one"
    44 CHILD_SA_NOT_FOUND "the peer does not have the child SA that is to be rekeyed"
    45 INVALID_GROUP_ID "the peer has no such group of receivers"
    46 AUTHORIZATION_FAILED "the peer does not permit this identity"
    47 STATE_NOT_FOUND "the peer has forgotten the exchange that an additional key exchange belongs to (RFC 9370)"
    48 TS_MAX_QUEUE "the peer takes no further child SA for these traffic selectors (RFC 9611)"
    16384 INITIAL_CONTACT "the peer has no other IKE SA between these identities"
    16385 SET_WINDOW_SIZE "the peer takes several requests at once"
    16386 ADDITIONAL_TS_POSSIBLE "the peer would accept further traffic selectors in an SA of their own"
    16387 IPCOMP_SUPPORTED "the peer can compress"
    16388 NAT_DETECTION_SOURCE_IP "a hash of the sender's address"
    16389 NAT_DETECTION_DESTINATION_IP "a hash of the receiver's address"
    16390 COOKIE "the peer wants its cookie back before it does any work"
    16391 USE_TRANSPORT_MODE "the peer wants transport mode"
    16392 HTTP_CERT_LOOKUP_SUPPORTED "the peer fetches certificates by URL"
    16393 REKEY_SA "the child SA that is replaced"
    16394 ESP_TFC_PADDING_NOT_SUPPORTED "the peer takes no padding for traffic flow confidentiality"
    16395 NON_FIRST_FRAGMENTS_ALSO "the peer takes later fragments in the same SA"
    16396 MOBIKE_SUPPORTED "the peer can change its addresses (RFC 4555)"
    16397 ADDITIONAL_IP4_ADDRESS "a further address of the peer (RFC 4555)"
    16398 ADDITIONAL_IP6_ADDRESS "a further address of the peer (RFC 4555)"
    16399 NO_ADDITIONAL_ADDRESSES "the peer has one address only (RFC 4555)"
    16400 UPDATE_SA_ADDRESSES "the peer moves its SAs to this address (RFC 4555)"
    16401 COOKIE2 "the peer checks that an address is reachable (RFC 4555)"
    16402 NO_NATS_ALLOWED "the peer forbids a NAT (RFC 4555)"
    16403 AUTH_LIFETIME "the peer wants to be authenticated anew after so many seconds (RFC 4478)"
    16404 MULTIPLE_AUTH_SUPPORTED "the peer takes several proofs of identity (RFC 4739)"
    16406 REDIRECT_SUPPORTED "the peer can be sent to another gateway (RFC 5685)"
    16407 REDIRECT "the peer sends to another gateway (RFC 5685)"
    16417 EAP_ONLY_AUTHENTICATION "the peer wants EAP only (RFC 5998)"
    16418 CHILDLESS_IKEV2_SUPPORTED "the peer takes an IKE SA without a child SA (RFC 6023)"
    16419 QUICK_CRASH_DETECTION "a token that proves the loss of state (RFC 6290)"
    16420 IKEV2_MESSAGE_ID_SYNC_SUPPORTED "the peer is a cluster that can set message ids (RFC 6311)"
    16430 IKEV2_FRAGMENTATION_SUPPORTED "the peer takes fragmented messages (RFC 7383)"
    16431 SIGNATURE_HASH_ALGORITHMS "the hashes that the peer takes in signatures (RFC 7427)"
    16434 PUZZLE "the peer wants a puzzle solved (RFC 8019)"
    16435 USE_PPK "the peer can mix in a post-quantum pre-shared key (RFC 8784)"
    16436 PPK_IDENTITY "which post-quantum pre-shared key (RFC 8784)"
    16437 NO_PPK_AUTH "proof of identity without the post-quantum pre-shared key (RFC 8784)"
    16438 INTERMEDIATE_EXCHANGE_SUPPORTED "the peer takes IKE_INTERMEDIATE (RFC 9242)"
    16439 IP4_ALLOWED "the peer takes an IPv4 address (RFC 8983)"
    16440 IP6_ALLOWED "the peer takes an IPv6 address (RFC 8983)"
    16441 ADDITIONAL_KEY_EXCHANGE "links the additional key exchanges of one SA (RFC 9370)"
    16442 USE_AGGFRAG "the peer can aggregate and fragment inside of ESP (RFC 9347)"
    16443 SUPPORTED_AUTH_METHODS "the proofs of identity that the peer takes (RFC 9593)"
    16444 SA_RESOURCE_INFO "the peer binds this child SA to a resource such as a processor (RFC 9611)"
}
