//! Verdict counters: per port and CPU in the map, summed here.

use crate::layout::COUNTERS;
use crate::maps::with_map;
use crate::{SteerError, Verdict};
use libbpf_rs::{MapCore, MapFlags, Object};

/// What steering did with the frames of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortVerdicts {
    frames: [u64; COUNTERS],
}

const _: () = assert!(Verdict::ALL.len() < COUNTERS);

impl PortVerdicts {
    /// Frames with this verdict.
    pub fn of(&self, verdict: Verdict) -> u64 {
        self.frames[verdict as usize]
    }

    /// Frames for the workers that found no socket and were dropped (among those of the `Work…` verdicts, and of a
    /// VLAN port's `Pass…` verdicts).
    pub fn no_socket(&self) -> u64 {
        self.frames[Verdict::ALL.len()]
    }

    /// All frames.
    pub fn total(&self) -> u64 {
        Verdict::ALL.iter().map(|&verdict| self.of(verdict)).sum()
    }

    /// Verdicts with their counts, zeros left out.
    pub fn nonzero(&self) -> impl Iterator<Item = (Verdict, u64)> {
        Verdict::ALL
            .iter()
            .map(|&verdict| (verdict, self.of(verdict)))
            .filter(|&(_, count)| count > 0)
    }
}

pub(crate) fn read(object: &Object, index: u16) -> Result<PortVerdicts, SteerError> {
    let row = u32::from(index).to_ne_bytes();
    let per_cpu = with_map(object, "verdicts", |map| map.lookup_percpu(&row, MapFlags::ANY))?;
    let mut frames = [0; COUNTERS];
    for cpu in per_cpu.unwrap_or_default() {
        for (sum, word) in frames.iter_mut().zip(cpu.chunks_exact(8)) {
            *sum += u64::from_ne_bytes(word.try_into().expect("chunks of eight bytes"));
        }
    }
    Ok(PortVerdicts { frames })
}

pub(crate) fn reset(object: &Object, index: u16) -> Result<(), SteerError> {
    let row = u32::from(index).to_ne_bytes();
    with_map(object, "verdicts", |map| {
        let cpus = libbpf_rs::num_possible_cpus()?;
        map.update_percpu(&row, &vec![vec![0; COUNTERS * 8]; cpus], MapFlags::ANY)
    })
}
