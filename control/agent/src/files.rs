//! Files that are there whole or not at all, also after a power cut; the lock; and key files that nobody else can write.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest configuration or key file that is read, in bytes.
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

/// Longest file of secrets: a chain of certificates with large keys, or revocation lists.
const SECRET_BYTES_MAX: u64 = 256 << 10;
/// With so much room behind it a string does not grow while it is read into.
const READ_AHEAD: usize = 64;

/// Reads a key file: not through a symbolic link, owned by root or by this process's user, closed to everybody else.
pub fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    let descriptor = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let file = File::from(descriptor);
    let metadata = file.metadata()?;
    let owner = metadata.uid();
    if !metadata.is_file() || (owner != 0 && owner != rustix::process::geteuid().as_raw()) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "not a regular file of root",
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        let message = format!("mode {:04o}: others may read it; use 0600", metadata.mode() & 0o7777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    if metadata.len() > SECRET_BYTES_MAX {
        let message = format!(
            "{} bytes: a file of secrets has at most {SECRET_BYTES_MAX}",
            metadata.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    // Room for all at once: a string that grows leaves copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(metadata.len() as usize + READ_AHEAD));
    file.take(metadata.len()).read_to_string(&mut text)?;
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
    fn an_open_key_file_is_refused() {
        let directory = scratch("secret");
        let path = directory.join("a.sa");
        replace(&path, b"{}", 0o644).unwrap();
        assert_eq!(read_secret(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let link = directory.join("b.sa");
        replace(&path, b"{}", 0o600).unwrap();
        std::fs::remove_file(&path).unwrap();
        replace(&path, b"{}", 0o600).unwrap();
        assert_eq!(read_secret(&path).unwrap().as_str(), "{}");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_secret(&link).is_err(), "through a symbolic link");
        std::fs::remove_dir_all(directory).unwrap();
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
