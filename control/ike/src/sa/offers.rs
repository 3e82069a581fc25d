//! What we offer, in words, for the operator.

use crate::proposal::{self, names};
use crate::transform::{EspProposal, IkeProposal, IkeSuite};
use crate::wire::Proposal;

/// Proposals for an IKE SA.
pub(crate) fn ike(proposals: &[IkeProposal]) -> String {
    text(&proposal::offer_ike(proposals, None))
}

/// Proposals for a child SA.
pub(crate) fn esp(proposals: &[EspProposal]) -> String {
    text(&proposal::offer_esp(proposals, 0, true))
}

/// Whether a suite is one that a tunnel allows.
pub(crate) fn allow(proposals: &[IkeProposal], suite: &IkeSuite) -> bool {
    proposals.iter().any(|proposal| {
        proposal.encryption.contains(&suite.encryption)
            && suite
                .integrity
                .is_none_or(|integrity| proposal.integrity.contains(&integrity))
            && proposal.prf.contains(&suite.prf)
            && proposal.groups.contains(&suite.group)
            && suite
                .additional
                .iter()
                .all(|group| proposal.additional.iter().any(|list| list.contains(&Some(*group))))
            && (!suite.additional.is_empty() || proposal.additional.iter().all(|list| list.contains(&None)))
    })
}

fn text(proposals: &[Proposal]) -> String {
    let one = |proposal: &Proposal| {
        let names: Vec<String> = proposal.transforms.iter().map(names::transform_name).collect();
        names.join("/")
    };
    let all: Vec<String> = proposals.iter().map(one).collect();
    all.join(", or ")
}
