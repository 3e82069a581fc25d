//! A device of the namespace that the program runs in, and steering of everything that comes to it into one socket.

use anyhow::{Context, Result};
use std::fs;
use std::str::FromStr;
use tombolo_bpf::{AttachRequest, SteerConfig, SteerPort, Steering, VLAN_NONE};
use tombolo_packet_io::af_xdp::AfXdp;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
        let bytes = bytes
            .collect::<Result<Vec<u8>, _>>()
            .context("a MAC address is six hexadecimal bytes")?;
        Ok(Mac(bytes.try_into().ok().context("a MAC address is six bytes")?))
    }
}

/// A network device.
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its address.
    pub mac: Mac,
    /// Its number.
    pub ifindex: u32,
}

impl Device {
    /// The device of that name in this namespace.
    pub fn find(name: &str) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/sys/class/net/{name}/{file}");
            fs::read_to_string(&path).context(path)
        };
        Ok(Device {
            name: name.to_owned(),
            mac: read("address")?.parse()?,
            ifindex: read("ifindex")?.trim().parse()?,
        })
    }
}

/// Attaches the gateway's steering program: all but ARP and the like goes to the sockets of `io`, one per device, in their order.
pub fn steer(devices: &[Device], io: &AfXdp) -> Result<Steering> {
    let port = |(index, device): (usize, &Device)| SteerPort {
        index: index as u16,
        ifindex: device.ifindex,
        vlan: VLAN_NONE,
        socket_row: index as u16,
        mac: device.mac.0,
        nat_ports: None,
        own_addresses: Vec::new(),
    };
    let config = SteerConfig {
        ports: devices.iter().enumerate().map(port).collect(),
        ..SteerConfig::default()
    };
    let mut steering = Steering::load()?;
    steering.update(&config)?;
    for (slot, socket) in io.sockets() {
        steering.insert_socket(u16::from(slot.0), 0, socket)?;
    }
    for device in devices {
        steering.attach(device.ifindex, AttachRequest::NativeOrGeneric)?;
    }
    Ok(steering)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_six_bytes() {
        assert_eq!(
            "02:00:00:00:01:ff\n".parse::<Mac>().ok(),
            Some(Mac([2, 0, 0, 0, 1, 255]))
        );
        assert!("02:00:00:00:01".parse::<Mac>().is_err());
        assert!("02:00:00:00:01:xx".parse::<Mac>().is_err());
    }
}
