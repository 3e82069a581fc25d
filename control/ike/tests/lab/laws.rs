//! What must hold at every moment, whatever happens.

use super::{Host, Installed};
use std::collections::HashMap;

/// Bytes of the header of an IKE message.
const HEADER_BYTES: usize = 28;

/// Everything that was seen so far.
#[derive(Default)]
pub(crate) struct Laws {
    /// An IV of a key is for one datagram only (RFC 5282 §3.1).
    ivs: HashMap<(u64, u64, bool, [u8; 8]), Vec<u8>>,
    /// A message id is for one message only, and it is sealed once: SPIs, flags, message id, number of the fragment.
    messages: HashMap<(u64, u64, u8, u32, u16), Vec<u8>>,
    /// An outbound key is for one SA of one side, which is installed once. The last is whether it is there.
    outbound: HashMap<Vec<u8>, (usize, u32, bool)>,
}

impl Laws {
    /// A datagram leaves.
    pub(crate) fn check_datagram(&mut self, host: &Host, bytes: &[u8]) {
        let Some(header) = bytes.get(..HEADER_BYTES) else {
            return;
        };
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let spis = (word(0), word(8));
        // What is answered about no IKE SA of ours has no state.
        if host.endpoint.ike_spis().contains(&spis) {
            let stored = host.store.values().any(|record| contains(record, bytes));
            assert!(stored, "a datagram left before its bytes were stored");
        }
        let (iv, fragment) = match header[16] {
            46 => (32, 0),
            53 => (36, u16::from_be_bytes([bytes[32], bytes[33]])),
            _ => return,
        };
        let iv = bytes[iv..iv + 8].try_into().unwrap();
        let key = (spis.0, spis.1, header[19] & 8 != 0, iv);
        let before = self.ivs.entry(key).or_insert_with(|| bytes.to_vec());
        assert_eq!(before, bytes, "one IV for two messages");
        let message_id = u32::from_be_bytes(header[20..24].try_into().unwrap());
        let key = (spis.0, spis.1, header[19], message_id, fragment);
        let before = self.messages.entry(key).or_insert_with(|| bytes.to_vec());
        assert_eq!(before, bytes, "one message id for two messages");
    }

    /// What workers have from now on.
    pub(crate) fn check_installed(&mut self, side: usize, installed: &[Installed]) {
        for one in installed {
            let same = installed.iter().filter(|other| other.inbound == one.inbound).count();
            assert_eq!(same, 1, "one SPI, one SA");
            let owner = (side, one.outbound, true);
            let before = *self.outbound.entry(one.keys.1.clone()).or_insert(owner);
            assert_eq!(before, owner, "an outbound key for two SAs, or installed again");
        }
        for (key, (owner, _, is_there)) in &mut self.outbound {
            *is_there &= *owner != side || installed.iter().any(|one| one.keys.1 == *key);
        }
    }
}

fn contains(record: &[u8], bytes: &[u8]) -> bool {
    record
        .windows(bytes.len())
        .any(|window| window[0] == bytes[0] && window == bytes)
}
