//! Files that are there whole or not at all, also after a power cut; and the lock.

use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Largest configuration that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// So many files are synced one by one; with more, the whole file system is told once.
const SYNCED_ALONE: usize = 4;

/// Replaces `path` by `bytes`: the old content or the new, never a part. On the disk before it returns.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_all(&[(path, bytes)], mode)
}

/// Replaces files of one directory: of each the old content or the new. All are on the disk before it returns; after an error some may be.
pub fn replace_all<P: AsRef<Path>, B: AsRef<[u8]>>(files: &[(P, B)], mode: u32) -> io::Result<()> {
    let Some((first, _)) = files.first() else {
        return Ok(());
    };
    let parent = first.as_ref().parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new(".")))?;
    for (path, bytes) in files {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(temporary(path.as_ref()))?;
        file.write_all(bytes.as_ref())?;
        if files.len() <= SYNCED_ALONE {
            file.sync_all()?;
        }
    }
    if files.len() > SYNCED_ALONE {
        rustix::fs::syncfs(&directory)?;
    }
    for (path, _) in files {
        std::fs::rename(temporary(path.as_ref()), path)?;
    }
    directory.sync_all()
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Reads a text file of bounded size.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(text)
}

/// Proof that no other tombolod serves the same runtime directory; released when dropped or when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or tells that another process has it ([`io::ErrorKind::WouldBlock`]).
    pub fn take(path: &Path) -> io::Result<Lock> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tombolo-files-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_replaced_file_is_whole_and_keeps_its_mode() {
        let path = scratch("replace").join("config.yaml");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"second", 0o600).unwrap();
        assert_eq!(read_text(&path).unwrap(), "second");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!path.with_extension("new").exists());
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_second_lock_is_refused() {
        let directory = scratch("lock");
        let first = Lock::take(&directory.join("lock")).unwrap();
        assert_eq!(
            Lock::take(&directory.join("lock")).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(first);
        assert!(Lock::take(&directory.join("lock")).is_ok());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
