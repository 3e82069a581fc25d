//! Device offloads that would hide a part of the frame from XDP: with VLAN offload on, a NIC takes the tag out of the frame
//! and tells the kernel aside, where neither the steering program nor a worker can see it.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETH_FLAG_TXVLAN: u32 = 1 << 7;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// `struct ifreq` as far as `SIOCETHTOOL` reads it.
#[repr(C)]
struct Request {
    name: [libc::c_char; libc::IFNAMSIZ],
    value: *mut EthtoolValue,
    rest: [u8; 16],
}

/// Switches VLAN offloads of a device off, both ways; a device that has none is left alone. Needs CAP_NET_ADMIN.
///
/// # Errors
/// When there is no such device, or its driver does not let go of the offload.
pub fn vlan_off(device: &str) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let flags = ethtool(&socket, device, ETHTOOL_GFLAGS, 0)?;
    let wanted = flags & !(ETH_FLAG_TXVLAN | ETH_FLAG_RXVLAN);
    if wanted != flags {
        ethtool(&socket, device, ETHTOOL_SFLAGS, wanted)?;
    }
    Ok(())
}

fn ethtool(socket: &OwnedFd, device: &str, command: u32, data: u32) -> io::Result<u32> {
    if device.is_empty() || device.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface name has 1 to 15 bytes",
        ));
    }
    let mut value = EthtoolValue { command, data };
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        value: &raw mut value,
        rest: [0; 16],
    };
    for (place, byte) in request.name.iter_mut().zip(device.bytes()) {
        *place = byte as libc::c_char;
    }
    // SAFETY: SIOCETHTOOL reads one `struct ifreq`, which `request` is as large as, and for these commands reads and writes
    // one `struct ethtool_value`, which it points to and which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_and_loopback_has_nothing_to_switch() {
        assert!(vlan_off("no-such-dev0").is_err());
        assert!(vlan_off("a-name-that-is-too-long").is_err());
        assert!(vlan_off("").is_err());
        let _ = vlan_off("lo");
    }
}
