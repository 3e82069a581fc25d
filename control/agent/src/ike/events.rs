//! How often things happened to IKE SAs and child SAs.

use tombolo_ike::What;
use tombolo_ike::failure::Failure;

/// Since the start of the process, all tunnels and strangers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// IKE SAs that came up.
    pub established: u64,
    /// IKE SAs that were replaced.
    pub ike_rekeyed: u64,
    /// Attempts to replace an IKE SA that failed.
    pub ike_rekey_failed: u64,
    /// Child SAs that came up, replacements left aside.
    pub child_established: u64,
    /// Child SAs that were replaced.
    pub child_rekeyed: u64,
    /// Child SAs that were refused or ended.
    pub child_failed: u64,
    /// IKE SAs that failed, or did not come up.
    pub failed: u64,
    /// IKE SAs that one side ended, or whose time was over.
    pub ended: u64,
    /// Peers that are at another address.
    pub moved: u64,
}

impl Events {
    /// Counts what happened.
    pub fn count(&mut self, what: &What) {
        let counter = match what {
            What::Established { .. } => &mut self.established,
            What::IkeRekeyed => &mut self.ike_rekeyed,
            What::RekeyFailed { .. } => &mut self.ike_rekey_failed,
            What::ChildUp { .. } => &mut self.child_established,
            What::ChildRekeyed { .. } => &mut self.child_rekeyed,
            What::ChildFailed { .. } => &mut self.child_failed,
            What::Ended { why } if is_orderly(why) => &mut self.ended,
            What::Ended { .. } => &mut self.failed,
            What::Moved { .. } => &mut self.moved,
        };
        *counter += 1;
    }
}

/// No fault of anybody.
fn is_orderly(why: &Failure) -> bool {
    matches!(
        why,
        Failure::Deleted | Failure::Superseded | Failure::Expired | Failure::Ours
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_failure_unless_somebody_wanted_it() {
        let mut events = Events::default();
        for why in [Failure::Deleted, Failure::Ours, Failure::TooLarge] {
            events.count(&What::Ended { why });
        }
        events.count(&What::ChildUp { child: "net".into() });
        let expected = Events {
            ended: 2,
            failed: 1,
            child_established: 1,
            ..Events::default()
        };
        assert_eq!(events, expected);
    }
}
