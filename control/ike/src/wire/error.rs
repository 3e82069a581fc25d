//! What can be wrong with a message.

use super::notify::{self, Notify};
use core::fmt;

/// Why a datagram is not a message. It is always the sender's fault, or that of something on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Fewer bytes than a header, or the initiator's SPI is zero: not IKE.
    NotIke,
    /// Major version other than 2.
    Version(u8),
    /// The header says another length than the datagram has.
    Length {
        /// In the header.
        said: u32,
        /// Of the datagram.
        got: usize,
    },
    /// A payload kind that is unknown and marked as critical (RFC 7296 §2.5).
    UnsupportedCritical(u8),
    /// The chain of payloads is broken, before any payload is looked into.
    Chain(Fault),
    /// A payload of this kind is malformed.
    Payload {
        /// Its kind.
        kind: u8,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with the form of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A length reaches beyond what contains it, or something ends too early.
    Short,
    /// Bytes are left over.
    LeftOver,
    /// More of something than is looked at.
    TooMany,
    /// A count or a "last" octet contradicts what follows.
    Count,
    /// Proposal numbers do not go up by one.
    Number,
    /// An SPI size that the protocol does not have.
    SpiSize,
    /// A nonce outside of 16 to 256 bytes (RFC 7296 §3.9).
    NonceSize,
    /// A selector whose range ends before it starts.
    Range,
    /// A fragment number of zero or above the total (RFC 7383 §2.5).
    FragmentNumber,
    /// An encrypted payload that is not the last one, or inside of another (RFC 7296 §3.14).
    Misplaced,
}

impl WireError {
    /// The error notification that tells the peer (RFC 7296 §2.21); none where nothing is answered.
    pub fn notify(self) -> Option<Notify> {
        match self {
            WireError::NotIke => None,
            // RFC 7296 §2.5: an older version is not told of a newer one.
            WireError::Version(major) => (major > 2).then(|| Notify::new(notify::INVALID_MAJOR_VERSION, &[])),
            WireError::UnsupportedCritical(kind) => Some(Notify::new(notify::UNSUPPORTED_CRITICAL_PAYLOAD, &[kind])),
            WireError::Length { .. } | WireError::Chain(_) | WireError::Payload { .. } => {
                Some(Notify::new(notify::INVALID_SYNTAX, &[]))
            }
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::NotIke => f.write_str("no IKE message"),
            WireError::Version(1) => f.write_str("the peer speaks IKEv1: set it to IKEv2, nothing else is spoken here"),
            WireError::Version(major) => write!(f, "the peer speaks version {major} of IKE, not 2"),
            WireError::Length { said, got } => write!(f, "the message says {said} bytes and has {got}"),
            WireError::UnsupportedCritical(kind) => {
                write!(f, "the peer insists on payload type {kind}, which is not known here")
            }
            WireError::Chain(fault) => write!(f, "the message is malformed: {fault}"),
            WireError::Payload { kind, fault } => {
                write!(
                    f,
                    "the peer's {} payload is malformed: {fault}",
                    super::kind::name(*kind)
                )
            }
        }
    }
}

impl core::error::Error for WireError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Short => "it ends too early",
            Fault::LeftOver => "bytes are left over",
            Fault::TooMany => "it holds more than is looked at",
            Fault::Count => "a count contradicts what follows",
            Fault::Number => "proposals are not numbered one after the other",
            Fault::SpiSize => "an SPI of the wrong size",
            Fault::NonceSize => "the nonce has not 16 to 256 bytes",
            Fault::Range => "a range ends before it starts",
            Fault::FragmentNumber => "an impossible fragment number",
            Fault::Misplaced => "an encrypted payload is not the last one",
        })
    }
}

/// Something of our own does not fit into its length field: a certificate chain, most likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message to the peer would pass 64 KiB: are the own certificates that large?")
    }
}

impl core::error::Error for TooLarge {}
