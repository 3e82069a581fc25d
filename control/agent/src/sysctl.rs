//! Settings below `/proc/sys` of the network namespace in which the process runs.

use std::io;
use std::path::{Component, Path};

/// Writes a setting if it has another value. Writing is left out when nothing changes: some settings have effects even then.
pub fn set(path: &str, value: &str) -> io::Result<()> {
    let relative = Path::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path} is not below /proc/sys"),
        ));
    }
    let file = Path::new("/proc/sys").join(relative);
    if std::fs::read_to_string(&file)?.trim_end() == value {
        return Ok(());
    }
    std::fs::write(file, value)
}

#[cfg(test)]
mod tests {
    use super::set;

    #[test]
    fn a_path_that_leaves_the_tree_is_refused() {
        assert!(set("../etc/passwd", "x").is_err());
        assert!(set("/etc/passwd", "x").is_err());
        assert!(set("net/ipv4/no_such_setting", "1").is_err());
    }
}
