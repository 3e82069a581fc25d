//! The only contract between `tombolod` (control) and `tombolo-dataplane` (workers).
//!
//! * [`layout`]: the records of a generation, as bytes;
//! * [`fate`]: what can become of a packet, and the counters that follow from it;
//! * [`build`]: a world compiled into the sections of a generation;
//! * [`view`]: a generation as workers read it.

pub mod build;
pub mod fate;
pub mod layout;
pub mod view;
