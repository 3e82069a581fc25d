//! Which layout this program was built for: both processes must agree on it before they share memory.

use crate::fate::COUNTERS_PER_PORT;
use crate::layout::SECTION_COUNT;

/// Moved by hand whenever the meaning of a word in the state region, of an index section, or of a message changes.
pub const LAYOUT_VERSION: u32 = 10;

/// A hash over the definitions of everything that lies in shared memory: comments and indentation do not count.
pub const LAYOUT_HASH: u64 = {
    let mut hash = mix(0xcbf2_9ce4_8422_2325, LAYOUT_VERSION as u64);
    hash = mix(hash, SECTION_COUNT as u64);
    hash = mix(hash, COUNTERS_PER_PORT as u64);
    hash = source(hash, include_bytes!("layout/records.rs"));
    hash = source(hash, include_bytes!("layout/section.rs"));
    hash = source(hash, include_bytes!("layout/bundles.rs"));
    hash = source(hash, include_bytes!("layout/next_hop.rs"));
    hash = source(hash, include_bytes!("fate.rs"));
    hash = source(hash, include_bytes!("state/parts.rs"));
    source(hash, include_bytes!("events.rs"))
};

const PRIME: u64 = 0x0000_0100_0000_01b3;

/// One step of FNV-1a with a whole word.
const fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(PRIME)
}

/// The bytes of a source file, line by line, without blanks and without comment lines.
const fn source(mut hash: u64, text: &[u8]) -> u64 {
    let mut at = 0;
    let mut line_is_comment = false;
    let mut line_is_empty = true;
    while at < text.len() {
        let byte = text[at];
        if byte == b'\n' {
            line_is_comment = false;
            line_is_empty = true;
        } else if byte != b' ' {
            if line_is_empty && byte == b'/' && at + 1 < text.len() && text[at + 1] == b'/' {
                line_is_comment = true;
            }
            line_is_empty = false;
            if !line_is_comment {
                hash = mix(hash, byte as u64);
            }
        }
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_do_not_count_but_code_does() {
        let plain = source(1, b"a: u32,\nb: u16,\n");
        assert_eq!(
            plain,
            source(1, b"/// What a is.\n  a: u32,\n\n    // b\n    b: u16,\n")
        );
        assert_ne!(plain, source(1, b"a: u32,\nb: u32,\n"));
        assert_ne!(plain, source(1, b"b: u16,\na: u32,\n"));
    }
}
