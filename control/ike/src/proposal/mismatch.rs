//! Why nothing was agreed on, in an operator's words.

use super::names::{is_weak, kind_name, transform_name};
use crate::wire::{Proposal, Transform, protocol, transform_kind};
use core::fmt;

/// Names in one list of a message: a hostile peer writes no essays into the log.
const NAMES_MAX: usize = 12;

/// What one proposal of the peer's and one of ours do not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// No transform of this kind.
    Kind(u8),
    /// It holds a kind that is not known for the protocol.
    Unknown(u8),
    /// It is for another protocol.
    Protocol(u8),
    /// An SPI where none belongs, the other way round, or a reserved one.
    Spi,
}

/// None of the peer's proposals is acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    ours: Vec<Proposal>,
    theirs: Vec<Proposal>,
    /// The peer's proposal that comes closest, and what is wrong with it.
    closest: Option<(u8, Vec<Difference>)>,
}

impl Mismatch {
    pub(super) fn new(ours: &[Proposal], theirs: &[Proposal], closest: Option<(u8, Vec<Difference>)>) -> Mismatch {
        Mismatch {
            ours: ours.to_vec(),
            theirs: theirs.to_vec(),
            closest,
        }
    }

    /// Both sides agree on something that is no suite: only a wrong configuration of ours does that.
    pub(super) fn unspoken(ours: &[Proposal], their: &Proposal) -> Mismatch {
        Mismatch::new(ours, core::slice::from_ref(their), None)
    }

    /// For the log and for `show`: what the peer sent, what is accepted here, what they do not share, what to change. `peer` is what the
    /// operator calls the other side.
    pub fn explain(&self, peer: &str) -> String {
        let what = match self.ours.first().map(|own| own.protocol) {
            Some(protocol::ESP) => "child SA",
            _ => "IKE SA",
        };
        let (sent, wanted) = (summary(&self.theirs), summary(&self.ours));
        let mut text = format!("no common proposal for the {what}: {peer} offers {sent}; accepted here: {wanted}");
        if let Some((number, differences)) = &self.closest {
            let list: Vec<_> = differences.iter().map(ToString::to_string).collect();
            text += &format!(
                "; its proposal {number} comes closest and differs in {}",
                list.join(", ")
            );
        }
        let weak = names(transforms(&self.theirs).filter(|transform| is_weak(transform)));
        if !weak.is_empty() {
            text += &format!("; too weak to be accepted by any setting: {weak}");
        }
        if what == "child SA" && self.lacks(transform_kind::ENCRYPTION) {
            text += "; ESP takes AEAD ciphers only: AES-GCM with a 16-byte ICV, or ChaCha20-Poly1305";
        }
        text += &format!(
            "; set the policy of {peer} (a custom one, if its default leaves no choice) to what is accepted here"
        );
        text
    }

    fn lacks(&self, kind: u8) -> bool {
        let closest = self.closest.as_ref();
        closest.is_some_and(|(_, differences)| differences.contains(&Difference::Kind(kind)))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explain("the peer"))
    }
}

impl core::error::Error for Mismatch {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Kind(kind) => f.write_str(&kind_name(*kind)),
            Difference::Unknown(kind) => write!(f, "{} (not known here)", kind_name(*kind)),
            Difference::Protocol(protocol::AH) => f.write_str("protocol (AH is not spoken here)"),
            Difference::Protocol(number) => write!(f, "protocol ({number})"),
            Difference::Spi => f.write_str("the SPI"),
        }
    }
}

/// The answer takes what was not offered, or not one of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOffered {
    answer: Vec<Proposal>,
}

impl NotOffered {
    pub(super) fn new(answer: &[&Proposal]) -> NotOffered {
        NotOffered {
            answer: answer.iter().copied().cloned().collect(),
        }
    }
}

impl fmt::Display for NotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = summary(&self.answer);
        write!(
            f,
            "the peer answered with a proposal that was not offered ({answer}): that is its fault"
        )
    }
}

impl core::error::Error for NotOffered {}

fn transforms(proposals: &[Proposal]) -> impl Iterator<Item = &Transform> {
    proposals.iter().flat_map(|proposal| &proposal.transforms)
}

/// Every kind with its names, over all proposals.
fn summary(proposals: &[Proposal]) -> String {
    let mut kinds: Vec<u8> = transforms(proposals).map(|transform| transform.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of = |kind: u8| names(transforms(proposals).filter(move |transform| transform.kind == kind));
    let lists: Vec<_> = kinds
        .into_iter()
        .take(NAMES_MAX)
        .map(|kind| format!("{} {}", kind_name(kind), of(kind)))
        .collect();
    if lists.is_empty() {
        "nothing".into()
    } else {
        lists.join(", ")
    }
}

/// Each name once, in order, joined by slashes.
fn names<'a>(transforms: impl Iterator<Item = &'a Transform>) -> String {
    let mut names: Vec<String> = Vec::new();
    for transform in transforms {
        let name = transform_name(transform);
        if names.contains(&name) {
            continue;
        }
        if names.len() == NAMES_MAX {
            names.push("…".into());
            break;
        }
        names.push(name);
    }
    names.join("/")
}
