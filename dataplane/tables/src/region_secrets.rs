//! The memory of secrets: a memfd that only control maps and that may grow. The dataplane holds the descriptor, so that a killed
//! control finds its secrets again; with both processes gone the kernel frees it.
//!
//! The address range of the largest size is taken at once, and only that part of it is touched which the file has: growing moves
//! no mapping, and no reference becomes stale. What lies in the words is control's own matter.

use crate::region::{Access, Mapping, RegionError, system};
use core::ffi::c_void;
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FallocateFlags, SealFlags};
use rustix::mm::{MapFlags, MlockFlags};

/// Largest size in bytes: addresses, not memory.
pub const SECRET_BYTES_MAX: usize = 256 << 20;

/// A mapped region of secrets. Unmapped and closed on drop.
pub struct SecretRegion {
    fd: OwnedFd,
    mapping: Mapping,
    /// Bytes that the file has at least: it is sealed against shrinking.
    len: AtomicUsize,
    locked: bool,
}

impl SecretRegion {
    /// Maps what [`Region::create_secret`](crate::region::Region::create_secret) made, here or in the process before this one.
    pub fn from_fd(fd: OwnedFd) -> Result<SecretRegion, RegionError> {
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|error| system("read the secrets' seals", error))?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(RegionError::NotSealed);
        }
        let stat = rustix::fs::fstat(&fd).map_err(|error| system("read the secrets' size", error))?;
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let len = usize::try_from(bytes)
            .ok()
            .filter(|len| (1..=SECRET_BYTES_MAX).contains(len) && len.is_multiple_of(rustix::param::page_size()))
            .ok_or(RegionError::BadSize(bytes))?;
        // Memory that is there cannot be missing at a write.
        rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, bytes)
            .map_err(|error| system("allocate the secrets' memory", error))?;
        let mapping = Mapping::new(&fd, SECRET_BYTES_MAX, Access::ReadWrite, MapFlags::NORESERVE)?;
        let locked = lock(&mapping);
        Ok(SecretRegion {
            fd,
            mapping,
            len: AtomicUsize::new(len),
            locked,
        })
    }

    /// The memfd, to be held by the other process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Length in bytes: a whole number of pages.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Never: it has at least one page.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether the kernel promised not to write it to a swap device while it is mapped.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// All words that there are now. More after [`grow`](Self::grow); those that there were stay where they are.
    pub fn words(&self) -> &[AtomicU64] {
        let len = self.len();
        match self.mapping.at(0, len) {
            // SAFETY: `at` checked that the range lies in the mapping, which is page-aligned and lives as long as `self`; the file
            // has these bytes for ever (sealed against shrinking); they are never taken as anything but atomics.
            Some(first) => unsafe { core::slice::from_raw_parts(first.as_ptr().cast::<AtomicU64>(), len / 8) },
            None => &[],
        }
    }

    /// Makes it at least `bytes` bytes long; the new words are zero. `BadSize` beyond [`SECRET_BYTES_MAX`].
    pub fn grow(&self, bytes: usize) -> Result<(), RegionError> {
        let had = self.len();
        let wanted = bytes
            .checked_next_multiple_of(rustix::param::page_size())
            .filter(|wanted| *wanted <= SECRET_BYTES_MAX)
            .ok_or(RegionError::BadSize(bytes as u64))?;
        if wanted <= had {
            return Ok(());
        }
        rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), had as u64, (wanted - had) as u64)
            .map_err(|error| system("grow the secrets' memory", error))?;
        self.len.fetch_max(wanted, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for SecretRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretRegion({} bytes)", self.len())
    }
}

/// Keeps the range off swap devices, page by page as they are touched. Fails without CAP_IPC_LOCK where the limit is small.
fn lock(mapping: &Mapping) -> bool {
    let Some(first) = mapping.at(0, SECRET_BYTES_MAX) else {
        return false;
    };
    // SAFETY: the range is a mapping of our own; locking changes no content and touches no page (ONFAULT).
    unsafe { rustix::mm::mlock_with(first.as_ptr().cast::<c_void>(), SECRET_BYTES_MAX, MlockFlags::ONFAULT) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Region;
    use rustix::io::Errno;

    fn region(bytes: usize) -> SecretRegion {
        SecretRegion::from_fd(Region::create_secret("secrets", bytes).unwrap()).unwrap()
    }

    fn again(region: &SecretRegion) -> SecretRegion {
        SecretRegion::from_fd(region.fd().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn it_grows_where_it_is_and_a_second_mapping_sees_it() {
        let region = region(4096);
        let first = &region.words()[0];
        first.store(7, Ordering::Relaxed);
        region.grow(3 << 20).unwrap();
        assert_eq!(region.len(), 3 << 20);
        assert!(core::ptr::eq(first, &region.words()[0]));
        region.words()[(3 << 17) - 1].store(9, Ordering::Relaxed);
        let other = again(&region);
        assert_eq!((other.len(), other.words()[0].load(Ordering::Relaxed)), (3 << 20, 7));
        assert_eq!(other.words().last().unwrap().load(Ordering::Relaxed), 9);
        region.grow(1).unwrap();
        assert_eq!(region.len(), 3 << 20, "it never shrinks");
    }

    #[test]
    fn there_is_an_end_to_growing_and_no_shrinking() {
        let region = region(8192);
        assert!(matches!(
            region.grow(SECRET_BYTES_MAX + 1),
            Err(RegionError::BadSize(_))
        ));
        assert!(matches!(region.grow(usize::MAX), Err(RegionError::BadSize(_))));
        assert_eq!(rustix::fs::ftruncate(region.fd(), 4096), Err(Errno::PERM));
    }

    #[test]
    fn what_is_no_region_of_secrets_is_refused() {
        let bare = |bytes: u64, seals: SealFlags| {
            use rustix::fs::MemfdFlags;
            let fd = rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::ftruncate(&fd, bytes).unwrap();
            rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
            SecretRegion::from_fd(fd).unwrap_err()
        };
        assert_eq!(bare(4096, SealFlags::GROW), RegionError::NotSealed);
        for bytes in [0, 100, SECRET_BYTES_MAX as u64 + 4096] {
            assert_eq!(bare(bytes, SealFlags::SHRINK), RegionError::BadSize(bytes));
        }
    }

    #[test]
    fn it_stays_out_of_core_dumps_and_off_the_swap_device() {
        let region = region(1 << 20);
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = format!("{:x}-", region.words().as_ptr() as usize);
        let entry = &smaps[smaps.find(&ours).unwrap()..];
        let flags = entry.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.contains(" dd"), "{flags}");
        assert_eq!(flags.contains(" lo"), region.is_locked(), "{flags}");
    }
}
