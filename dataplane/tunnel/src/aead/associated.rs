//! Associated data: a number that is at hand, or bytes in memory.

use tombolo_gcm::GcmKey;
use tombolo_ipsec_mb::Block;

/// What is authenticated and not encrypted.
#[derive(Clone, Copy, Debug)]
pub enum Associated<'a> {
    /// The first `length` (at most 16) bytes of a big-endian number; its others are zero. Never in memory where the provider does not
    /// want it there.
    Number {
        /// The number.
        number: u128,
        /// Bytes of it.
        length: usize,
    },
    /// Bytes, as many as you like.
    Bytes(&'a [u8]),
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Associated<'a> {
    fn from(bytes: &'a T) -> Self {
        Associated::Bytes(bytes.as_ref())
    }
}

impl<'a> Associated<'a> {
    #[inline]
    pub(super) fn number(self, key: &GcmKey) -> tombolo_gcm::Associated {
        match self {
            Associated::Number { number, length } => tombolo_gcm::Associated::short(number, length),
            Associated::Bytes(bytes) => key.associated(bytes),
        }
    }

    #[inline]
    pub(super) fn bytes(self) -> InMemory<'a> {
        match self {
            Associated::Number { number, length } => {
                let [low, high] = [number >> 64, number].map(|half| (half as u64).swap_bytes());
                InMemory::Own(Block::new(low, high), length)
            }
            Associated::Bytes(bytes) => InMemory::Theirs(bytes),
        }
    }
}

/// Associated data in memory; a number in one store, see [`Block`].
pub(super) enum InMemory<'a> {
    Own(Block, usize),
    Theirs(&'a [u8]),
}

impl AsRef<[u8]> for InMemory<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            InMemory::Own(block, length) => &block.bytes()[..*length],
            InMemory::Theirs(bytes) => bytes,
        }
    }
}
