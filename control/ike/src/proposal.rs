//! Proposals: what is offered, what is chosen of the peer's, and whether the peer's answer is one of ours (RFC 7296 §2.7, §3.3.6).
//!
//! Offers, choices and answers are all compared as transforms of the wire; only what passed becomes a suite.

mod agree;
mod mismatch;
pub(crate) mod names;
mod offer;
mod suite;

#[cfg(test)]
mod tests;

pub use mismatch::{Mismatch, NotOffered};
pub use names::{kind_name, transform_name};
pub use offer::{offer_esp, offer_ike};

use crate::transform::{EspProposal, EspSuite, IkeProposal, IkeSuite};
use crate::wire::{Proposal, protocol};

/// The outcome for an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedIke {
    /// The algorithms.
    pub suite: IkeSuite,
    /// The peer's SPI of the new IKE SA; none in IKE_SA_INIT, where it stands in the header.
    pub peer_spi: Option<u64>,
    /// What was agreed on as on the wire: the responder sends it.
    pub answer: Proposal,
}

/// The outcome for a child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedEsp {
    /// The algorithms.
    pub suite: EspSuite,
    /// What the peer receives on.
    pub peer_spi: u32,
    /// What was agreed on as on the wire: the responder sends it.
    pub answer: Proposal,
}

/// As responder: the best of `ours` that one of `theirs` holds; our order counts, then the peer's. `spi` is our own for the answer,
/// if this replaces an IKE SA.
///
/// # Errors
/// Nothing in common: NO_PROPOSAL_CHOSEN.
pub fn choose_ike(ours: &[IkeProposal], theirs: &[Proposal], spi: Option<u64>) -> Result<AgreedIke, Mismatch> {
    let offered = offer_ike(ours, spi);
    let (answer, theirs) = agree::choose(&offered, theirs, &agree::IKE_KINDS)?;
    let suite = suite::ike(&answer.transforms).ok_or_else(|| Mismatch::unspoken(&offered, theirs))?;
    Ok(AgreedIke {
        suite,
        peer_spi: theirs.ike_spi(),
        answer,
    })
}

/// The same for a child SA. `key_exchange` is false in IKE_AUTH, where there cannot be one (RFC 7296 §1.2): what the peer says about
/// groups there is ignored.
///
/// # Errors
/// Nothing in common: NO_PROPOSAL_CHOSEN.
pub fn choose_esp(
    ours: &[EspProposal],
    theirs: &[Proposal],
    spi: u32,
    key_exchange: bool,
) -> Result<AgreedEsp, Mismatch> {
    let offered = offer_esp(ours, spi, key_exchange);
    let kinds = if key_exchange {
        &agree::ESP_KINDS[..]
    } else {
        &agree::FIRST_ESP_KINDS
    };
    let (answer, theirs) = agree::choose(&offered, theirs, kinds)?;
    let unspoken = || Mismatch::unspoken(&offered, theirs);
    Ok(AgreedEsp {
        suite: suite::esp(&answer.transforms).ok_or_else(unspoken)?,
        peer_spi: theirs.child_spi().ok_or_else(unspoken)?,
        answer,
    })
}

/// As initiator: the suite of the responder's `answer`, if it is one that was `offered`.
///
/// # Errors
/// The answer is none of ours: the peer's fault, and the exchange has failed.
pub fn accept_ike(offered: &[Proposal], answer: &[Proposal]) -> Result<AgreedIke, NotOffered> {
    let answer = agree::accept(offered, answer, protocol::IKE)?;
    let suite = suite::ike(&answer.transforms).ok_or_else(|| NotOffered::new(&[answer]))?;
    Ok(AgreedIke {
        suite,
        peer_spi: answer.ike_spi(),
        answer: answer.clone(),
    })
}

/// The same for a child SA.
///
/// # Errors
/// The answer is none of ours, or has a reserved SPI.
pub fn accept_esp(offered: &[Proposal], answer: &[Proposal]) -> Result<AgreedEsp, NotOffered> {
    let answer = agree::accept(offered, answer, protocol::ESP)?;
    let wrong = || NotOffered::new(&[answer]);
    Ok(AgreedEsp {
        suite: suite::esp(&answer.transforms).ok_or_else(wrong)?,
        peer_spi: answer.child_spi().ok_or_else(wrong)?,
        answer: answer.clone(),
    })
}
