//! A cache line per worker: which generation it uses, whether it is parked, and how far it has come.
//!
//! A worker writes its own slot; control and the other workers read it to know when memory that was taken out of use can
//! no longer be looked at. Two clocks serve two owners: the *announced generation* frees table memory (`publish_protocol`),
//! the *batch counter* frees sessions and mappings ([`Quiescence`]).

use crate::publish_protocol::{PARKED, begin_batch};
use crate::sync::Word;
use core::sync::atomic::{AtomicU64, Ordering};

/// Words of one worker's slot: two cache lines, since the adjacent-line prefetcher pairs them.
pub const WORKER_WORDS: usize = 16;

const WORD_ANNOUNCED: usize = 0;
const WORD_BATCHES: usize = 1;
const WORD_HEARTBEAT: usize = 2;
const WORD_REFUSED: usize = 3;
const WORD_INVALID_EVENTS: usize = 4;
const WORD_AEAD: usize = 5;

/// All worker slots.
#[derive(Clone, Copy, Debug)]
pub struct Workers<'m> {
    words: &'m [AtomicU64],
}

impl<'m> Workers<'m> {
    pub(super) fn new(words: &'m [AtomicU64]) -> Workers<'m> {
        Workers { words }
    }

    /// How many slots there are.
    pub fn count(self) -> usize {
        self.words.len() / WORKER_WORDS
    }

    /// One worker's slot.
    #[inline]
    pub fn slot(self, worker: usize) -> Option<WorkerSlot<'m>> {
        let first = worker.checked_mul(WORKER_WORDS)?;
        self.words
            .get(first..first.checked_add(WORKER_WORDS)?)
            .map(|words| WorkerSlot { words })
    }

    /// All slots, in order.
    pub fn iter(self) -> impl Iterator<Item = WorkerSlot<'m>> {
        self.words.chunks_exact(WORKER_WORDS).map(|words| WorkerSlot { words })
    }

    /// Marks every worker parked: nobody looks at the tables. True only when no worker runs: at creation, and after the
    /// dataplane's death.
    pub(crate) fn reset(self) {
        for slot in self.iter() {
            slot.announced().store(PARKED, Ordering::Release);
        }
    }

    /// Takes the batch counters now. What was unlinked before this call is out of every worker's sight once
    /// [`Quiescence::passed`] says so.
    pub fn quiescence(self, into: &mut Quiescence) {
        AtomicU64::fence(Ordering::SeqCst);
        into.batches.clear();
        into.batches
            .extend(self.iter().map(|slot| slot.batches().load(Ordering::Acquire)));
    }
}

/// One worker's slot.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSlot<'m> {
    words: &'m [AtomicU64],
}

impl<'m> WorkerSlot<'m> {
    #[inline]
    pub(crate) fn announced(self) -> &'m AtomicU64 {
        &self.words[WORD_ANNOUNCED]
    }

    #[inline]
    pub(crate) fn batches(self) -> &'m AtomicU64 {
        &self.words[WORD_BATCHES]
    }

    /// The generation in use; `None` while parked (or not running).
    pub fn generation(self) -> Option<u64> {
        Some(self.announced().load(Ordering::Acquire)).filter(|announced| *announced != PARKED)
    }

    /// Whether the worker sleeps or does not run.
    pub fn is_parked(self) -> bool {
        self.generation().is_none()
    }

    /// Batches begun since the region was made.
    pub fn batch_count(self) -> u64 {
        self.batches().load(Ordering::Acquire)
    }

    /// Says that a batch begins: what earlier batches saw is no longer looked at.
    #[inline]
    pub(crate) fn begin_batch(self) {
        begin_batch(self.batches());
    }

    /// Writes when the worker last ran its loop (monotonic nanoseconds).
    #[inline]
    pub fn beat(self, now_ns: u64) {
        self.words[WORD_HEARTBEAT].store(now_ns, Ordering::Relaxed);
    }

    /// When the worker last ran its loop (monotonic nanoseconds); 0 before it ever did.
    pub fn heartbeat_ns(self) -> u64 {
        self.words[WORD_HEARTBEAT].load(Ordering::Relaxed)
    }

    /// Says that a generation's sections were invalid, so that the older one stays in use.
    pub(crate) fn refuse(self, generation: u64) {
        self.words[WORD_REFUSED].store(generation, Ordering::Relaxed);
    }

    /// The last generation that this worker refused as invalid; 0 = none.
    pub fn refused(self) -> u64 {
        self.words[WORD_REFUSED].load(Ordering::Relaxed)
    }

    /// Writes who encrypts for this worker, as a number of `tombolo_tunnel::Provider`.
    pub fn encrypt_with(self, provider: u64) {
        self.words[WORD_AEAD].store(provider, Ordering::Relaxed);
    }

    /// Who encrypts for this worker, as a number of `tombolo_tunnel::Provider`; 0 before it ever ran.
    pub fn encrypts_with(self) -> u64 {
        self.words[WORD_AEAD].load(Ordering::Relaxed)
    }

    /// Records of this worker's event ring that control could not read (written by control).
    pub fn invalid_events(self) -> &'m AtomicU64 {
        &self.words[WORD_INVALID_EVENTS]
    }
}

/// Batch counters as they were when something was unlinked. Reused, so that workers need not allocate.
#[derive(Clone, Debug, Default)]
pub struct Quiescence {
    batches: Vec<u64>,
}

impl Quiescence {
    /// Room for `workers` counters, none taken yet.
    pub fn with_capacity(workers: usize) -> Quiescence {
        Quiescence {
            batches: Vec::with_capacity(workers),
        }
    }

    /// Whether every worker began another batch since, or is parked now. `own` is the asking worker, who knows what
    /// it looks at itself. False for counters taken from another number of workers.
    pub fn passed(&self, workers: Workers<'_>, own: Option<usize>) -> bool {
        self.batches.len() == workers.count()
            && self
                .batches
                .iter()
                .zip(workers.iter())
                .enumerate()
                .all(|(at, (then, slot))| {
                    Some(at) == own || slot.batches().load(Ordering::Acquire) != *then || slot.is_parked()
                })
    }
}
