//! What is stored before anything leaves, and how a restarted process goes on with it.

use super::Endpoint;
use super::down::DOWN;
use crate::now::Now;
use crate::sa::{IkeSa, SaId, State};
use core::fmt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// First byte of a record. Moves whenever what an IKE SA keeps does: an older release's record is then refused, not misread.
const FORMAT: u8 = 7;

/// All that changed since the last commit: to be stored together or not at all.
#[derive(Debug, Default)]
pub struct Commit {
    /// New contents.
    pub put: Vec<Record>,
    /// Records that are gone.
    pub removed: Vec<SaId>,
}

/// One IKE SA, as stored. It holds keys. One more record holds the names of the tunnels that are to stay down.
pub struct Record {
    /// Whose; 0 for the names.
    pub id: SaId,
    /// Its state; wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({:?}, {} bytes)", self.id, self.bytes.len())
    }
}

/// A record that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreError(pub SaId);

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DOWN => f.write_str("which tunnels were taken down cannot be read; take them down again"),
            SaId(id) => write!(
                f,
                "the stored state of IKE SA {id} cannot be read; its tunnel negotiates anew"
            ),
        }
    }
}

impl Endpoint {
    /// What to store before anything else is done; none if nothing changed.
    pub fn take_commit(&mut self) -> Option<Commit> {
        let dirty = core::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return None;
        }
        let mut commit = Commit::default();
        for id in dirty {
            match self.sas.get(&id) {
                None if id == DOWN => commit.put.extend(self.down_record()),
                Some(sa) => commit.put.extend(record(sa)),
                None => commit.removed.push(id),
            }
        }
        Some(commit)
    }

    /// A commit that could not be stored: it is part of the next one.
    pub fn uncommitted(&mut self, commit: &Commit) {
        self.dirty.extend(commit.removed.iter().copied());
        self.dirty.extend(commit.put.iter().map(|record| record.id));
    }

    /// Whether there is something to store.
    pub fn has_commit(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes stored IKE SAs over, before [`configure`](Self::configure). Requests that were under way are sent again, the very same bytes.
    pub fn restore(
        &mut self,
        now: Now,
        records: impl IntoIterator<Item = (SaId, Zeroizing<Vec<u8>>)>,
    ) -> Vec<RestoreError> {
        let mut errors = Vec::new();
        for (id, bytes) in records {
            self.next_id = self.next_id.max(id.0.saturating_add(1));
            if id == DOWN {
                match read(&bytes) {
                    Some(down) => self.down = down,
                    None => errors.push(RestoreError(id)),
                }
                continue;
            }
            match read::<IkeSa>(&bytes).filter(|sa| sa.id == id) {
                Some(sa) => self.take_over(now, sa),
                None => errors.push(RestoreError(id)),
            }
        }
        self.children_changed = true;
        errors
    }

    fn take_over(&mut self, now: Now, sa: IkeSa) {
        let mut sa = Box::new(sa);
        sa.sender.hurry(now.monotonic);
        if let State::InitAnswered(_) = sa.state {
            self.admission.opened(sa.path, sa.peer_spi, sa.id);
        }
        self.insert(sa);
    }
}

fn record(sa: &IkeSa) -> Option<Record> {
    write(sa.id, sa)
}

pub(super) fn write(id: SaId, what: &impl Serialize) -> Option<Record> {
    // A buffer that grows leaves copies of keys behind.
    let Length(length) = postcard::to_extend(what, Length(1)).ok()?;
    let mut bytes = Vec::with_capacity(length);
    bytes.push(FORMAT);
    let bytes = Zeroizing::new(postcard::to_extend(what, bytes).ok()?);
    Some(Record { id, bytes })
}

/// Counts bytes instead of keeping them.
struct Length(usize);

impl Extend<u8> for Length {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0 += bytes.into_iter().count();
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).ok(),
        Some(_) | None => None,
    }
}
