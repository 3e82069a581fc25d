//! What policy is asked about a packet of the lane.

use tombolo_tables::layout::SegmentIndex;
use tombolo_tables::view::PolicyQuery;
use tombolo_wire::Addresses;

/// An IPv4 flow as rules match it, from the key words of its session; what they say of the segment is not read.
#[inline(always)]
pub(super) fn query(from: SegmentIndex, to: SegmentIndex, key: [u64; 2]) -> PolicyQuery {
    let [addresses, rest] = key;
    PolicyQuery {
        from,
        to,
        addresses: Addresses::V4 {
            source: (addresses >> 32) as u32,
            destination: addresses as u32,
        },
        protocol: (rest >> 8) as u8,
        source_port: (rest >> 48) as u16,
        destination_port: (rest >> 32) as u16,
    }
}
