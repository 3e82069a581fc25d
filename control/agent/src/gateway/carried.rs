//! What a successor of this process needs to know about the live generation: the names section, which holds the planner's
//! indices.
//!
//! A file in the private runtime directory for each of two generations, written before its own is published, so that whenever this
//! process dies, one of them is the live generation's. Most generations have the names of the one before: their file is a link to that
//! one's, since the names of many SAs are several MB.

use ring::digest::{SHA256, digest};
use std::io;
use std::path::{Path, PathBuf};

/// What was kept last.
pub(super) struct Carried {
    private: PathBuf,
    /// Generation, and the digest of its names: they are long.
    last: Option<(u64, [u8; 32])>,
}

impl Carried {
    /// Nothing was kept by this process.
    pub(super) fn new(private: PathBuf) -> Self {
        Carried { private, last: None }
    }

    /// Keeps the names of a generation that is about to be published.
    pub(super) fn keep(&mut self, generation: u64, names: &str) -> io::Result<()> {
        let temporary = self.private.join("names.new");
        let of_these = <[u8; 32]>::try_from(digest(&SHA256, names.as_bytes()).as_ref()).map_err(io::Error::other)?;
        let before = self
            .last
            .filter(|(_, last)| *last == of_these)
            .map(|(before, _)| before);
        // It may be a link to a file that is in use: never written to.
        remove(&temporary)?;
        let linked = before.is_some_and(|before| std::fs::hard_link(path(&self.private, before), &temporary).is_ok());
        if !linked {
            std::fs::write(&temporary, names)?;
        }
        std::fs::rename(&temporary, path(&self.private, generation))?;
        self.last = Some((generation, of_these));
        self.sweep(generation)
    }

    /// Removes the files of all generations but this one and the one before.
    fn sweep(&self, generation: u64) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.private)? {
            let entry = entry?;
            let name = entry.file_name();
            let of = name.to_str().and_then(|name| name.strip_prefix("names-")?.parse().ok());
            if of.is_some_and(|of: u64| of != generation && of + 1 != generation) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// The names of the live generation; none if there is no file of it.
pub(super) fn names(private: &Path, generation: u64) -> Option<String> {
    std::fs::read_to_string(path(private, generation)).ok()
}

fn path(private: &Path, generation: u64) -> PathBuf {
    private.join(format!("names-{generation}"))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// A directory of its own for a test.
    fn private(test: &str) -> PathBuf {
        let private = std::env::temp_dir().join(format!("tombolo-carried-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&private).unwrap();
        private
    }

    fn inode(private: &Path, generation: u64) -> u64 {
        std::fs::metadata(path(private, generation)).unwrap().ino()
    }

    #[test]
    fn the_live_generation_is_found_whether_or_not_the_next_was_published() {
        let private = private("found");
        let mut carried = Carried::new(private.clone());
        carried.keep(7, "{\"seven\":1}").unwrap();
        carried.keep(8, "{\n}").unwrap();
        assert_eq!(names(&private, 7).unwrap(), "{\"seven\":1}");
        assert_eq!(names(&private, 8).unwrap(), "{\n}");
        assert_eq!(names(&private, 9), None);
        carried.keep(9, "").unwrap();
        assert_eq!(names(&private, 7), None);
        std::fs::remove_dir_all(private).unwrap();
    }

    #[test]
    fn names_that_stay_are_written_once() {
        let private = private("once");
        let mut carried = Carried::new(private.clone());
        carried.keep(1, "same").unwrap();
        for generation in 2..6 {
            carried.keep(generation, "same").unwrap();
            assert_eq!(inode(&private, generation), inode(&private, generation - 1));
            assert_eq!(names(&private, generation).unwrap(), "same");
        }
        carried.keep(6, "other").unwrap();
        assert_ne!(inode(&private, 6), inode(&private, 5));
        assert_eq!(names(&private, 5).unwrap(), "same");
        assert_eq!(std::fs::read_dir(&private).unwrap().count(), 2);
        std::fs::remove_dir_all(private).unwrap();
    }

    /// Generation 2 is kept and not published; later another one, or the same, takes its number.
    #[test]
    fn a_generation_that_was_not_published_leaves_nothing() {
        let private = private("again");
        let mut carried = Carried::new(private.clone());
        carried.keep(1, "one").unwrap();
        carried.keep(2, "never").unwrap();
        carried.keep(2, "never").unwrap();
        assert_eq!(names(&private, 2).unwrap(), "never");
        carried.keep(2, "one").unwrap();
        assert_eq!(names(&private, 1).unwrap(), "one");
        assert_eq!(names(&private, 2).unwrap(), "one");
        // A process dies with the file of generation 4 half written; its successor knows of no last one.
        carried.keep(3, "one").unwrap();
        std::fs::hard_link(path(&private, 3), private.join("names.new")).unwrap();
        let mut successor = Carried::new(private.clone());
        successor.keep(4, "four").unwrap();
        assert_eq!(names(&private, 3).unwrap(), "one");
        assert_eq!(names(&private, 4).unwrap(), "four");
        std::fs::remove_dir_all(private).unwrap();
    }
}
