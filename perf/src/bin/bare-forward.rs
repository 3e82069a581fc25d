//! `bare-forward`: what comes in on one device leaves by the other with new MAC addresses, and nothing else.
//!
//! The limit of what a gateway can do on this kernel path: the same steering program, sockets, frames and rings, no journey.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use clap::Parser;
use std::time::Duration;
use tombolo_packet_io::af_xdp::{AfXdp, AfXdpConfig, AfXdpPort};
use tombolo_packet_io::{FrameBatch, PacketIo, PortSlot};
use tombolo_perf::device::{Device, Mac, steer};
use tombolo_perf::pin::pin;
use tombolo_tables::region_prefetch::prefetch;

/// Rounds without a frame before it sleeps, as a worker's.
const EMPTY_ROUNDS: u32 = 32;

/// Forwards between two devices until it is killed; says "ready" when it does.
#[derive(Parser)]
struct Arguments {
    left: String,
    right: String,
    /// MAC address of the next station beyond the left device.
    #[arg(long)]
    left_next: Mac,
    /// The same beyond the right one.
    #[arg(long)]
    right_next: Mac,
    #[arg(long, default_value_t = 0)]
    core: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    pin(Some(arguments.core));
    let devices = [Device::find(&arguments.left)?, Device::find(&arguments.right)?];
    let port = |device: &Device| AfXdpPort {
        device: device.name.clone(),
        queue: 0,
        tap: None,
        read_tap: false,
    };
    let mut io = AfXdp::open(AfXdpConfig {
        ports: devices.iter().map(port).collect(),
        ..AfXdpConfig::default()
    })?;
    let steering = steer(&devices, &io).context("the steering program")?;
    ensure!(io.ports() == 2, "two ports");
    println!("ready");
    let ways = [
        (PortSlot(0), PortSlot(1), devices[1].mac, arguments.right_next),
        (PortSlot(1), PortSlot(0), devices[0].mac, arguments.left_next),
    ];
    let (mut batch, mut empty) = (FrameBatch::new(), 0);
    loop {
        let mut moved = 0;
        for (from, to, source, destination) in ways {
            moved += io.receive(from, &mut batch);
            // As the gateway does: the kernel wrote the frames on another core.
            batch.iter().for_each(|frame| prefetch(frame.head()));
            for mut frame in batch.drain() {
                frame.packet_mut()[..6].copy_from_slice(&destination.0);
                frame.packet_mut()[6..12].copy_from_slice(&source.0);
                if let Err(frame) = io.transmit(to, frame) {
                    io.release(frame);
                }
            }
        }
        io.flush();
        empty = if moved == 0 { empty + 1 } else { 0 };
        if empty > EMPTY_ROUNDS && !io.tx_pending() {
            io.wait(Duration::from_secs(1), None);
            empty = 0;
            // Kept until here: the sockets are in its map.
            let _ = &steering;
        }
    }
}
