//! The tables region: a root page that names the current generation, a page of generation directories, then extents.
//!
//! A directory says for each section where its bytes lie. Generation *g* has directory slot *g* mod [`SLOTS`]; control
//! fills a slot only when the generation that had it is out of use. Offsets, never pointers; workers map the region read-only
//! and check every offset before they use it.

use crate::identity::{LAYOUT_HASH, LAYOUT_VERSION};
use crate::layout::SECTION_COUNT;
use crate::publish_protocol::current;
use crate::region::{Access, Region};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const MAGIC: u64 = u64::from_be_bytes(*b"TmbTable");
/// Generations that can be in use at once, the one being written included.
pub(crate) const SLOTS: usize = 8;
const SLOT_WORDS: usize = 64;
const DIRECTORY_OFFSET: usize = 4096;
const ROOT_WORDS: usize = DIRECTORY_OFFSET / 8;
const WORD_MAGIC: usize = 0;
const WORD_VERSION: usize = 1;
const WORD_HASH: usize = 2;
const WORD_LENGTH: usize = 3;
const WORD_CURRENT: usize = 8;
/// Sections start at multiples of this.
pub(crate) const EXTENT_ALIGN: usize = 64;
/// Where extents may lie, to the end of the region.
pub(crate) const EXTENTS_FROM: usize = DIRECTORY_OFFSET + SLOTS * SLOT_WORDS * 8;

const _: () = assert!(2 * SECTION_COUNT < SLOT_WORDS);

/// The bytes of one section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// From the region's start; 0 if there are no bytes.
    pub(crate) offset: usize,
    /// Length in bytes as published.
    pub(crate) bytes: usize,
}

/// Where the sections of one generation lie.
pub(crate) type Directory = [Extent; SECTION_COUNT];

/// Why memory is no tables region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TablesError {
    /// Too small for even the root and the directories.
    RegionTooSmall(usize),
    /// The region may only be read.
    ReadOnly,
    /// No magic: something else, or a region whose maker died before it was complete.
    NotTables,
    /// Made by a program with other record formats.
    OtherLayout {
        /// Its layout version.
        version: u64,
        /// Its layout hash.
        hash: u64,
    },
    /// The root contradicts the region.
    WrongLength(u64),
    /// The directory of a generation in use names bytes outside the region, or the same bytes twice in different ways.
    Directory(u64),
    /// Another publisher of this process writes it.
    PublisherTaken,
}

impl fmt::Display for TablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TablesError::RegionTooSmall(bytes) => write!(f, "a region of {bytes} bytes is too small for tables"),
            TablesError::ReadOnly => f.write_str("the tables region may only be read"),
            TablesError::NotTables => f.write_str("the region is no complete tables region"),
            TablesError::OtherLayout { version, hash } => write!(
                f,
                "the tables have layout {version} ({hash:016x}), this program {LAYOUT_VERSION} ({LAYOUT_HASH:016x}): \
                 tombolod and tombolo-dataplane must be of one release"
            ),
            TablesError::WrongLength(bytes) => write!(f, "the tables say they are {bytes} bytes long and are not"),
            TablesError::Directory(generation) => write!(f, "the directory of generation {generation} is impossible"),
            TablesError::PublisherTaken => f.write_str("the tables region has a publisher already"),
        }
    }
}

impl std::error::Error for TablesError {}

/// The tables region, checked: control publishes into it, workers read generations from it.
#[derive(Debug)]
pub struct TablesRegion {
    region: Region,
    publisher_taken: AtomicBool,
}

impl TablesRegion {
    /// Prepares a fresh, zeroed region: no generation yet.
    pub fn create(region: Region) -> Result<TablesRegion, TablesError> {
        let tables = TablesRegion::over(region)?;
        if tables.region.access() != Access::ReadWrite {
            return Err(TablesError::ReadOnly);
        }
        let root = tables.root();
        root[WORD_VERSION].store(u64::from(LAYOUT_VERSION), Ordering::Relaxed);
        root[WORD_HASH].store(LAYOUT_HASH, Ordering::Relaxed);
        root[WORD_LENGTH].store(tables.region.len() as u64, Ordering::Relaxed);
        root[WORD_MAGIC].store(MAGIC, Ordering::Release);
        Ok(tables)
    }

    /// Checks a region that another process prepared. Workers give a region mapped read-only.
    pub fn open(region: Region) -> Result<TablesRegion, TablesError> {
        let tables = TablesRegion::over(region)?;
        let word = |at: usize| tables.root()[at].load(Ordering::Relaxed);
        if current(&tables.root()[WORD_MAGIC]) != MAGIC {
            return Err(TablesError::NotTables);
        }
        let (version, hash) = (word(WORD_VERSION), word(WORD_HASH));
        if (version, hash) != (u64::from(LAYOUT_VERSION), LAYOUT_HASH) {
            return Err(TablesError::OtherLayout { version, hash });
        }
        if word(WORD_LENGTH) != tables.region.len() as u64 {
            return Err(TablesError::WrongLength(word(WORD_LENGTH)));
        }
        Ok(tables)
    }

    fn over(region: Region) -> Result<TablesRegion, TablesError> {
        if region.len() < EXTENTS_FROM + EXTENT_ALIGN {
            return Err(TablesError::RegionTooSmall(region.len()));
        }
        Ok(TablesRegion {
            region,
            publisher_taken: AtomicBool::new(false),
        })
    }

    /// The memory below, for its descriptor, length and page size.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The current generation; 0 before the first.
    pub fn current_generation(&self) -> u64 {
        current(self.current_word())
    }

    pub(crate) fn current_word(&self) -> &AtomicU64 {
        &self.root()[WORD_CURRENT]
    }

    fn root(&self) -> &[AtomicU64] {
        self.region.atomics(0, ROOT_WORDS).unwrap_or(&[])
    }

    fn slot(&self, slot: usize) -> &[AtomicU64] {
        self.region
            .atomics(DIRECTORY_OFFSET + slot * SLOT_WORDS * 8, SLOT_WORDS)
            .unwrap_or(&[])
    }

    /// The slot that a generation's directory takes.
    pub(crate) fn slot_of(generation: u64) -> usize {
        (generation % SLOTS as u64) as usize
    }

    /// The generation whose directory stands in a slot; 0 = none.
    pub(crate) fn slot_generation(&self, slot: usize) -> u64 {
        current(&self.slot(slot)[0])
    }

    /// Says that a slot holds no directory. Before a slot is filled and before its extents are reused.
    pub(crate) fn clear_slot(&self, slot: usize) {
        self.slot(slot)[0].store(0, Ordering::Release);
    }

    /// Fills a cleared slot. The number comes last: a slot that has one is complete.
    pub(crate) fn fill_slot(&self, generation: u64, directory: &Directory) {
        let words = self.slot(Self::slot_of(generation));
        for (at, extent) in directory.iter().enumerate() {
            words[1 + 2 * at].store(extent.offset as u64, Ordering::Release);
            words[2 + 2 * at].store(extent.bytes as u64, Ordering::Release);
        }
        words[0].store(generation, Ordering::Release);
    }

    /// A generation's directory, every extent inside the region and aligned; `None` otherwise.
    pub(crate) fn directory(&self, generation: u64) -> Option<Directory> {
        let words = self.slot(Self::slot_of(generation));
        if generation == 0 || current(&words[0]) != generation {
            return None;
        }
        let mut directory = [Extent::default(); SECTION_COUNT];
        for (at, extent) in directory.iter_mut().enumerate() {
            extent.offset = usize::try_from(words[1 + 2 * at].load(Ordering::Relaxed)).ok()?;
            extent.bytes = usize::try_from(words[2 + 2 * at].load(Ordering::Relaxed)).ok()?;
            self.bytes(*extent)?;
        }
        Some(directory)
    }

    /// The bytes of a section of a generation that the caller keeps in use (`Region::section` states the law).
    pub(crate) fn bytes(&self, extent: Extent) -> Option<&[u8]> {
        if extent.bytes == 0 {
            return Some(&[]);
        }
        if extent.offset < EXTENTS_FROM || !extent.offset.is_multiple_of(EXTENT_ALIGN) {
            return None;
        }
        self.region.section(extent.offset, extent.bytes)
    }

    /// Takes the right to publish; false if it is taken.
    pub(crate) fn claim_publisher(&self) -> bool {
        !self.publisher_taken.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn unclaim_publisher(&self) {
        self.publisher_taken.store(false, Ordering::Release);
    }
}
