//! Files of secrets, and whether they are still what was read: from one directory that nobody else can write to, each closed to everybody else, none of them behind a symbolic
//! link. Another user who could exchange a file or its directory could choose the gateway's keys.

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tombolo_config::ManualKeys;
use tombolo_config::sa_file::SaPair;
use zeroize::Zeroizing;

/// Longest file of secrets: a chain of certificates with large keys, or revocation lists.
const SECRET_BYTES_MAX: u64 = 256 << 10;
/// With so much room behind it a string does not grow while it is read into.
const READ_AHEAD: usize = 64;
/// A file may change again without another time of change within this: what its clock does not tell apart, with a file system that knows
/// two seconds at best.
const GRANULARITY: Duration = Duration::from_secs(2);

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

/// Which file was read, and as of when. Owner and mode are in it: whoever sets them changes the time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: i64,
    /// Seconds since 1970, nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        Stamp {
            device: stat.st_dev as _,
            inode: stat.st_ino as _,
            bytes: stat.st_size as _,
            modified: (stat.st_mtime as _, stat.st_mtime_nsec as _),
            changed: (stat.st_ctime as _, stat.st_ctime_nsec as _),
        }
    }

    /// Whether every change after `now` gives it another time of change.
    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let since_1970 = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        let changed = since_1970.map(|(seconds, nanoseconds)| UNIX_EPOCH + Duration::new(seconds, nanoseconds));
        changed.is_some_and(|changed| changed + GRANULARITY <= now)
    }
}

/// A directory of secrets that is looked at, not read.
pub struct Directory(OwnedFd);

impl Directory {
    /// # Errors
    /// Why nothing in it is read.
    pub fn open(directory: &Path) -> Result<Directory, Unfit> {
        open_directory(directory).map(|(opened, _)| Directory(opened))
    }

    /// Whether a file is what was read then.
    pub fn has_still(&self, name: &str, stamp: &Stamp) -> bool {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| Stamp::of(&stat) == *stamp)
    }
}

/// Reads a file of secrets: a regular one of `directory`, both owned by root or by this process's user.
///
/// # Errors
/// Which of the two is unfit, and what to do.
pub fn read(directory: &Path, name: &str) -> Result<Zeroizing<String>, Unfit> {
    read_stamped(directory, name).map(|(text, _)| text)
}

/// The same with what tells whether it was changed since: none if that cannot be told, for it was changed just now.
///
/// # Errors
/// As [`read`].
pub fn read_stamped(directory: &Path, name: &str) -> Result<(Zeroizing<String>, Option<Stamp>), Unfit> {
    let now = SystemTime::now();
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
    // Before the first byte: what is written from here on shows as another time.
    let stat = rustix::fs::fstat(&file).map_err(|error| unfit(Why::Io(error.into())))?;
    let stamp = Some(Stamp::of(&stat)).filter(|stamp| stamp.is_settled(now));
    // Room for all at once: a string that grows leaves copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(metadata.len() as usize + READ_AHEAD));
    let read = file.take(metadata.len()).read_to_string(&mut text);
    read.map_err(|error| unfit(Why::Io(error)))?;
    Ok((text, stamp))
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

    /// A file that was changed long enough ago, and what it was then.
    fn settled(scratch: &Scratch) -> Stamp {
        let until = std::time::Instant::now() + 5 * GRANULARITY;
        loop {
            if let (_, Some(stamp)) = read_stamped(&scratch.0, "a").unwrap() {
                return stamp;
            }
            assert!(std::time::Instant::now() < until, "it never settles");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[test]
    fn a_file_that_was_changed_just_now_has_no_stamp() {
        let scratch = Scratch::new("fresh");
        assert_eq!(read_stamped(&scratch.0, "a").unwrap().1, None);
        let (stamp, now) = (settled(&scratch), SystemTime::now());
        assert!(stamp.is_settled(now) && !stamp.is_settled(now - 2 * GRANULARITY - 10 * GRANULARITY));
    }

    #[test]
    fn every_change_of_a_file_shows() {
        let scratch = Scratch::new("stamps");
        let (path, other) = (scratch.0.join("a"), scratch.0.join("b"));
        let directory = Directory::open(&scratch.0).unwrap();
        type Act<'a> = &'a dyn Fn();
        let acts: [(&str, Act<'_>); 4] = [
            // As long as before, and what its owner says of its time is what it was.
            ("written to", &|| {
                let before = std::fs::metadata(&path).unwrap().modified().unwrap();
                std::fs::write(&path, "[]").unwrap();
                File::options()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_modified(before)
                    .unwrap();
            }),
            ("exchanged", &|| {
                std::fs::copy(&path, &other).unwrap();
                std::fs::rename(&other, &path).unwrap();
            }),
            ("closed further", &|| set_mode(&path, 0o400)),
            ("exchanged for a link to itself", &|| {
                std::fs::rename(&path, &other).unwrap();
                symlink(&other, &path).unwrap();
            }),
        ];
        for (what, act) in acts {
            let stamp = settled(&scratch);
            assert!(directory.has_still("a", &stamp));
            act();
            assert!(!directory.has_still("a", &stamp), "{what}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let stamp = settled(&scratch);
        std::fs::remove_file(&path).unwrap();
        assert!(!directory.has_still("a", &stamp));
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
