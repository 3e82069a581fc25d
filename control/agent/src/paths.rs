//! Where a gateway keeps its files: everything follows from its directories, so that several gateways share a machine.

use crate::arguments::Arguments;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The directories of one gateway.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Sockets, lock, log.
    pub runtime: PathBuf,
    /// Stored configuration and leases.
    pub state: PathBuf,
    /// Key files.
    pub secrets: PathBuf,
}

impl Paths {
    /// From the command line.
    pub fn new(arguments: &Arguments) -> Paths {
        Paths {
            runtime: arguments.runtime_dir.clone(),
            state: arguments.state_dir.clone(),
            secrets: arguments.secrets_dir.clone(),
        }
    }

    /// Makes the directories that are missing; the private ones with mode 0700.
    pub fn create(&self) -> io::Result<()> {
        make(&self.runtime, 0o755)?;
        make(&self.private(), 0o700)?;
        make(&self.state, 0o700)?;
        make(&self.leases(), 0o700)
    }

    /// HTTP for the operator.
    pub fn control_socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// Only root may enter.
    pub fn private(&self) -> PathBuf {
        self.runtime.join("private")
    }

    /// File descriptors to and from the dataplane.
    pub fn dataplane_socket(&self) -> PathBuf {
        self.private().join("dataplane.sock")
    }

    /// Held by the one tombolod of this gateway.
    pub fn lock(&self) -> PathBuf {
        self.private().join("tombolod.lock")
    }

    /// What the dataplane prints.
    pub fn dataplane_log(&self) -> PathBuf {
        self.runtime.join("dataplane.log")
    }

    /// The configuration for the next boot.
    pub fn stored_config(&self) -> PathBuf {
        self.state.join("config.yaml")
    }

    /// One file per tunnel.
    pub fn leases(&self) -> PathBuf {
        self.state.join("leases")
    }
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}
