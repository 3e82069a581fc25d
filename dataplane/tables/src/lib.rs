//! The only contract between `tombolod` (control) and `tombolo-dataplane` (workers).
//!
//! * [`layout`]: the records of a generation, as bytes;
//! * [`fate`]: what can become of a packet, and the counters that follow from it;
//! * [`build`]: a world compiled into the sections of a generation;
//! * [`view`]: a generation as workers read it;
//! * [`dump`]: a generation as text;
//! * [`region`], [`publish`], [`reader`]: shared memory, and how generations pass through it;
//! * [`state`], [`counters`], [`sa_counters`], [`port_status`], [`events`], [`capture`]: what workers write;
//! * [`region_secrets`]: the memory that only control maps, and that grows;
//! * [`fuzz`]: entries for fuzzers;
//! * [`handoff`]: how either process gets the other's descriptors.

pub mod build;
pub mod capture;
pub mod counters;
pub mod dump;
pub mod events;
pub mod fate;
pub mod fuzz;
pub mod handoff;
pub mod identity;
pub mod layout;
pub mod port_status;
pub mod processor;
pub mod publish;
mod publish_copies;
mod publish_error;
mod publish_extents;
pub mod publish_protocol;
mod publish_root;
pub mod reader;
pub mod region;
pub mod region_prefetch;
pub mod region_scan;
pub mod region_secrets;
pub mod ring;
pub mod sa_counters;
pub mod state;
pub mod sync;
pub mod view;
pub mod wide;
