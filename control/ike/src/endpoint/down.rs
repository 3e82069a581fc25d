//! Tunnels that an operator took down. They stay so until told otherwise: beyond a restart, and while their secrets cannot be read.

use super::Endpoint;
use super::records::{Record, write};
use crate::sa::SaId;

/// The record that names them. Ids of IKE SAs begin with 1.
pub(super) const DOWN: SaId = SaId(0);

impl Endpoint {
    /// Whether an operator took it down.
    pub(super) fn is_down(&self, name: &str) -> bool {
        self.down.contains(name)
    }

    pub(super) fn set_down(&mut self, name: &str, is_down: bool) {
        let changed = match is_down {
            true => self.down.insert(name.to_owned()),
            false => self.down.remove(name),
        };
        if changed {
            self.dirty.insert(DOWN);
        }
    }

    /// Forgets those that are gone from the configuration.
    pub(super) fn forget_down(&mut self, is_configured: impl Fn(&str) -> bool) {
        let before = self.down.len();
        self.down
            .retain(|name| is_configured(name) || self.unready.contains(name));
        if self.down.len() != before {
            self.dirty.insert(DOWN);
        }
    }

    pub(super) fn down_record(&self) -> Option<Record> {
        write(DOWN, &self.down)
    }
}
