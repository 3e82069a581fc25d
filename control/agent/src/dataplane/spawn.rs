//! Starts `tombolo-dataplane` so that it outlives this process: a session of its own, its output in a log.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A log that is longer is put aside before the next start.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// How to start a dataplane.
#[derive(Clone, Debug)]
pub struct Spawner {
    /// The executable.
    pub program: PathBuf,
    /// Its runtime directory.
    pub runtime_dir: PathBuf,
    /// What it prints.
    pub log: PathBuf,
}

/// The dataplane's executable: beside our own.
pub fn executable() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("tombolo-dataplane"))
}

impl Spawner {
    /// Starts it. `setsid` (util-linux) makes the session, so that neither a terminal's end nor Ctrl-C reaches it, and then
    /// becomes the dataplane: the child is the dataplane itself.
    pub fn start(&self) -> io::Result<Child> {
        if !self.program.is_file() {
            let error = format!("{} is not there; --dataplane names it", self.program.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, error));
        }
        let log = open_log(&self.log)?;
        Command::new("setsid")
            .arg(&self.program)
            .arg("--runtime-dir")
            .arg(&self.runtime_dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
    }
}

fn open_log(path: &Path) -> io::Result<std::fs::File> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > LOG_BYTES_MAX => std::fs::rename(path, path.with_extension("log.1"))?,
        Ok(_) | Err(_) => {}
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}
