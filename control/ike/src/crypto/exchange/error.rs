//! Why a key exchange came to nothing.

use crate::transform::Group;
use core::fmt;

/// Why there is no shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeError {
    /// The peer's public value has the wrong length.
    Length {
        /// Of this group.
        group: Group,
        /// Bytes that the group wants.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// The peer's public value is none of the group: not on the curve, out of range, a coefficient too large.
    NotOfTheGroup(Group),
    /// The peer's public value would make the shared secret known to everyone.
    Weak(Group),
    /// Our stored private value is none of its group: the stored state is damaged.
    Own(Group),
}

impl fmt::Display for KeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeError::Length { group, expected, got } => write!(
                f,
                "the peer's KE payload has {got} bytes where key exchange method {} has {expected}: the peer is broken",
                group.id()
            ),
            KeError::NotOfTheGroup(group) => write!(
                f,
                "the peer's KE payload holds no public value of key exchange method {}: the peer is broken or somebody attacks",
                group.id()
            ),
            KeError::Weak(group) => write!(
                f,
                "the peer's KE payload holds a value of key exchange method {} that makes the secret public: somebody attacks",
                group.id()
            ),
            KeError::Own(group) => write!(
                f,
                "our own stored private value of key exchange method {} is damaged; the exchange has to begin anew",
                group.id()
            ),
        }
    }
}

impl core::error::Error for KeError {}
