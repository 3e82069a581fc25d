//! Staying on one core, so that caches and the counter are one core's.

/// Pins the calling thread to `core`, the last one if none is given.
pub fn pin(core: Option<usize>) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let wanted = match core {
        Some(core) => cores.iter().find(|id| id.id == core),
        None => cores.last(),
    };
    let pinned = wanted.is_some_and(|core| core_affinity::set_for_current(*core));
    if !pinned {
        eprintln!("not pinned to a core: expect more spread");
    }
}

/// As the kernel names the processor.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':']))
        .to_owned()
}
