//! The limit of sealing and opening: the cipher alone, one call per packet, over as many cold frames as a journey has, asked for ahead
//! as the worker asks for them. No header, no sequence number, no window, no session.

use crate::clock::Cycles;
use crate::gateway::{FRAMES, ROUND, frame_size};
use tombolo_packet_io::memory::Memory;
use tombolo_packet_io::{Frame, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::region_prefetch::prefetch_near;
use tombolo_tunnel::aead::ICV_BYTES;
use tombolo_tunnel::{Cipher, SaKeys};

const LINK: usize = 14;
/// Where the ciphertext begins: behind IPv4 header, SPI, sequence number and IV.
const SEALED_AT: usize = LINK + 20 + 16;
/// As the worker does it.
const AHEAD: usize = 4;
const ASKED: usize = 1024;
const CACHE_LINE: usize = 64;
const ASSOCIATED: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From each frame into another, which was just read.
    Seal,
    /// Within each frame, to where the inner packet goes.
    Open,
}

/// The cipher and its frames.
pub struct RawAead {
    direction: Direction,
    keys: SaKeys,
    frames: Vec<Frame>,
    spare: Option<Frame>,
    memory: Memory,
    /// Bytes that are encrypted: packet, padding and trailer.
    length: usize,
    next: u64,
}

impl RawAead {
    /// For inner packets of `length` bytes.
    pub fn new(direction: Direction, length: usize) -> Self {
        let length = (length + 2).next_multiple_of(4);
        let bytes = SEALED_AT + length + ICV_BYTES;
        let mut memory = Memory::with_frame_size(1, FRAMES, frame_size((bytes - LINK) as u16));
        let (mut frames, mut batch) = (Vec::with_capacity(ROUND), FrameBatch::new());
        while frames.len() < ROUND {
            memory.inject(PortSlot(0), &vec![0x45; bytes]);
            memory.receive(PortSlot(0), &mut batch);
            frames.extend(batch.drain());
        }
        RawAead {
            direction,
            keys: SaKeys::new(Cipher::Aes256Gcm, &[7; 32], [1; 4]).expect("the cipher's key length"),
            frames,
            spare: memory.allocate(),
            memory,
            length,
            next: 1,
        }
    }

    /// One packet in each frame; cycles per packet.
    pub fn round(&mut self, cycles: &Cycles) -> f64 {
        let first = self.next;
        self.next += ROUND as u64;
        self.write_all(first);
        let start = cycles.now();
        match self.direction {
            Direction::Seal => self.seal_all(first),
            Direction::Open => self.open_all(first),
        }
        (cycles.now() - start) as f64 / ROUND as f64
    }

    /// What arrives, written as a journey's frames are.
    fn write_all(&mut self, first: u64) {
        for (sequence, frame) in (first..).zip(&mut self.frames) {
            frame.set_len(SEALED_AT + self.length + ICV_BYTES);
            frame.packet_mut().fill(sequence as u8);
            if self.direction == Direction::Open {
                let (data, icv) = frame.packet_mut()[SEALED_AT..].split_at_mut(self.length);
                let tag = self.keys.seal_in_place(sequence.to_be_bytes(), ASSOCIATED, data);
                icv.copy_from_slice(&tag.expect("it is short"));
            }
        }
    }

    fn seal_all(&mut self, first: u64) {
        let mut to = self.spare.take().expect("it is given back below");
        for place in 0..self.frames.len() {
            self.ask(place + AHEAD);
            let iv = (first + place as u64).to_be_bytes();
            let from = &mut self.frames[place];
            let plain = &from.packet()[LINK..LINK + self.length];
            let sealed = self.keys.seal(iv, ASSOCIATED, plain, &mut to.buffer_mut()[SEALED_AT..]);
            assert!(sealed.is_some(), "it is short");
            core::mem::swap(&mut to, from);
        }
        self.spare = Some(to);
    }

    fn open_all(&mut self, first: u64) {
        for place in 0..self.frames.len() {
            self.ask(place + AHEAD);
            let iv = (first + place as u64).to_be_bytes();
            let buffer = &mut self.frames[place].packet_mut()[LINK..];
            let opened = self.keys.open_shifting(iv, ASSOCIATED, buffer, SEALED_AT - LINK..);
            assert_eq!(opened, Ok(self.length), "it is authentic");
        }
    }

    #[inline(always)]
    fn ask(&self, place: usize) {
        let packet = self.frames.get(place).map_or(&[][..], |frame| frame.packet());
        for line in packet[..packet.len().min(ASKED)].chunks(CACHE_LINE) {
            prefetch_near(&line[0]);
        }
    }
}

impl Drop for RawAead {
    fn drop(&mut self) {
        for frame in self.frames.drain(..).chain(self.spare.take()) {
            self.memory.release(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_packets_pass_both_ways() {
        let cycles = Cycles::new();
        for direction in [Direction::Seal, Direction::Open] {
            for length in [64, 8900] {
                let mut raw = RawAead::new(direction, length);
                assert!((0..2).all(|_| raw.round(&cycles) > 0.0), "{direction:?} {length}");
            }
        }
    }
}
