//! Which devices a generation wants served, and by which ports: plain data, compared to see what changed.

use tombolo_packet_io::PortSlot;
use tombolo_tables::handoff::PortError;
use tombolo_tables::layout::{PortIndex, PortRecord, port_flag, tap_name, vlan_link_name};
use tombolo_tables::view::Tables;
use tombolo_worker::ports::{ServedPort, VlanTaps};

/// A kernel device whose queues the workers serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub ifindex: u32,
    /// Attach in generic mode by choice.
    pub generic: bool,
    /// First port on it: what goes wrong with the device is told of that one.
    pub port: PortIndex,
    /// The port of untagged frames; its TAP is on the device's slot.
    pub untagged: Option<PortIndex>,
}

/// What the workers serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Devices; the position is the slot.
    pub devices: Vec<Device>,
    /// Ports on them.
    pub ports: Vec<ServedPort>,
}

impl Served {
    /// The TAPs of VLAN ports, on the slots behind those of the devices.
    pub fn vlan_taps(&self) -> Vec<VlanTaps> {
        VlanTaps::behind(self.devices.len(), &self.ports)
    }

    /// Names of the TAPs by slot; a device without an untagged port has none.
    pub fn tap_names(&self) -> Vec<Option<String>> {
        let of_devices = self.devices.iter().map(|device| device.untagged.map(tap_name));
        let of_vlans = self.ports.iter().filter(|served| served.vlan != 0);
        let of_vlans = of_vlans.flat_map(|served| [tap_name(served.port), vlan_link_name(served.port, served.vlan)]);
        of_devices.chain(of_vlans.map(Some)).collect()
    }
}

/// What `tables` want served by `workers` workers, and the ports that cannot be.
pub fn served(tables: Tables<'_>, workers: usize) -> (Served, Vec<PortError>) {
    let mut served = Served::default();
    let mut errors = Vec::new();
    for (index, record) in tables.ports().iter().enumerate() {
        let port = PortIndex(index as u16);
        if record.device[0] == 0 {
            continue; // a free slot
        }
        if let Err(text) = servable(record, workers) {
            errors.push(PortError { port: port.0, text });
            continue;
        }
        let known = served
            .devices
            .iter()
            .position(|device| device.ifindex == record.ifindex);
        let slot = known.unwrap_or(served.devices.len());
        if known.is_none() {
            served.devices.push(Device {
                name: text(&record.device),
                ifindex: record.ifindex,
                generic: record.flags & port_flag::GENERIC != 0,
                port,
                untagged: None,
            });
        }
        if record.vlan == 0 {
            served.devices[slot].untagged = Some(port);
        }
        served.ports.push(ServedPort {
            port,
            slot: PortSlot(slot as u8),
            vlan: record.vlan,
        });
    }
    (served, errors)
}

/// Worker i serves queue i, so that it receives and sends without asking anyone: a queue without a worker would swallow
/// packets, a worker without a queue could not send.
fn servable(record: &PortRecord, workers: usize) -> Result<(), String> {
    let device = text(&record.device);
    if record.ifindex == 0 {
        return Err(format!("there is no device {device}"));
    }
    if usize::from(record.queues) != workers {
        return Err(format!(
            "{device} has {} queues, the gateway {workers} workers: make them equal (ethtool -L {device} combined {workers})",
            record.queues
        ));
    }
    Ok(())
}

/// The text of a zero-padded field.
pub fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}
