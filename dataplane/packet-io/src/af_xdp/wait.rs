//! Sleeping until something is ready: one ppoll over sockets, TAPs and the wake descriptor.

use super::port::Port;
use super::tap::Beside;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

/// The descriptors to wait for, prepared once. They stay open as long as the ports beside which this lives.
pub(super) struct Waiter {
    descriptors: Vec<libc::pollfd>,
}

impl Waiter {
    pub(super) fn new(ports: &[Port], beside: &Beside) -> Self {
        let sockets = ports.iter().map(|port| port.socket().as_raw_fd());
        let taps = ports
            .iter()
            .filter_map(|port| port.tap_to_read())
            .chain(beside.watch())
            .map(|tap| tap.as_raw_fd());
        let mut descriptors: Vec<_> = sockets.chain(taps).map(readable).collect();
        descriptors.push(readable(-1)); // the place of the wake descriptor; ppoll skips negative ones
        Self { descriptors }
    }

    pub(super) fn wait(&mut self, timeout: Duration, wake: Option<BorrowedFd<'_>>) {
        if let Some(place) = self.descriptors.last_mut() {
            place.fd = wake.map_or(-1, |wake| wake.as_raw_fd());
        }
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let count = self.descriptors.len() as libc::nfds_t;
        // SAFETY: pointer and count are of one live vector, the timeout lives across the call, no signal mask is set.
        // The result does not matter: a signal or a descriptor in error ends the wait, and the caller looks for itself.
        unsafe { libc::ppoll(self.descriptors.as_mut_ptr(), count, &timeout, ptr::null()) };
    }
}

fn readable(fd: i32) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}
