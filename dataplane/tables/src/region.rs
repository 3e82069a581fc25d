//! A piece of shared memory: a sealed memfd and its mapping. Every `unsafe` of this crate is in this file and its neighbours
//! `region_*.rs`.
//!
//! A region is made by `tombolod` and mapped by both processes. What it holds is the matter of [`crate::state`] (atomics
//! only) and of [`crate::publish`] (bytes that are written only while nobody may read them). The descriptor of a region may
//! come from the other process: it is trusted only as far as [`Region::from_fd`] checks it (sealed against shrinking, so
//! that no access can meet a hole in the file).

use core::ffi::c_void;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Whether a region may lie on huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Ordinary pages.
    Never,
    /// 2 MiB pages where the administrator reserved enough, else ordinary pages.
    WhereReserved,
}

/// What this process may do with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read only: the kernel stops a stray write.
    ReadOnly,
}

/// Why a region could not be made or mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// The kernel refused a step.
    System {
        /// The step, as a verb phrase.
        step: &'static str,
        /// The kernel's answer.
        error: Errno,
    },
    /// A size of zero, or one that this machine cannot address.
    BadSize(u64),
    /// The descriptor is not sealed against shrinking, so its owner could make us crash.
    NotSealed,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::System { step, error } => write!(f, "cannot {step}: {error}"),
            RegionError::BadSize(bytes) => write!(f, "{bytes} bytes is no possible size of a shared region"),
            RegionError::NotSealed => f.write_str("the shared region is not sealed against shrinking"),
        }
    }
}

impl std::error::Error for RegionError {}

const HUGE_PAGE: usize = 2 << 20;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// A mapped piece of shared memory. Unmapped and closed on drop.
pub struct Region {
    fd: OwnedFd,
    mapping: Mapping,
    page_size: usize,
    access: Access,
}

impl Region {
    /// Makes a zeroed region of at least `bytes` bytes (rounded up to whole pages), sealed, prefaulted and kept out of
    /// core dumps. `name` shows in `/proc/PID/maps`.
    pub fn create(name: &str, bytes: usize, huge: HugePages) -> Result<Region, RegionError> {
        if huge == HugePages::WhereReserved {
            let flags = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
            // No huge pages reserved, or too few: the ordinary ones below always work.
            if let Ok(region) = Self::create_on(name, bytes, HUGE_PAGE, flags) {
                return Ok(region);
            }
        }
        Self::create_on(name, bytes, rustix::param::page_size(), MemfdFlags::empty())
    }

    /// Makes a region for secrets: sized and sealed against shrinking alone, but not mapped here. Whoever may see the secrets maps
    /// it as a [`SecretRegion`](crate::region_secrets::SecretRegion); the dataplane only holds the descriptor.
    pub fn create_secret(name: &str, bytes: usize) -> Result<OwnedFd, RegionError> {
        let len = round_up(bytes, rustix::param::page_size())?;
        sealed_memfd(name, len, MemfdFlags::empty(), SealFlags::SHRINK | SealFlags::SEAL)
    }

    /// Maps a region that another process made, for reading and writing.
    pub fn from_fd(fd: OwnedFd) -> Result<Region, RegionError> {
        Self::from_fd_with(fd, Access::ReadWrite)
    }

    /// Maps a region that another process made, for reading only.
    pub fn from_fd_read_only(fd: OwnedFd) -> Result<Region, RegionError> {
        Self::from_fd_with(fd, Access::ReadOnly)
    }

    fn from_fd_with(fd: OwnedFd, access: Access) -> Result<Region, RegionError> {
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|error| system("read the region's seals", error))?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(RegionError::NotSealed);
        }
        let stat = rustix::fs::fstat(&fd).map_err(|error| system("read the region's size", error))?;
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let len = usize::try_from(bytes).map_err(|_| RegionError::BadSize(bytes))?;
        let filesystem = rustix::fs::fstatfs(&fd).map_err(|error| system("read the region's page size", error))?;
        let huge = filesystem.f_type as u64 == HUGETLBFS_MAGIC;
        let page_size = if huge {
            filesystem.f_bsize as usize
        } else {
            rustix::param::page_size()
        };
        Self::map(fd, len, page_size, access)
    }

    fn create_on(name: &str, bytes: usize, page_size: usize, flags: MemfdFlags) -> Result<Region, RegionError> {
        let len = round_up(bytes, page_size)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        let fd = sealed_memfd(name, len, flags, seals)?;
        Self::map(fd, len, page_size, Access::ReadWrite)
    }

    fn map(fd: OwnedFd, len: usize, page_size: usize, access: Access) -> Result<Region, RegionError> {
        let mapping = Mapping::new(&fd, len, access, MapFlags::POPULATE)?;
        Ok(Region {
            fd,
            mapping,
            page_size,
            access,
        })
    }

    /// The memfd, to be handed to the other process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Length in bytes: a whole number of pages.
    #[inline]
    pub fn len(&self) -> usize {
        self.mapping.len
    }

    /// Never: a region has at least one page.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of one page of it: shown in status.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// What this process may do with it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The `words` words from `byte_offset` on as atomics; `None` unless they lie inside and are aligned. Stores need
    /// [`Access::ReadWrite`]; the loads of a read-only region must be relaxed (with a fence for more).
    #[inline]
    pub(crate) fn atomics(&self, byte_offset: usize, words: usize) -> Option<&[AtomicU64]> {
        if !byte_offset.is_multiple_of(8) {
            return None;
        }
        let first = self.mapping.at(byte_offset, words.checked_mul(8)?)?;
        // SAFETY: `at` checked the bounds; the mapping is page-aligned and the offset a multiple of 8; it lives as long
        // as `self`; parts of a region that are taken as atomics are never taken as bytes (state and root page).
        Some(unsafe { core::slice::from_raw_parts(first.as_ptr().cast::<AtomicU64>(), words) })
    }

    /// Bytes of a published section. Law of the crate (kept by `publish.rs` and `reader.rs`, modelled in loom): while such a
    /// slice lives, its reader has announced a generation that holds these bytes, or is the publisher itself, so that
    /// nobody writes them.
    #[inline]
    pub(crate) fn section(&self, byte_offset: usize, bytes: usize) -> Option<&[u8]> {
        let first = self.mapping.at(byte_offset, bytes)?;
        // SAFETY: `at` checked the bounds; the mapping lives as long as `self`; by the law above nobody writes meanwhile.
        Some(unsafe { core::slice::from_raw_parts(first.as_ptr(), bytes) })
    }

    /// Copies bytes into free memory. The same law: nobody reads it before the generation that names it is published.
    /// False, and nothing is written, if they do not fit or the region is read-only.
    pub(crate) fn write(&self, byte_offset: usize, bytes: &[u8]) -> bool {
        let Some(first) = self.writable(byte_offset, bytes.len()) else {
            return false;
        };
        // SAFETY: `at` checked the bounds, the mapping is writable, and `bytes` cannot overlap memory that is free.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), first.as_ptr(), bytes.len()) };
        true
    }

    /// Copies `bytes` bytes of a section into free memory of the region. The same law and result as [`write`](Self::write); false, too,
    /// if the two overlap.
    pub(crate) fn copy(&self, from: usize, to: usize, bytes: usize) -> bool {
        let (Some(source), Some(target)) = (self.mapping.at(from, bytes), self.writable(to, bytes)) else {
            return false;
        };
        if from.abs_diff(to) < bytes {
            return false;
        }
        // SAFETY: `at` checked the bounds of both, the mapping is writable, and they do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(source.as_ptr(), target.as_ptr(), bytes) };
        true
    }

    /// Zeroes freed memory (it may have held keys). The same law and result as [`write`](Self::write).
    pub(crate) fn zero(&self, byte_offset: usize, bytes: usize) -> bool {
        let Some(first) = self.writable(byte_offset, bytes) else {
            return false;
        };
        // SAFETY: `at` checked the bounds, the mapping is writable, and nobody reads memory that is free.
        unsafe { core::ptr::write_bytes(first.as_ptr(), 0, bytes) };
        true
    }

    fn writable(&self, byte_offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        match self.access {
            Access::ReadWrite => self.mapping.at(byte_offset, bytes),
            Access::ReadOnly => None,
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Region({} bytes on pages of {}, {:?})",
            self.len(),
            self.page_size,
            self.access
        )
    }
}

pub(crate) fn system(step: &'static str, error: Errno) -> RegionError {
    RegionError::System { step, error }
}

fn round_up(bytes: usize, page_size: usize) -> Result<usize, RegionError> {
    match bytes.checked_next_multiple_of(page_size) {
        Some(len) if len > 0 && isize::try_from(len).is_ok() => Ok(len),
        Some(_) | None => Err(RegionError::BadSize(bytes as u64)),
    }
}

fn sealed_memfd(name: &str, len: usize, flags: MemfdFlags, seals: SealFlags) -> Result<OwnedFd, RegionError> {
    let fd = rustix::fs::memfd_create(name, flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|error| system("create a memfd", error))?;
    rustix::fs::ftruncate(&fd, len as u64).map_err(|error| system("size the memfd", error))?;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(|error| system("seal the memfd", error))?;
    Ok(fd)
}

/// The address range of a region in this process.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread; what may be written concurrently is only reached through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes of `fd` from its start on, mapped with further flags. What lies behind the file's end must not be touched.
    pub(crate) fn new(fd: &OwnedFd, len: usize, access: Access, further: MapFlags) -> Result<Mapping, RegionError> {
        if len == 0 || isize::try_from(len).is_err() {
            return Err(RegionError::BadSize(len as u64));
        }
        let protection = match access {
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
            Access::ReadOnly => ProtFlags::READ,
        };
        let flags = MapFlags::SHARED | further;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that exists.
        let address = unsafe { rustix::mm::mmap(core::ptr::null_mut(), len, protection, flags, fd, 0) }
            .map_err(|error| system("map the region", error))?;
        let base = NonNull::new(address.cast::<u8>()).ok_or(system("map the region", Errno::NOMEM))?;
        let mapping = Mapping { base, len };
        // SAFETY: the range is the mapping just made; the advice changes no content.
        unsafe { rustix::mm::madvise(mapping.base.as_ptr().cast::<c_void>(), len, Advice::LinuxDontDump) }
            .map_err(|error| system("keep the region out of core dumps", error))?;
        Ok(mapping)
    }

    /// The address of `byte_offset`, if `bytes` bytes from there lie inside.
    #[inline]
    pub(crate) fn at(&self, byte_offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        let end = byte_offset.checked_add(bytes)?;
        if end > self.len {
            return None;
        }
        // SAFETY: the offset is at most the length of the mapping, which is at most `isize::MAX`.
        Some(unsafe { self.base.add(byte_offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`; every borrow of it has ended with the region.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast::<c_void>(), self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;

    #[test]
    fn a_region_is_seen_alike_through_two_mappings() {
        let ours = Region::create("test", 5000, HugePages::WhereReserved).unwrap();
        let theirs = Region::from_fd(ours.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((ours.len() % ours.page_size(), ours.len()), (0, theirs.len()));
        assert_eq!(ours.page_size(), theirs.page_size());
        ours.atomics(4096, 2).unwrap()[1].store(7, Ordering::Release);
        assert_eq!(theirs.atomics(4104, 1).unwrap()[0].load(Ordering::Acquire), 7);
    }

    #[test]
    fn nothing_outside_can_be_named() {
        let region = Region::create("test", 4096, HugePages::Never).unwrap();
        assert!(region.atomics(0, 512).is_some());
        assert!(region.atomics(0, 513).is_none());
        assert!(region.atomics(4, 1).is_none());
        assert!(region.atomics(usize::MAX - 7, 1).is_none());
        assert!(region.atomics(0, usize::MAX / 4).is_none());
        assert!(region.section(4096, 0).is_some());
        assert!(region.section(4096, 1).is_none());
        assert!(!region.write(4090, &[0; 7]));
        assert!(!region.zero(0, 4097));
        assert!(region.write(0, b"ab") && region.copy(0, 4094, 2));
        assert_eq!(region.section(4094, 2), Some(b"ab".as_slice()));
        assert!(!region.copy(0, 4095, 2) && !region.copy(4095, 0, 2));
        assert!(!region.copy(0, 1, 2), "they overlap");
    }

    #[test]
    fn a_region_can_be_neither_shrunk_nor_grown() {
        let region = Region::create("test", 8192, HugePages::Never).unwrap();
        assert_eq!(rustix::fs::ftruncate(region.fd(), 4096), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(region.fd(), 1 << 20), Err(Errno::PERM));
    }

    #[test]
    fn an_unsealed_descriptor_is_refused() {
        let fd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        assert_eq!(Region::from_fd(fd).unwrap_err(), RegionError::NotSealed);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert_eq!(
            Region::create("test", 0, HugePages::Never).unwrap_err(),
            RegionError::BadSize(0)
        );
        assert!(matches!(
            Region::create("test", usize::MAX, HugePages::Never),
            Err(RegionError::BadSize(_))
        ));
    }

    #[test]
    fn a_read_only_region_refuses_writes() {
        let region = Region::create("test", 4096, HugePages::Never).unwrap();
        let view = Region::from_fd_read_only(region.fd().try_clone_to_owned().unwrap()).unwrap();
        assert!(!view.write(0, b"x"));
        assert!(!view.zero(0, 1));
        assert!(!view.copy(0, 8, 1));
        assert!(region.write(0, b"x"));
        assert_eq!(view.section(0, 1), Some(b"x".as_slice()));
    }

    #[test]
    fn regions_stay_out_of_core_dumps_and_are_resident() {
        let region = Region::create("test", 1 << 20, HugePages::Never).unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = format!("{:x}-", region.mapping.base.as_ptr() as usize);
        let entry = &smaps[smaps.find(&ours).unwrap()..];
        let line = |name: &str| entry.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("VmFlags:").contains(" dd"), "{}", line("VmFlags:"));
        assert!(line("Rss:").contains(" 1024 kB"), "{}", line("Rss:"));
    }

    #[test]
    fn a_secret_region_is_whole_pages() {
        let fd = Region::create_secret("secret", 100).unwrap();
        assert_eq!(
            rustix::fs::fstat(&fd).unwrap().st_size as usize,
            rustix::param::page_size()
        );
    }
}
