//! Bytes from front to back, none twice.

use super::error::Fault;

/// What has not been read yet.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Fault::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    /// A substructure whose length counts `before` bytes that are read already.
    pub(super) fn framed(&mut self, length: u16, before: usize) -> Result<Reader<'a>, Fault> {
        let inside = usize::from(length).checked_sub(before).ok_or(Fault::Short)?;
        self.take(inside).map(Reader)
    }

    /// Everything else.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Refuses what was not read.
    pub(super) fn end(self) -> Result<(), Fault> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Fault::LeftOver)
        }
    }
}
