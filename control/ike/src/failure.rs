//! Why a negotiation failed, in an operator's words, and whose fault it is.

use crate::auth::error::AuthError;
use crate::connection::Connection;
use crate::proposal::{Mismatch, transform_name};
use crate::transform::Group;
use crate::wire::{Transform, notify, transform_kind};
use core::fmt;

/// Why an IKE SA or a child SA did not come up, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time.
    Silent {
        /// What we waited for.
        waiting_for: &'static str,
    },
    /// The two configurations have no algorithms in common.
    Mismatch(Box<Mismatch>),
    /// The peer refused what we offered; it does not say which part.
    Refused {
        /// Its notification (RFC 7296 §3.10.1).
        notify: u16,
        /// What we offered or asked for.
        offered: String,
    },
    /// The peer wants a Diffie-Hellman group that is not offered.
    WantsGroup {
        /// Its number.
        asked: u16,
        /// What we offered.
        offered: String,
    },
    /// The peer speaks another version of IKE.
    Version(u8),
    /// No tunnel of the configuration fits the peer's identity.
    UnknownPeer {
        /// As the peer says.
        identity: String,
    },
    /// The peer's identity is not the configured one.
    WrongIdentity {
        /// As the peer says.
        claimed: String,
        /// As configured.
        expected: String,
    },
    /// The peer's proof is wrong, or we cannot make ours.
    Authentication(AuthError),
    /// Its traffic selectors and ours have nothing in common.
    Selectors {
        /// As the peer asks, ours beside it.
        text: String,
    },
    /// The peer demands, or lacks, a post-quantum pre-shared key.
    Ppk(&'static str),
    /// The peer wants to talk to somebody else.
    WantsAnother {
        /// As the peer says.
        wanted: String,
        /// Our identity.
        own: String,
    },
    /// The peer was asked for another group; usually it tries again.
    AskedForGroup(Group),
    /// A message of ours is longer than a message can be.
    TooLarge,
    /// The peer broke the protocol.
    Misbehaved(&'static str),
    /// The peer said goodbye.
    Deleted,
    /// The peer started anew (INITIAL_CONTACT).
    Superseded,
    /// Its time was up before it could be replaced.
    Expired,
    /// An operator or a new configuration ended it.
    Ours,
}

impl Failure {
    /// It and what to do about it, for the tunnel that it is about, if that is known.
    pub fn in_words(&self, tunnel: Option<&Connection>) -> String {
        let text = match (self, tunnel) {
            (Failure::Mismatch(mismatch), Some(tunnel)) => mismatch.explain(tunnel.peer_kind),
            _ => self.to_string(),
        };
        let hint = match (self.is_about_policy(), tunnel) {
            (true, Some(tunnel)) => Some(format!("for {}: {}", tunnel.peer_kind, tunnel.policy)),
            _ => self.hint(),
        };
        match hint {
            Some(hint) => format!("{text}; {hint}"),
            None => text,
        }
    }

    /// Whether other algorithms, groups or another version at the peer would help.
    fn is_about_policy(&self) -> bool {
        match self {
            Failure::Mismatch(_) | Failure::WantsGroup { .. } | Failure::Version(_) => true,
            Failure::Refused { notify, .. } => *notify == notify::NO_PROPOSAL_CHOSEN,
            Failure::Silent { .. }
            | Failure::UnknownPeer { .. }
            | Failure::WrongIdentity { .. }
            | Failure::Authentication(_)
            | Failure::Selectors { .. }
            | Failure::Ppk(_)
            | Failure::WantsAnother { .. }
            | Failure::AskedForGroup(_)
            | Failure::TooLarge
            | Failure::Misbehaved(_)
            | Failure::Deleted
            | Failure::Superseded
            | Failure::Expired
            | Failure::Ours => false,
        }
    }

    /// What to do about it, whatever the peer is; none where nothing is wrong.
    fn hint(&self) -> Option<String> {
        Some(match self {
            Failure::Silent { .. } => {
                "check that the peer's address is right, that it knows ours, and that UDP 500 and 4500 \
                                       pass in both directions"
                    .into()
            }
            Failure::Mismatch(_) => return None,
            Failure::Refused { notify, .. } => match *notify {
                notify::NO_PROPOSAL_CHOSEN => "compare algorithms and groups with the peer's settings".into(),
                notify::AUTHENTICATION_FAILED => {
                    "compare the secret and both identities with the peer's settings; its log says more".into()
                }
                notify::TS_UNACCEPTABLE => "compare the networks on both sides of the tunnel".into(),
                _ => "the peer's log says more".into(),
            },
            Failure::WantsGroup { .. } => "offer that group, or let the peer take one of these".into(),
            Failure::Version(_) => "set the peer to IKE version 2".into(),
            Failure::UnknownPeer { identity } => {
                format!("add a tunnel with `remote-id: {identity}` or correct the peer's")
            }
            Failure::WrongIdentity { claimed, .. } => {
                format!("set `remote-id: {claimed}` if that is the right peer, or correct the peer's identity")
            }
            Failure::Authentication(_) => return None,
            Failure::WantsAnother { wanted, .. } => {
                format!("set `local-id: {wanted}`, or correct the peer's idea of us")
            }
            Failure::AskedForGroup(group) => format!("let the peer begin with group {}", group.id()),
            Failure::TooLarge => "send fewer or smaller certificates".into(),
            Failure::Selectors { .. } => "compare the networks on both sides of the tunnel".into(),
            Failure::Ppk(_) => "give both sides the same `ppk`, or none".into(),
            Failure::Misbehaved(_) => "a capture of UDP 500 and 4500 shows it; tell the peer's vendor".into(),
            Failure::Deleted | Failure::Superseded | Failure::Expired | Failure::Ours => return None,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silent { waiting_for } => write!(f, "the peer does not answer ({waiting_for})"),
            Failure::Mismatch(mismatch) => f.write_str(&mismatch.explain("the peer")),
            Failure::Refused { notify, offered } => match notify::meaning(*notify) {
                Some(meaning) => write!(f, "{meaning}; we offered {offered}"),
                None => write!(f, "the peer refuses with error {notify}; we offered {offered}"),
            },
            Failure::WantsGroup { asked, offered } => {
                let group = transform_name(&Transform::new(transform_kind::KEY_EXCHANGE, *asked, None));
                write!(f, "the peer insists on group {asked} ({group}); we offered {offered}")
            }
            Failure::Version(version) => write!(f, "the peer speaks IKE version {version}; here it is version 2"),
            Failure::UnknownPeer { identity } => {
                write!(f, "no tunnel is configured for a peer with identity {identity}")
            }
            Failure::WrongIdentity { claimed, expected } => {
                write!(f, "the peer says that it is {claimed}, expected is {expected}")
            }
            Failure::Authentication(error) => write!(f, "{error}"),
            Failure::Selectors { text } => f.write_str(text),
            Failure::Ppk(text) => f.write_str(text),
            Failure::Misbehaved(text) => write!(f, "the peer broke the protocol: {text}"),
            Failure::WantsAnother { wanted, own } => write!(f, "the peer wants {wanted}, this tunnel is {own}"),
            Failure::AskedForGroup(group) => write!(f, "the peer began with another group than {}", group.id()),
            Failure::TooLarge => f.write_str("our message is too large for IKE"),
            Failure::Deleted => f.write_str("the peer closed it"),
            Failure::Superseded => f.write_str("the peer started anew"),
            Failure::Expired => f.write_str("its lifetime ended before it was replaced"),
            Failure::Ours => f.write_str("closed by this gateway"),
        }
    }
}
