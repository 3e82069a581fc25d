//! The only contract between `tombolod` (control) and `tombolo-dataplane` (workers).
//!
//! * [`layout`]: the records of a generation, as bytes;
//! * [`fate`]: what can become of a packet, and the counters that follow from it.

pub mod fate;
pub mod layout;
