//! The sockets of IKE: UDP 500 and 4500 on every own address that a tunnel uses.
//!
//! The steering rule passes IKE to the kernel, which hands it to these sockets; workers never see it. Each socket is bound to one
//! address, so that a datagram's local end is known and an answer leaves from it. All bytes that come are untrusted. Nothing
//! waits here: what the kernel cannot take or hold is lost, as on any network, and IKE sends again (RFC 7296 §2.1).

use super::counts::Counts;
use super::marker::{Arrived, KEEPALIVE, PORT, PORT_NAT, arrived, leaving};
use rustix::net::sockopt;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use tokio::net::UdpSocket;
use tombolo_ike::connection::Path;

/// Datagrams of one batch: what a flood may make the caller do before it looks at other things again.
pub const BATCH_MAX: usize = 64;
/// Datagrams of one socket in a batch, so that a flooded one leaves room for the others.
const READS_MAX: usize = 16;
/// Longest datagram that UDP can carry.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// The kernel holds about 3,000 short datagrams in this: a fifth of a second of 20,000 in a second.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// An IKE message and its way; the non-ESP marker is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Whence it came, or where it shall go.
    pub path: Path,
    /// From the IKE header on.
    pub bytes: Vec<u8>,
}

/// All sockets of IKE.
pub struct Sockets {
    bound: BTreeMap<SocketAddr, UdpSocket>,
    /// Whose turn it is to be read first.
    turn: usize,
    buffer: Vec<u8>,
    counts: Counts,
}

impl Default for Sockets {
    fn default() -> Sockets {
        Sockets {
            bound: BTreeMap::new(),
            turn: 0,
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            counts: Counts::default(),
        }
    }
}

impl Sockets {
    /// Opens what these addresses lack, closes what they do not name. Returns what could not be opened, with the kernel's reason;
    /// call it again when addresses change (an IPv6 address cannot be bound to before duplicate address detection is through).
    /// Needs a tokio runtime, and CAP_NET_BIND_SERVICE.
    pub fn bind(&mut self, addresses: &BTreeSet<IpAddr>) -> Vec<(SocketAddr, io::Error)> {
        self.bound.retain(|local, _| addresses.contains(&local.ip()));
        let mut refused = Vec::new();
        for local in addresses.iter().flat_map(|address| ends(*address)) {
            if self.bound.contains_key(&local) {
                continue;
            }
            match open(local) {
                Ok(socket) => {
                    self.bound.insert(local, socket);
                }
                Err(error) => refused.push((local, error)),
            }
        }
        refused
    }

    /// Own ends that are open.
    pub fn local(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.bound.keys().copied()
    }

    /// What became of datagrams.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Waits for datagrams and appends at most [`BATCH_MAX`] of them, of every socket in turn. May return without one, when what
    /// came was nothing for IKE. If the future is dropped, nothing is lost.
    pub async fn receive(&mut self, batch: &mut Vec<Datagram>) {
        std::future::poll_fn(|context| self.poll_receive(context, batch)).await;
    }

    /// Sends a message. `Err` is for a log line at most: the path may be broken, the address gone, the kernel's buffer full.
    pub fn send(&mut self, datagram: &Datagram) -> io::Result<()> {
        let bytes = leaving(datagram.path.local.port(), &datagram.bytes);
        self.send_bytes(&datagram.path, &bytes)
    }

    /// Keeps the mapping of a NAT on the way (RFC 3948 §4); for paths from port 4500.
    pub fn keep_alive(&mut self, path: &Path) -> io::Result<()> {
        self.send_bytes(path, &KEEPALIVE)
    }

    fn send_bytes(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let sent = match self.bound.get(&path.local) {
            Some(socket) => send_now(socket, bytes, path.remote),
            None => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("no IKE socket on {}", path.local),
            )),
        };
        match &sent {
            Ok(()) => self.counts.sent += 1,
            Err(_) => self.counts.send_failures += 1,
        }
        sent
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, batch: &mut Vec<Datagram>) -> Poll<()> {
        let full = batch.len() + BATCH_MAX;
        let sockets = self.bound.len();
        let before = self.counts;
        let first = self.turn.checked_rem(sockets).unwrap_or(0);
        let in_turn = self.bound.iter().cycle().skip(first).take(sockets);
        for (local, socket) in in_turn {
            // Every socket is asked until one says "not yet", which is what has it wake this task.
            while batch.len() < full && socket.poll_recv_ready(context).is_ready() {
                let room = READS_MAX.min(full - batch.len());
                if read(*local, socket, room, &mut self.buffer, batch, &mut self.counts) {
                    // It may have more: it is asked again at the next call.
                    break;
                }
            }
        }
        self.turn = first + 1;
        match before == self.counts {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

/// Reads at most `room` datagrams; false when the kernel has no more.
fn read(
    local: SocketAddr,
    socket: &UdpSocket,
    room: usize,
    buffer: &mut [u8],
    batch: &mut Vec<Datagram>,
    counts: &mut Counts,
) -> bool {
    for _ in 0..room {
        let (length, remote) = match socket.try_recv_from(buffer) {
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // What ICMP said of another datagram, or a lack of memory: nothing that concerns the next one.
            Err(_) => {
                counts.receive_failures += 1;
                continue;
            }
        };
        match arrived(local.port(), buffer.get(..length).unwrap_or_default()) {
            Arrived::Ike(message) => {
                counts.received += 1;
                batch.push(Datagram {
                    path: Path { local, remote },
                    bytes: message.to_vec(),
                });
            }
            Arrived::Keepalive => counts.keepalives += 1,
            Arrived::Other => counts.not_ike += 1,
        }
    }
    true
}

/// Both ends of IKE on an address.
fn ends(address: IpAddr) -> [SocketAddr; 2] {
    [PORT, PORT_NAT].map(|port| SocketAddr::new(address, port))
}

/// Past tokio's own idea of readiness: a socket that was never waited for is always worth a try.
fn send_now(socket: &UdpSocket, bytes: &[u8], remote: SocketAddr) -> io::Result<()> {
    let flags = rustix::net::SendFlags::DONTWAIT;
    let sent = rustix::net::sendto(socket, bytes, flags, &remote)?;
    match sent == bytes.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn open(local: SocketAddr) -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
    let family = match local {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    // Another IKE daemon of this host may have the port on all addresses; the more specific socket gets the datagrams.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    match local {
        // A router on the way may fragment: what is too long for the path is IKE_SA_INIT, which RFC 7383 cannot divide.
        SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(&socket, sockopt::Ipv4PathMtuDiscovery::DONT)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_v6only(&socket, true)?,
    }
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES).is_err() {
        // Without CAP_NET_ADMIN: as much as net.core.rmem_max allows.
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
    }
    rustix::net::bind(&socket, &local)?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests;
