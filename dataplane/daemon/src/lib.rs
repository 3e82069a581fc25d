//! The `tombolo-dataplane` process: takes the shared memory over from `tombolod`, opens ports, steers frames, pins workers,
//! stops cleanly. It reads no configuration and talks to nobody but `tombolod`, over a private socket.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod dataplane;
pub mod devices;
pub mod pool;
pub mod ports;
pub mod steering;
