//! Opening devices and TAPs: a socket per queue of each device, in the steering program's maps before it is attached.

use crate::ports::{Device, Served};
use anyhow::Context;
use std::os::fd::OwnedFd;
use tombolo_bpf::{AttachMode, AttachRequest, Steering};
use tombolo_packet_io::af_xdp::{AfXdp, AfXdpConfig, AfXdpPort, Tap};
use tombolo_packet_io::{offload, tap};
use tombolo_tables::handoff::PortError;
use tombolo_tables::layout::PortIndex;
use tombolo_tables::port_status::{Attached, PortStatus};

/// The ways into the kernel; kept while workers come and go, so that the kernel's addresses and routes on them stay.
#[derive(Default)]
pub struct Taps {
    open: Vec<(String, OwnedFd)>,
}

impl Taps {
    /// Opens the TAPs of `served` that are not open, closes those that nothing served has.
    pub fn keep(&mut self, served: &Served) -> anyhow::Result<()> {
        let wanted: Vec<String> = served.tap_names().into_iter().flatten().collect();
        self.open.retain(|(name, _)| wanted.contains(name));
        for name in wanted {
            if !self.open.iter().any(|(open, _)| *open == name) {
                let tap = tap::open(&name).with_context(|| format!("open the TAP device {name}"))?;
                self.open.push((name, tap));
            }
        }
        Ok(())
    }

    fn duplicate(&self, name: Option<&String>) -> anyhow::Result<Option<OwnedFd>> {
        let found = self.open.iter().find(|(open, _)| Some(open) == name);
        Ok(found.map(|(_, tap)| tap::duplicate(tap)).transpose()?)
    }
}

/// Switches off what would hide VLAN tags; where a driver insists, tagged frames are not seen, untagged ones are.
pub fn prepare(served: &Served) {
    for device in &served.devices {
        if let Err(error) = offload::vlan_off(&device.name) {
            eprintln!("tombolo-dataplane: {}: VLAN offload stays on: {error}", device.name);
        }
    }
}

/// Opens the sockets of worker `worker`: queue `worker` of every device.
pub fn open(served: &Served, taps: &Taps, worker: usize) -> anyhow::Result<AfXdp> {
    let names = served.tap_names();
    let (of_devices, of_vlans) = names.split_at(served.devices.len());
    let read = worker == 0;
    let port = |(device, name): (&Device, &Option<String>)| {
        Ok(AfXdpPort {
            device: device.name.clone(),
            queue: worker as u32,
            tap: taps.duplicate(name.as_ref())?,
            read_tap: read,
        })
    };
    let devices = served.devices.iter().zip(of_devices);
    let ports = devices.map(port).collect::<anyhow::Result<_>>()?;
    let mut beside = Vec::new();
    for name in of_vlans {
        let fd = taps
            .duplicate(name.as_ref())?
            .context("the TAPs of what is served are open")?;
        beside.push(Tap { fd, read });
    }
    Ok(AfXdp::open(AfXdpConfig {
        ports,
        taps: beside,
        ..AfXdpConfig::default()
    })?)
}

/// Puts a worker's sockets into the steering program's map.
pub fn insert(steering: &Steering, io: &AfXdp, worker: usize) -> anyhow::Result<()> {
    for (slot, socket) in io.sockets() {
        steering.insert_socket(u16::from(slot.0), worker as u32, socket)?;
    }
    Ok(())
}

/// Attaches the program to every device; what fails is told port by port.
pub fn attach(
    steering: &Steering,
    served: &Served,
    workers: &[&AfXdp],
) -> (Vec<(PortIndex, PortStatus)>, Vec<PortError>) {
    let (mut statuses, mut errors) = (Vec::new(), Vec::new());
    for (slot, device) in served.devices.iter().enumerate() {
        let request = if device.generic {
            AttachRequest::Generic
        } else {
            AttachRequest::NativeOrGeneric
        };
        let attached = match steering.attach(device.ifindex, request) {
            Ok(AttachMode::Native) => Attached::Native,
            Ok(AttachMode::Generic) => Attached::Generic,
            Err(error) => {
                errors.push(PortError {
                    port: device.port.0,
                    text: error.to_string(),
                });
                Attached::No
            }
        };
        let zero_copy = |io: &&AfXdp| io.modes().get(slot).is_some_and(|mode| mode.zero_copy);
        let status = PortStatus {
            attached,
            zero_copy: !workers.is_empty() && workers.iter().all(zero_copy),
            queues: workers.len() as u16,
            huge_frame_bytes: frame_bytes(workers, true),
            small_frame_bytes: frame_bytes(workers, false),
        };
        let ports = served.ports.iter().filter(|port| port.slot.usize() == slot);
        statuses.extend(ports.map(|port| (port.port, status)));
    }
    (statuses, errors)
}

fn frame_bytes(workers: &[&AfXdp], huge_pages: bool) -> u64 {
    let those = workers.iter().filter(|io| io.huge_pages() == huge_pages);
    those.map(|io| io.frame_bytes() as u64).sum()
}
