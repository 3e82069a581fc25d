//! Which child SAs seal, and when one is over.

use super::Established;
use crate::endpoint::Heard;
use crate::now::Milliseconds;
use crate::sa::child::{ChildSa, Stage, Workers};

impl Established {
    /// A lifetime that ended for good.
    pub(super) fn expire_children(&mut self, now: Milliseconds) {
        let mut ended: Vec<(String, Workers)> = Vec::new();
        for child in &mut self.children {
            if child.lives() && child.hard_at <= now {
                if child.sends() {
                    ended.push((child.name.clone(), child.workers));
                }
                child.replace(now, true);
            }
        }
        for (name, workers) in ended {
            self.next_of(now, &name, workers);
        }
    }

    /// SAs that we answered and on which nothing arrived send from now on.
    pub(super) fn activate_due(&mut self, now: Milliseconds) {
        let due = |child: &ChildSa| match child.stage {
            Stage::Receiving { sends_at } => (sends_at <= now).then_some(child.inbound.spi),
            Stage::Active | Stage::Replaced { .. } | Stage::Closing | Stage::Lingering { .. } => None,
        };
        for spi in self.children.iter().filter_map(due).collect::<Vec<_>>() {
            self.activate(now, spi, false);
        }
    }

    /// Seals with this child SA from now on. What sent until now is replaced; `ours`: it is ours to delete.
    pub(super) fn activate(&mut self, now: Milliseconds, spi: u32, ours: bool) {
        // One that was replaced meanwhile does not come back.
        let wanted = |child: &ChildSa| child.inbound.spi == spi && child.may_send();
        let Some(at) = self.children.iter().position(wanted) else {
            return;
        };
        let (name, workers) = (self.children[at].name.clone(), self.children[at].workers);
        for (other, child) in self.children.iter_mut().enumerate() {
            if other == at {
                child.stage = Stage::Active;
            } else if child.stage == Stage::Active && (&child.name, child.workers) == (&name, workers) {
                child.replace(now, ours);
            }
        }
    }

    /// Packets passed in one direction: `last` is when the last authentic one came.
    pub(crate) fn passed(&mut self, now: Milliseconds, spi: u32, last: Option<Heard>, packets: u64, bytes: u64) {
        let Some(child) = self.children.iter_mut().find(|child| child.inbound.spi == spi) else {
            return;
        };
        if packets >= child.packets_max || bytes >= child.bytes_max {
            child.rekey_at = child.rekey_at.min(now);
            // Said once: when a refused one is tried again is no matter of volume.
            (child.packets_max, child.bytes_max) = (u64::MAX, u64::MAX);
        }
        let (created, receives) = (child.created, matches!(child.stage, Stage::Receiving { .. }));
        let Some(last) = last.filter(|last| last.at >= created) else {
            return;
        };
        if last.is_new {
            self.heard = self.heard.max(last.at);
            self.packets_heard = self.packets_heard.max(last.at);
        }
        if receives {
            // RFC 7296 §2.8: the peer uses it, so it has it.
            self.activate(now, spi, false);
        }
    }
}
