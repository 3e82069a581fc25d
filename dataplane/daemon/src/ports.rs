//! Which devices a generation wants served, and by which ports: plain data, compared to see what changed.

use tombolo_packet_io::PortSlot;
use tombolo_tables::handoff::PortError;
use tombolo_tables::layout::{PortIndex, PortRecord, port_flag};
use tombolo_tables::view::Tables;
use tombolo_worker::ports::ServedPort;

/// A kernel device whose queues the workers serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its interface index.
    pub ifindex: u32,
    /// Attach in generic mode by choice.
    pub generic: bool,
    /// First port on it; its TAP carries the device's punts.
    pub port: PortIndex,
}

/// What the workers serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Devices; the position is the slot.
    pub devices: Vec<Device>,
    /// Ports on them.
    pub ports: Vec<ServedPort>,
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
            });
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
