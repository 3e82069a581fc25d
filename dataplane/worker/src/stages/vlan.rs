//! The link between a VLAN port and the kernel, which sees no tags: a TAP in the place of the device that an untagged port is.
//!
//! The steering program redirects all frames of a VLAN port. What it would have passed to the kernel is found here by the same
//! rule and handed over untagged; what the kernel sends there is tagged and goes out as it is, ARP and all.

use crate::batch::Entry;
use crate::gateway::Gateway;
use crate::stages::emit::make_room_for_tag;
use tombolo_packet_io::{Frame, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::PortIndex;
use tombolo_wire::ethertype;
use tombolo_wire::steer::{Action, steer_known};

/// Where the tag stands: behind both MAC addresses.
const TAG_AT: usize = 12;

/// Whether the kernel gets this frame, which came in on the VLAN port `port`.
pub(super) fn is_for_kernel<I: PacketIo>(gateway: &Gateway<'_, I>, port: PortIndex, frame: &[u8]) -> bool {
    let config = gateway.steering;
    let known = config.ports.iter().find(|known| known.index == port.0);
    known.is_some_and(|known| steer_known(config, known, frame).action() == Action::Pass)
}

/// Sends what came through the TAP on `slot`, if that is a VLAN's link; false if it is not.
pub(crate) fn from_kernel<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    slot: PortSlot,
    entry: Entry,
    frames: &mut FrameBatch,
) -> bool {
    if entry != Entry::Kernel {
        return false;
    }
    let Some(place) = gateway.ports.of_link(slot) else {
        return false;
    };
    for mut frame in frames.drain() {
        gateway.books.enter(place.port, entry, frame.len());
        if !tag(&mut frame, place.vlan) {
            gateway.settle_frame(frame, place.port, slot, Fate::Drop(DropReason::TooBig));
            continue;
        }
        let bytes = frame.len();
        if gateway.capture.is_on() {
            gateway.capture.transmitted(place.port, &frame);
        }
        match gateway.io.transmit(place.slot, frame) {
            Ok(()) => {
                gateway.books.settle(place.port, Fate::Send);
                gateway.books.transmitted(place.port, bytes);
            }
            Err(frame) => gateway.settle_frame(frame, place.port, slot, Fate::Drop(DropReason::TxFull)),
        }
    }
    if gateway.capture.is_on() {
        gateway.capture.close();
    }
    true
}

/// Puts a tag into a frame; false when it has no room, or is no frame.
fn tag(frame: &mut Frame, vlan: u16) -> bool {
    if !make_room_for_tag(frame) {
        return false;
    }
    let bytes = frame.packet_mut();
    bytes.copy_within(TAG_AT..TAG_AT + 2, TAG_AT + 4);
    bytes[TAG_AT..TAG_AT + 2].copy_from_slice(&ethertype::VLAN.to_be_bytes());
    bytes[TAG_AT + 2..TAG_AT + 4].copy_from_slice(&vlan.to_be_bytes());
    true
}
