//! The library's manager: its state, and the table of functions that it chose for this CPU.
//!
//! The layouts are those of `intel-ipsec-mb.h` 1.3; `tests/layout.rs` asks the C compiler whether that is so.

use crate::library::{Entry, Library};
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;

/// AES-GCM of one packet: key, scratch, destination, source, bytes, IV, associated data and its bytes, tag and its bytes.
pub(crate) type GcmCrypt =
    unsafe extern "C" fn(*const c_void, *mut c_void, *mut u8, *const u8, u64, *const u8, *const u8, u64, *mut u8, u64);
/// Expands a key.
pub(crate) type GcmExpand = unsafe extern "C" fn(*const u8, *mut c_void);
/// The next free job.
pub(crate) type NextJob = unsafe extern "C" fn(*mut Head) -> *mut Job;
/// Runs the job that was handed out last; the answer is the oldest finished one.
pub(crate) type SubmitJob = unsafe extern "C" fn(*mut Head) -> *mut Job;

/// The head of `IMB_MGR`. The library only ever appends to it within one major version.
#[repr(C)]
pub(crate) struct Head {
    flags: u64,
    pub(crate) features: u64,
    reserved: [u64; 5],
    used_arch: u32,
    errno: i32,
    pub(crate) next_job: Option<NextJob>,
    submit_job: usize,
    pub(crate) submit_job_nocheck: Option<SubmitJob>,
    others: [usize; 21],
    pub(crate) gcm128_seal: Option<GcmCrypt>,
    gcm192_seal: usize,
    pub(crate) gcm256_seal: Option<GcmCrypt>,
    pub(crate) gcm128_open: Option<GcmCrypt>,
    gcm192_open: usize,
    pub(crate) gcm256_open: Option<GcmCrypt>,
    more: [usize; 18],
    pub(crate) gcm128_expand: Option<GcmExpand>,
    gcm192_expand: usize,
    pub(crate) gcm256_expand: Option<GcmExpand>,
}

const _: () = {
    assert!(offset_of!(Head, next_job) == 64);
    assert!(offset_of!(Head, submit_job_nocheck) == 80);
    assert!(offset_of!(Head, gcm128_seal) == 256);
    assert!(offset_of!(Head, gcm256_open) == 296);
    assert!(offset_of!(Head, gcm256_expand) == 464);
    assert!(offset_of!(Job, nonce) == 72);
    assert!(offset_of!(Job, associated) == 104);
    assert!(offset_of!(Job, status) == 128);
    assert!(offset_of!(Job, order) == 144);
};

/// The head of `IMB_JOB`, with the fields of ChaCha20-Poly1305 in its union.
#[repr(C)]
pub(crate) struct Job {
    pub(crate) seal_key: *const u8,
    pub(crate) open_key: *const u8,
    pub(crate) key_bytes: u64,
    pub(crate) source: *const u8,
    pub(crate) destination: *mut u8,
    pub(crate) cipher_offset: u64,
    pub(crate) cipher_bytes: u64,
    pub(crate) hash_offset: u64,
    pub(crate) hash_bytes: u64,
    pub(crate) nonce: *const u8,
    pub(crate) nonce_bytes: u64,
    pub(crate) tag: *mut u8,
    pub(crate) tag_bytes: u64,
    pub(crate) associated: *const u8,
    pub(crate) associated_bytes: u64,
    pub(crate) context: *mut c_void,
    pub(crate) status: u32,
    pub(crate) cipher: u32,
    pub(crate) direction: u32,
    pub(crate) hash: u32,
    pub(crate) order: u32,
}

/// An `IMB_MGR` of the library's own memory. Not `Sync`: its jobs are for one thread at a time.
pub(crate) struct Manager {
    head: NonNull<Head>,
    entry: Entry,
}

impl Manager {
    /// Allocates one and lets it choose the functions for this CPU; `None` without memory.
    pub(crate) fn new(entry: Entry) -> Option<Self> {
        // SAFETY: the signature is that of `alloc_mb_mgr`; 0 asks for nothing special.
        let head = unsafe { (entry.allocate)(0) };
        let manager = Manager {
            head: NonNull::new(head)?,
            entry,
        };
        // SAFETY: the manager was just allocated and nobody else has it; the library may be told to report no architecture.
        unsafe { (entry.initialize)(head, core::ptr::null_mut()) };
        Some(manager)
    }

    pub(crate) fn of(library: &Library) -> Option<Self> {
        Self::new(library.entry)
    }

    pub(crate) fn head(&self) -> &Head {
        // SAFETY: the library allocated and initialized it, and it lives as long as `self`. Of what `Head` covers, jobs write
        // only `errno`, during `submit`, when no such reference lives.
        unsafe { self.head.as_ref() }
    }

    pub(crate) fn pointer(&self) -> *mut Head {
        self.head.as_ptr()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: it came from `alloc_mb_mgr` and is freed once.
        unsafe { (self.entry.free)(self.head.as_ptr()) };
    }
}
