//! What a worker tells control: into its ring, and once per batch a nudge on control's eventfd.

use std::os::fd::OwnedFd;
use tombolo_tables::events::{Event, EventWriter};
use tombolo_tables::state::State;

/// A worker's way to control.
pub struct Events<'m> {
    ring: Option<EventWriter<'m>>,
    pending: bool,
}

impl<'m> Events<'m> {
    /// The ring of `worker`; without one (a replay) nobody is told.
    pub fn new(state: &'m State, worker: usize) -> Self {
        Events {
            ring: EventWriter::new(state, worker),
            pending: false,
        }
    }

    /// Tells control something. A full ring loses it, counted; the next packet tells it again.
    pub fn push(&mut self, event: Event) {
        if let Some(ring) = &mut self.ring {
            ring.push(event);
            self.pending = true;
        }
    }

    /// Wakes control if there is news.
    pub fn nudge(&mut self, control: Option<&OwnedFd>) {
        if core::mem::take(&mut self.pending)
            && let Some(control) = control
        {
            // Fails only if control has not read 2^64 - 2 nudges: it is awake.
            let _ = rustix::io::write(control, &1u64.to_ne_bytes());
        }
    }
}
