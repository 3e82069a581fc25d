//! The agent: everything that `tombolod` does, as a library, so that tests can run it.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod files;
pub mod http;
pub mod leases;
pub mod netlink;
pub mod paths;
