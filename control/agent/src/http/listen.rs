//! The socket file: mode 0660 from the moment it has its name.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::UnixListener;

/// Binds the control socket at `path`. It is made inside `private`, a directory of mode 0700 on the same file system, gets its
/// mode and group there, and then its name, over one that a dead process left behind.
pub fn bind(path: &Path, private: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let hidden = private.join("control.sock.new");
    match std::fs::remove_file(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let listener = UnixListener::bind(&hidden)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(&hidden, None, Some(group))?;
    }
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o660))?;
    std::fs::rename(&hidden, path)?;
    Ok(listener)
}
