//! Files of secrets: from one directory that nobody else can write to, each closed to everybody else, none of them behind a symbolic
//! link. Another user who could exchange a file or its directory could choose the gateway's keys.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tombolo_config::ManualKeys;
use tombolo_config::sa_file::SaPair;
use zeroize::Zeroizing;

/// Longest file of secrets: a chain of certificates with large keys, or revocation lists.
const SECRET_BYTES_MAX: u64 = 256 << 10;
/// With so much room behind it a string does not grow while it is read into.
const READ_AHEAD: usize = 64;

/// Why a file of secrets is not read: which file or directory, and what to do.
#[derive(Debug)]
pub struct Unfit {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    MissingDirectory,
    MissingFile,
    /// The kernel's words.
    Io(io::Error),
    NoDirectory,
    NoRegularFile,
    /// Of this user.
    DirectoryOwner(u32),
    FileOwner(u32),
    /// Whose mode is this.
    DirectoryMode(u32),
    FileMode(u32),
    /// Bytes.
    TooLong(u64),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::MissingDirectory => write!(f, "{path} does not exist; `mkdir -m 0700 {path}`"),
            Why::MissingFile => write!(f, "{path} does not exist; put it there with mode 0600"),
            Why::Io(error) => write!(f, "{path}: {error}"),
            Why::NoDirectory => write!(f, "{path}: not a directory; a symbolic link to one is not followed"),
            Why::NoRegularFile => write!(f, "{path}: not a regular file; a symbolic link to one is not followed"),
            Why::DirectoryOwner(owner) | Why::FileOwner(owner) => {
                write!(
                    f,
                    "{path}: it belongs to user {owner}, who could choose the keys; `chown root {path}`"
                )
            }
            Why::DirectoryMode(mode) => {
                write!(
                    f,
                    "{path}: mode {mode:04o}, others could exchange its files; `chmod 0700 {path}`"
                )
            }
            Why::FileMode(mode) => write!(f, "{path}: mode {mode:04o}, others may read it; `chmod 0600 {path}`"),
            Why::TooLong(bytes) => write!(
                f,
                "{path}: {bytes} bytes; a file of secrets has at most {SECRET_BYTES_MAX}"
            ),
        }
    }
}

impl std::error::Error for Unfit {}

/// Reads a file of secrets: a regular one of `directory`, both owned by root or by this process's user.
///
/// # Errors
/// Which of the two is unfit, and what to do.
pub fn read(directory: &Path, name: &str) -> Result<Zeroizing<String>, Unfit> {
    let (directory, place) = open_directory(directory)?;
    let path = place.join(name);
    let unfit = |why| Unfit {
        path: path.clone(),
        why,
    };
    // Not to wait for the other end of a FIFO.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT => unfit(Why::MissingFile),
        // A symbolic link; a socket.
        Errno::LOOP | Errno::NXIO => unfit(Why::NoRegularFile),
        other => unfit(Why::Io(other.into())),
    })?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(|error| unfit(Why::Io(error)))?;
    check_file(&metadata).map_err(unfit)?;
    // Room for all at once: a string that grows leaves copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(metadata.len() as usize + READ_AHEAD));
    let read = file.take(metadata.len()).read_to_string(&mut text);
    read.map_err(|error| unfit(Why::Io(error)))?;
    Ok(text)
}

/// The manual keys of a tunnel.
///
/// # Errors
/// File and reason, for the tunnel's operator.
pub fn manual_keys(directory: &Path, manual: &ManualKeys) -> Result<SaPair, String> {
    let name = manual.keys.as_str();
    let text = read(directory, name).map_err(|error| error.to_string())?;
    SaPair::parse(text.as_bytes()).map_err(|error| format!("{}: {error}", directory.join(name).display()))
}

/// The directory and its name, without the slash at its end that would have a symbolic link followed.
fn open_directory(directory: &Path) -> Result<(OwnedFd, PathBuf), Unfit> {
    let place: PathBuf = directory.components().collect();
    let unfit = |why| Unfit {
        path: place.clone(),
        why,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&place, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT => unfit(Why::MissingDirectory),
        Errno::NOTDIR | Errno::LOOP => unfit(Why::NoDirectory),
        other => unfit(Why::Io(other.into())),
    })?;
    let opened = File::from(opened);
    let metadata = opened.metadata().map_err(|error| unfit(Why::Io(error)))?;
    let mode = metadata.mode() & 0o7777;
    if !is_trusted(metadata.uid()) {
        return Err(unfit(Why::DirectoryOwner(metadata.uid())));
    }
    if mode & 0o022 != 0 {
        return Err(unfit(Why::DirectoryMode(mode)));
    }
    Ok((opened.into(), place))
}

fn check_file(metadata: &Metadata) -> Result<(), Why> {
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() {
        return Err(Why::NoRegularFile);
    }
    if !is_trusted(metadata.uid()) {
        return Err(Why::FileOwner(metadata.uid()));
    }
    if mode & 0o077 != 0 {
        return Err(Why::FileMode(mode));
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(Why::TooLong(metadata.len()));
    }
    Ok(())
}

/// Root, or whoever this process runs as.
fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
    use std::sync::mpsc;
    use std::time::Duration;

    /// Some user who is neither root nor the one of the tests.
    const STRANGER: u32 = 54_321;

    struct Scratch(PathBuf);

    impl Scratch {
        /// A directory with a fit file `a`.
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("tombolo-secret-files-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            let scratch = Scratch(path);
            scratch.write("a", 0o600);
            scratch
        }

        fn write(&self, name: &str, mode: u32) {
            std::fs::write(self.0.join(name), "{}").unwrap();
            set_mode(&self.0.join(name), mode);
        }

        fn refused(&self, name: &str) -> String {
            read(&self.0, name).expect_err(name).to_string()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_fit_file_is_read() {
        let scratch = Scratch::new("fit");
        assert_eq!(read(&scratch.0, "a").unwrap().as_str(), "{}");
        set_mode(&scratch.0, 0o755);
        assert_eq!(read(&scratch.0.join(""), "a").unwrap().as_str(), "{}");
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        let scratch = Scratch::new("open");
        for mode in [0o644, 0o640, 0o601] {
            scratch.write("a", mode);
            let why = scratch.refused("a");
            assert!(
                why.contains("chmod 0600") && why.contains(&format!("{mode:04o}")),
                "{why}"
            );
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let scratch = Scratch::new("kinds");
        symlink(scratch.0.join("a"), scratch.0.join("link")).unwrap();
        assert!(scratch.refused("link").contains("symbolic link"));
        std::fs::create_dir(scratch.0.join("directory")).unwrap();
        assert!(scratch.refused("directory").contains("not a regular file"));
        assert!(scratch.refused("missing").contains("/missing does not exist"));
        let why = read(&scratch.0.join("none"), "a").unwrap_err().to_string();
        assert!(why.contains("mkdir -m 0700"), "{why}");
        let _socket = std::os::unix::net::UnixListener::bind(scratch.0.join("socket")).unwrap();
        assert!(scratch.refused("socket").contains("not a regular file"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            scratch.0.join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        // A reader that waits for a writer would never come back.
        let (said, says) = mpsc::channel();
        let place = scratch.0.clone();
        std::thread::spawn(move || said.send(read(&place, "fifo").unwrap_err().to_string()));
        let why = says
            .recv_timeout(Duration::from_secs(10))
            .expect("it waits for a writer");
        assert!(why.contains("not a regular file"), "{why}");
    }

    #[test]
    fn a_directory_that_others_write_is_refused() {
        let scratch = Scratch::new("shared");
        for mode in [0o777, 0o1777, 0o720, 0o702] {
            set_mode(&scratch.0, mode);
            let why = scratch.refused("a");
            assert!(
                why.contains("chmod 0700") && why.contains(&format!("{mode:04o}")),
                "{why}"
            );
        }
    }

    #[test]
    fn a_directory_behind_a_symbolic_link_is_refused() {
        let scratch = Scratch::new("behind");
        let link = scratch.0.with_extension("link");
        let _ = std::fs::remove_file(&link);
        symlink(&scratch.0, &link).unwrap();
        // With a slash or a dot behind it the kernel would follow the link.
        for way in [link.clone(), link.join(""), link.join(".")] {
            let why = read(&way, "a").expect_err("through a link").to_string();
            assert!(why.contains("not a directory"), "{why}");
        }
        std::fs::remove_file(link).unwrap();
        let why = read(&scratch.0.join("a"), "a").unwrap_err().to_string();
        assert!(why.contains("not a directory"), "{why}");
    }

    /// Only root can give files away.
    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return println!("NOT RUN: what_belongs_to_another_user_is_refused: only root can give files away");
        }
        let scratch = Scratch::new("given");
        chown(scratch.0.join("a"), Some(STRANGER), None).unwrap();
        let why = scratch.refused("a");
        assert!(why.contains(&STRANGER.to_string()) && why.contains("/a`"), "{why}");
        chown(scratch.0.join("a"), Some(0), None).unwrap();
        chown(&scratch.0, Some(STRANGER), None).unwrap();
        let why = scratch.refused("a");
        assert!(why.contains(&format!("`chown root {}`", scratch.0.display())), "{why}");
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let scratch = Scratch::new("long");
        let file = File::options().write(true).open(scratch.0.join("a")).unwrap();
        file.set_len(SECRET_BYTES_MAX + 1).unwrap();
        assert!(scratch.refused("a").contains("at most 262144"));
    }
}
