//! What became of datagrams at the sockets of IKE.

/// Since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to IKE.
    pub received: u64,
    /// A peer's NAT keepalives.
    pub keepalives: u64,
    /// Too short for an IKE header, or on port 4500 without the marker.
    pub not_ike: u64,
    /// Taken by the kernel to be sent.
    pub sent: u64,
    /// Not taken by the kernel, or for an address that has no socket: IKE sends again.
    pub send_failures: u64,
    /// Errors of sockets while they were read.
    pub receive_failures: u64,
}
