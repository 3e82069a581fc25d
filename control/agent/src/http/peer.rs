//! Who may use the control socket.

use std::io;
use tokio::net::UnixStream;

/// Whom to let in.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// This process's own user; root is let in as well.
    pub uid: u32,
    /// A group whose members are let in.
    pub group: Option<u32>,
}

impl Admission {
    /// This process's own user, root, and members of `group`.
    pub fn new(group: Option<u32>) -> Admission {
        Admission {
            uid: rustix::process::geteuid().as_raw(),
            group,
        }
    }

    /// Whether the kernel's word on who connected is good enough.
    pub fn admits(&self, stream: &UnixStream) -> io::Result<bool> {
        let peer = stream.peer_cred()?;
        if peer.uid() == 0 || peer.uid() == self.uid {
            return Ok(true);
        }
        let Some(group) = self.group else { return Ok(false) };
        // Other groups of the peer are not in its credentials. The socket's mode has already kept strangers out.
        Ok(peer.gid() == group || peer.pid().is_some_and(|pid| groups(pid).contains(&group)))
    }
}

fn groups(pid: i32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap_or_default();
    line.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_own_user_is_admitted_and_a_stranger_is_not() {
        let (stream, _other) = UnixStream::pair().unwrap();
        assert!(Admission::new(None).admits(&stream).unwrap());
        let own = rustix::process::geteuid().as_raw();
        let stranger = Admission {
            uid: own + 1,
            group: None,
        };
        // Root is admitted everywhere, so only another user can show the refusal.
        assert_eq!(stranger.admits(&stream).unwrap(), own == 0);
    }
}
