//! Frames, and the three places they come from: AF_XDP, memory, a capture file.
//!
//! * [`Frame`] is a token for one frame of memory. It cannot be copied, so a frame is in one place at a time, and every
//!   backend can count where its frames are ([`FrameCensus`]).
//! * [`PacketIo`] is what a worker sees of the world: receive, transmit, flush, wait.
//! * [`memory`] serves tests and benches, [`pcap`] replays a capture without root, [`af_xdp`] drives devices ([`offload`] prepares them), [`tap`]
//!   opens the way into the kernel.
//!
//! Untrusted: the bytes of every packet, and capture files. This crate never looks into a packet.

pub mod af_xdp;
mod arena;
mod batch;
mod frame;
pub mod memory;
pub mod offload;
mod packet_io;
pub mod pcap;
mod queue;
pub mod tap;

pub use batch::{BATCH, Drain, FrameBatch};
pub use frame::{FRAME_CAPACITY, FRAME_HEAD, FRAME_HEADROOM, FRAME_SIZE, Frame, JUMBO_FRAME_SIZE, leaked_frames};
pub use packet_io::{FrameCensus, PacketIo, PortSlot};
