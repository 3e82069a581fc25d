//! Waits for descriptors that tokio's safe types do not cover (pidfds, eventfds): a thread each, blocked in poll.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use tokio::sync::mpsc;

/// How often a thread looks whether anyone still listens.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A message when the process behind a pidfd is dead; then the channel ends.
pub fn process_end(pidfd: OwnedFd) -> std::io::Result<mpsc::Receiver<()>> {
    start("pidfd", pidfd, |_| false)
}

/// A message whenever an eventfd was written; it is read empty before. Several writes may give one message.
pub fn event(eventfd: OwnedFd) -> std::io::Result<mpsc::Receiver<()>> {
    start("eventfd", eventfd, |descriptor| {
        let mut count = [0; 8];
        // Another reader may have been first.
        let _ = rustix::io::read(descriptor, &mut count);
        true
    })
}

/// `take` makes the descriptor unreadable again; false ends the watch.
fn start(
    name: &str,
    descriptor: OwnedFd,
    take: impl Fn(&OwnedFd) -> bool + Send + 'static,
) -> std::io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    let run = move || {
        while !sender.is_closed() {
            let mut poll_set = [PollFd::new(&descriptor, PollFlags::IN)];
            match poll(&mut poll_set, Some(&LOOK_EVERY)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(_) => return,
            }
            let go_on = take(&descriptor);
            // A full channel says it already.
            let _ = sender.try_send(());
            if !go_on {
                return;
            }
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(run)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[tokio::test]
    async fn an_eventfd_is_told_and_emptied() {
        let descriptor = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let mut told = event(descriptor.try_clone().unwrap()).unwrap();
        for _ in 0..3 {
            rustix::io::write(&descriptor, &1_u64.to_ne_bytes()).unwrap();
            told.recv().await.unwrap();
        }
        assert_eq!(
            rustix::io::read(&descriptor, &mut [0; 8]),
            Err(rustix::io::Errno::AGAIN)
        );
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_told_once() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let mut told = process_end(pidfd).unwrap();
        assert!(told.try_recv().is_err());
        child.kill().unwrap();
        told.recv().await.unwrap();
        child.wait().unwrap();
        assert!(told.recv().await.is_none());
    }
}
