//! The lookups of a whole batch: each pass asks for the memory of the next one, so that a batch waits for memory
//! once a pass and not once a packet.

use super::{PolicyQuery, PolicyVerdict, Tables};

impl Tables<'_> {
    /// [`policy`](Self::policy) for each query, as far as both slices reach.
    pub fn policy_batch(&self, queries: &[PolicyQuery], out: &mut [PolicyVerdict]) {
        for (query, out) in queries.iter().zip(out) {
            *out = self.policy(query);
        }
    }
}
