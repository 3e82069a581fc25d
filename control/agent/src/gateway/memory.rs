//! The memory of the gateway for status: regions and frames, the pages that they lie on, and what to do for larger ones.

use super::Gateway;
use tombolo_api::Region;
use tombolo_tables::layout::PortIndex;
use tombolo_tables::port_status;

const HUGE_PAGE: u64 = 2 << 20;
const RESERVED: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
/// Read by workers for every packet; the secrets are not.
const WANT_HUGE_PAGES: [&str; 3] = ["tables", "state", "frames"];

impl Gateway {
    /// The regions, and the frames as the running dataplane has them.
    pub(super) fn memory(&self) -> Vec<Region> {
        let mut memory = self.regions.list();
        if self.dataplane.connection.is_some() {
            let ports = 0..u16::try_from(self.plan.world.ports.len()).unwrap_or(u16::MAX);
            let statuses = ports.map(|index| port_status::read(self.regions.state, PortIndex(index)));
            // Ports share the frames of their workers: each that is served says the same.
            let known = statuses.map(|status| (status.huge_frame_bytes, status.small_frame_bytes));
            let (huge, small) = known.into_iter().find(|bytes| *bytes != (0, 0)).unwrap_or_default();
            let page = rustix::param::page_size() as u64;
            let frames = [(huge, HUGE_PAGE), (small, page)]
                .into_iter()
                .filter(|(bytes, _)| *bytes > 0);
            memory.extend(frames.map(|(bytes, page_bytes)| Region {
                name: "frames".into(),
                bytes,
                page_bytes,
            }));
        }
        memory
    }
}

/// Pages of 2 MiB that the administrator reserved.
pub(super) fn huge_pages_reserved() -> u64 {
    let text = std::fs::read_to_string(RESERVED).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// What lies on small pages although large ones are reserved. Who reserved none wanted none.
pub(super) fn alarms(memory: &[Region], reserved: u64) -> Vec<String> {
    let wanting = memory
        .iter()
        .filter(|part| WANT_HUGE_PAGES.contains(&part.name.as_str()));
    wanting
        .filter(|part| reserved > 0 && part.page_bytes < HUGE_PAGE)
        .map(|part| {
            format!(
                "{} of {} MiB lie on {} KiB pages: too few 2 MiB pages were free, {} more are needed (vm.nr_hugepages)",
                part.name,
                part.bytes >> 20,
                part.page_bytes >> 10,
                part.bytes.div_ceil(HUGE_PAGE)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, mib: u64, page_bytes: u64) -> Region {
        Region {
            name: name.into(),
            bytes: mib << 20,
            page_bytes,
        }
    }

    #[test]
    fn small_pages_are_an_alarm_only_beside_reserved_large_ones() {
        let memory = [
            part("state", 70, HUGE_PAGE),
            part("secrets", 1, 4096),
            part("frames", 32, HUGE_PAGE),
            part("frames", 31, 4096),
        ];
        assert_eq!(alarms(&memory, 0), Vec::<String>::new());
        let said = alarms(&memory, 60);
        let [frames] = &said[..] else { panic!("{said:?}") };
        assert!(frames.starts_with("frames of 31 MiB lie on 4 KiB pages"), "{frames}");
        assert!(frames.contains("16 more are needed"), "{frames}");
    }
}
