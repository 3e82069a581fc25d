//! ChaCha20-Poly1305: one job per packet, finished when it is submitted. The library's direct calls for it exist, too, and cost
//! 230 cycles more per packet. Jobs come from a manager, which serves one thread: each thread has its own.

use crate::library::Library;
use crate::manager::{Head, Job, Manager};
use crate::{Block, TAG_BYTES, Tag, Unauthentic, same, sealed_parts, wipe};
use core::cell::OnceCell;
use zeroize::Zeroize;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: u64 = 12;
/// `IMB_CIPHER_CHACHA20_POLY1305`
const CIPHER: u32 = 19;
/// `IMB_AUTH_CHACHA20_POLY1305`
const HASH: u32 = 29;
/// `IMB_STATUS_COMPLETED`
const COMPLETED: u32 = 3;

/// `IMB_DIR_…` and `IMB_ORDER_…`: encrypt and hash what came out, or hash and decrypt.
#[derive(Clone, Copy)]
enum Direction {
    Seal = 1,
    Open = 2,
}

thread_local! {
    static MANAGER: OnceCell<Option<Manager>> = const { OnceCell::new() };
}

impl Library {
    /// Makes this thread's manager (200 KiB, 150 µs), so that its first packet need not. False without memory.
    pub fn prepare_thread(&self) -> bool {
        MANAGER.with(|cell| cell.get_or_init(|| Manager::of(self)).is_some())
    }
}

/// A key. Overwritten on drop; never `Debug`, `Clone` or compared.
pub struct ChaChaKey {
    key: [u8; KEY_BYTES],
    library: &'static Library,
}

impl ChaChaKey {
    /// Takes a key of 32 bytes; `None` for other lengths.
    pub fn new(library: &'static Library, key: &[u8]) -> Option<Self> {
        let key = key.try_into().ok()?;
        Some(ChaChaKey { key, library })
    }

    /// Encrypts `source` into the start of `destination`, the tag behind it; `None` if both do not fit.
    #[inline]
    pub fn seal(&self, nonce: &Block, associated: &[u8], source: &[u8], destination: &mut [u8]) -> Option<()> {
        let (destination, behind) = destination.split_at_mut_checked(source.len())?;
        let place = behind.first_chunk_mut()?;
        let (to, from) = (destination.as_mut_ptr(), source.as_ptr());
        // SAFETY: both are as long as `source`, and being a shared and a unique borrow they do not overlap.
        *place = unsafe { self.crypt(Direction::Seal, nonce, associated, from, to, source.len()) }?;
        Some(())
    }

    /// Encrypts `data` in place; returns the tag. `None` only without memory for this thread's manager.
    #[inline]
    pub fn seal_in_place(&self, nonce: &Block, associated: &[u8], data: &mut [u8]) -> Option<Tag> {
        let at = data.as_mut_ptr();
        // SAFETY: `at` begins `data.len()` bytes that may be read and written; the library encrypts in place.
        unsafe { self.crypt(Direction::Seal, nonce, associated, at, at, data.len()) }
    }

    /// Decrypts `buffer[from..]`, ciphertext then tag, to the start of `buffer`; returns the plaintext's length.
    /// On failure what was decrypted is wiped.
    #[inline]
    pub fn open_shifting(
        &self,
        nonce: &Block,
        associated: &[u8],
        buffer: &mut [u8],
        from: usize,
    ) -> Result<usize, Unauthentic> {
        let (length, received) = sealed_parts(buffer, from)?;
        let ciphertext = &mut buffer[from..from + length];
        let at = ciphertext.as_mut_ptr();
        // Not to the front at once: beyond 1,984 bytes the library reads ciphertext that it has already overwritten.
        // SAFETY: `at` begins `length` bytes that may be read and written; the library decrypts in place.
        let computed = unsafe { self.crypt(Direction::Open, nonce, associated, at, at, length) };
        if computed.is_some_and(|computed| same(computed, received)) {
            buffer.copy_within(from..from + length, 0);
            return Ok(length);
        }
        wipe(ciphertext);
        Err(Unauthentic)
    }

    /// # Safety
    /// `from` begins `length` readable bytes and `to` as many writable ones, the same or disjoint.
    #[inline]
    unsafe fn crypt(
        &self,
        direction: Direction,
        nonce: &Block,
        associated: &[u8],
        from: *const u8,
        to: *mut u8,
        length: usize,
    ) -> Option<Tag> {
        let mut tag = [0; TAG_BYTES];
        let filled = Job {
            seal_key: self.key.as_ptr(),
            open_key: self.key.as_ptr(),
            key_bytes: KEY_BYTES as u64,
            source: from,
            destination: to,
            cipher_offset: 0,
            cipher_bytes: length as u64,
            hash_offset: 0,
            hash_bytes: length as u64,
            nonce: nonce.bytes().as_ptr(),
            nonce_bytes: NONCE_BYTES,
            tag: tag.as_mut_ptr(),
            tag_bytes: TAG_BYTES as u64,
            associated: associated.as_ptr(),
            associated_bytes: associated.len() as u64,
            context: core::ptr::null_mut(),
            status: 0,
            cipher: CIPHER,
            direction: direction as u32,
            hash: HASH,
            // Cipher then hash is 1, hash then cipher 2: the numbers of the directions.
            order: direction as u32,
        };
        self.with_manager(|manager| {
            // SAFETY: the manager is this thread's own and no job of it is unfinished.
            let job = unsafe { (self.library.next_job)(manager) };
            // SAFETY: the job is the caller's until it is submitted, and `Job` is the head of its layout. What the pointers in it
            // point to outlives the call of `submit_job`, which finishes the job.
            unsafe { job.write(filled) };
            // SAFETY: the job that was handed out last is filled.
            let done = unsafe { (self.library.submit_job)(manager) };
            // SAFETY: the job's memory is the manager's.
            done == job && unsafe { (*job).status } == COMPLETED
        })?
        .then_some(tag)
    }

    #[inline]
    fn with_manager<T>(&self, act: impl FnOnce(*mut Head) -> T) -> Option<T> {
        MANAGER.with(|cell| {
            let manager = cell.get_or_init(|| Manager::of(self.library)).as_ref()?;
            Some(act(manager.pointer()))
        })
    }
}

impl Drop for ChaChaKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}
