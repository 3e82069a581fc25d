//! Several tunnels that are used as one.

use super::TunnelIndex;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Shares of a bundle, each a fixed part of all flows: so many that each of sixteen members gets its part to within a few percent.
pub const BUNDLE_SHARES: usize = 256;

/// Tunnels to one peer that are used together. The planner gives the shares of a member that is down to the others; those of the
/// others stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BundleRecord {
    /// Operator's name, zero-padded.
    pub name: [u8; 32],
    /// `TunnelIndex` that carries the flows of each share.
    pub shares: [u32; BUNDLE_SHARES],
}

impl BundleRecord {
    /// The tunnel that carries flows of this share; shares beyond the last begin anew.
    #[inline]
    pub fn member(&self, share: u32) -> TunnelIndex {
        TunnelIndex(self.shares[share as usize % BUNDLE_SHARES])
    }

    /// Whether the tunnel carries any share.
    pub fn uses(&self, tunnel: TunnelIndex) -> bool {
        self.shares.contains(&tunnel.0)
    }
}
