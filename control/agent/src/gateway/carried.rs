//! What a successor of this process needs to know about the live generation: the names section, which holds the planner's
//! indices.
//!
//! Two files in the private runtime directory take turns. Each says for which generation it holds; it is written before
//! that generation is published, so that whenever this process dies, one of the two fits the live generation.

use std::io;
use std::path::{Path, PathBuf};

fn path(private: &Path, generation: u64) -> PathBuf {
    private.join(format!("names-{}", generation % 2))
}

/// Keeps the names of a generation that is about to be published.
pub(super) fn keep(private: &Path, generation: u64, names: &str) -> io::Result<()> {
    let path = path(private, generation);
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, format!("{generation}\n{names}"))?;
    std::fs::rename(temporary, path)
}

/// The names of the live generation; none if no file fits it.
pub(super) fn names(private: &Path, generation: u64) -> Option<String> {
    let text = std::fs::read_to_string(path(private, generation)).ok()?;
    let (number, names) = text.split_once('\n')?;
    (number.parse() == Ok(generation)).then(|| names.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_generation_is_found_whether_or_not_the_next_was_published() {
        let private = std::env::temp_dir().join(format!("tombolo-carried-{}", std::process::id()));
        std::fs::create_dir_all(&private).unwrap();
        keep(&private, 7, "{\"seven\":1}").unwrap();
        keep(&private, 8, "{\n}").unwrap();
        assert_eq!(names(&private, 7).unwrap(), "{\"seven\":1}");
        assert_eq!(names(&private, 8).unwrap(), "{\n}");
        assert_eq!(names(&private, 9), None);
        keep(&private, 9, "").unwrap();
        assert_eq!(names(&private, 7), None);
        std::fs::remove_dir_all(private).unwrap();
    }
}
