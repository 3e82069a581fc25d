//! AES-GCM with 96-bit nonces: one indirect call per packet, no allocation, no lock, no state but the key.

use crate::library::{Gcm, Library};
use crate::manager::GcmCrypt;
use crate::{Block, TAG_BYTES, Tag, Unauthentic, same, sealed_parts, wipe};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use zeroize::Zeroize;

/// `struct gcm_key_data` of 1.3, aligned as it asks for: round keys, then powers of the hash key.
#[repr(C, align(64))]
struct Expanded([u8; 1024]);

/// `struct gcm_context_data` of 1.3 is 88 bytes: scratch, which the library fills before it reads it.
#[repr(C, align(64))]
struct Scratch(MaybeUninit<[u8; 128]>);

/// An expanded key of AES-128-GCM or AES-256-GCM. Overwritten on drop; never `Debug`, `Clone` or compared.
pub struct GcmKey {
    expanded: Expanded,
    seal: GcmCrypt,
    open: GcmCrypt,
}

impl GcmKey {
    /// Expands a key of 16 or 32 bytes; `None` for other lengths.
    pub fn new(library: &'static Library, key: &[u8]) -> Option<Self> {
        let Gcm { expand, seal, open } = match key.len() {
            16 => library.gcm128,
            32 => library.gcm256,
            _ => return None,
        };
        let mut new = GcmKey {
            expanded: Expanded([0; 1024]),
            seal,
            open,
        };
        let expanded: *mut c_void = new.expanded.0.as_mut_ptr().cast();
        // SAFETY: the key has the length that was just matched; `expanded` has the size and alignment of the library's struct.
        unsafe { expand(key.as_ptr(), expanded) };
        Some(new)
    }

    /// Encrypts `source` into the start of `destination`, the tag behind it; `None` if both do not fit.
    #[inline(always)]
    pub fn seal(&self, nonce: &Block, associated: &[u8], source: &[u8], destination: &mut [u8]) -> Option<()> {
        let destination = destination.get_mut(..source.len().checked_add(TAG_BYTES)?)?;
        let (to, from) = (destination.as_mut_ptr(), source.as_ptr());
        // SAFETY: it lies `TAG_BYTES` before the end of the destination.
        let tag = unsafe { to.add(source.len()) };
        // SAFETY: `source` and what is in front of the tag are equally long, and being a shared and a unique borrow they do not overlap;
        // `tag` begins the `TAG_BYTES` bytes behind.
        unsafe { self.crypt(self.seal, nonce, associated, from, to, source.len(), tag) };
        Some(())
    }

    /// Encrypts `data` in place; returns the tag.
    #[inline]
    pub fn seal_in_place(&self, nonce: &Block, associated: &[u8], data: &mut [u8]) -> Tag {
        let at = data.as_mut_ptr();
        let mut tag = [0; TAG_BYTES];
        // SAFETY: `at` begins `data.len()` bytes that may be read and written; the library encrypts in place.
        unsafe { self.crypt(self.seal, nonce, associated, at, at, data.len(), tag.as_mut_ptr()) };
        tag
    }

    /// Decrypts `buffer[from..]`, ciphertext then tag, to the start of `buffer`; returns the plaintext's length.
    /// On failure what was decrypted is wiped.
    #[inline(always)]
    pub fn open_shifting(
        &self,
        nonce: &Block,
        associated: &[u8],
        buffer: &mut [u8],
        from: usize,
    ) -> Result<usize, Unauthentic> {
        let (length, received) = sealed_parts(buffer, from)?;
        let to = buffer.as_mut_ptr();
        let mut computed = [0; TAG_BYTES];
        // SAFETY: `from` was just found to lie within the buffer.
        let source = unsafe { to.add(from) };
        // SAFETY: `length` bytes from `source` on lie within the buffer, hence those from its start do. The ranges may overlap
        // with the destination in front: the library goes forward, and reads each part before it writes that part
        // (`tests/shift.rs` tries every length; the order of its loads and stores depends on nothing but lengths).
        unsafe { self.crypt(self.open, nonce, associated, source, to, length, computed.as_mut_ptr()) };
        if same(computed, received) {
            return Ok(length);
        }
        wipe(&mut buffer[..length]);
        Err(Unauthentic)
    }

    /// # Safety
    /// `from` begins `length` readable bytes and `to` as many writable ones, the same, disjoint, or `to` in front; `tag` begins
    /// `TAG_BYTES` writable ones.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn crypt(
        &self,
        crypt: GcmCrypt,
        nonce: &Block,
        associated: &[u8],
        from: *const u8,
        to: *mut u8,
        length: usize,
        tag: *mut u8,
    ) {
        let mut scratch = Scratch(MaybeUninit::uninit());
        // SAFETY: the caller answers for `from`, `to` and `tag`; nonce (12 of 16 bytes) and associated data are as long as said; key and
        // scratch have the layout of the library's structs.
        unsafe {
            crypt(
                core::ptr::from_ref(&self.expanded).cast(),
                core::ptr::from_mut(&mut scratch).cast(),
                to,
                from,
                length as u64,
                nonce.bytes().as_ptr(),
                associated.as_ptr(),
                associated.len() as u64,
                tag,
                TAG_BYTES as u64,
            );
        }
    }
}

impl Drop for GcmKey {
    fn drop(&mut self) {
        self.expanded.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::ManuallyDrop;

    #[test]
    fn a_dropped_key_leaves_nothing() {
        let Ok(library) = Library::load() else {
            return; // `tests/here.rs` says so
        };
        let mut key = ManuallyDrop::new(GcmKey::new(library, &[7; 32]).expect("32 bytes"));
        assert!(key.expanded.0.iter().filter(|byte| **byte != 0).count() > 500);
        // SAFETY: it is dropped once, here; its bytes stay readable, and nothing in it points anywhere.
        unsafe { ManuallyDrop::drop(&mut key) };
        assert!(key.expanded.0.iter().all(|byte| *byte == 0));
    }
}
