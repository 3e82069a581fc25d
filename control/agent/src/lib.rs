//! The agent: everything that `tombolod` does, as a library, so that tests can run it.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod dataplane;
pub mod files;
pub mod gateway;
pub mod http;
pub mod ike;
pub mod kernel;
pub mod leases;
pub mod netlink;
pub mod offline;
pub mod paths;
pub mod regions;
pub mod secret_files;
pub mod sysctl;
pub mod views;
pub mod watch;
