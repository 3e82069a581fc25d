//! Length fields.

use super::error::TooLarge;

/// Appends what `body` writes behind `before`, with the length of both in the 16 bits that start at `length_at` of `before`.
pub(super) fn framed(
    out: &mut Vec<u8>,
    before: &[u8],
    length_at: usize,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLarge>,
) -> Result<(), TooLarge> {
    let start = out.len();
    out.extend_from_slice(before);
    body(out)?;
    let length = u16::try_from(out.len() - start).map_err(|_| TooLarge)?;
    let field = out.get_mut(start + length_at..start + length_at + 2).ok_or(TooLarge)?;
    field.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A count of at most 255.
pub(super) fn count(of: usize) -> Result<u8, TooLarge> {
    u8::try_from(of).map_err(|_| TooLarge)
}
