//! Descriptors are conserved: the only test of its process, so that nobody else opens any.

use std::time::Duration;
use tombolo_tables::build::World;
use tombolo_tables::handoff::{Adopted, ControlLink, Listener, RegionFds, Request, Wakes};
use tombolo_tables::publish::{Publisher, TablesRegion};
use tombolo_tables::reader::Reader;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::state::{Limits, State, StateSpec};

const SOON: Duration = Duration::from_secs(10);

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn publish_a_thousand(tables: &TablesRegion, state: &State) {
    let mut publisher = Publisher::open(tables, state).unwrap();
    let mut reader = Reader::new(tables, state, 0).unwrap();
    for number in 1..=1000 {
        let world = World {
            capture: number,
            names: "n".repeat(number as usize),
            ..World::default()
        };
        let generation = publisher.publish(&world.build().unwrap()).unwrap();
        assert_eq!(reader.begin_batch().0.capture(), number);
        assert!(publisher.wait_announced(generation, SOON));
    }
}

/// Control comes and goes; each time it is offered all descriptors.
fn adopt_fifty_times(listener: &Listener, runtime_dir: &std::path::Path, regions: &RegionFds, wakes: &Wakes) {
    for _ in 0..50 {
        std::thread::scope(|scope| {
            let control = scope.spawn(|| ControlLink::connect(runtime_dir, SOON).unwrap());
            let mut link = loop {
                if let Some(link) = listener.accept().unwrap() {
                    break link;
                }
                std::thread::yield_now();
            };
            while !matches!(link.receive().unwrap(), Some(Request::Hello)) {
                std::thread::yield_now();
            }
            link.offer(Some((regions, wakes))).unwrap();
            assert!(matches!(control.join().unwrap(), Adopted::Running { .. }));
        });
    }
}

#[test]
fn publishing_and_adopting_leak_no_descriptor() {
    let spec = StateSpec::new(Limits {
        workers: 1,
        ports: 1,
        ..Limits::default()
    });
    let state = State::create(Region::create("state", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap();
    let tables = TablesRegion::create(Region::create("tables", 1 << 16, HugePages::Never).unwrap()).unwrap();
    let runtime_dir = std::env::temp_dir().join(format!("tombolo-descriptors-{}", std::process::id()));
    std::fs::create_dir(&runtime_dir).unwrap();
    let listener = Listener::bind(&runtime_dir).unwrap();
    let copy = |region: &Region| region.fd().try_clone_to_owned().unwrap();
    let regions = RegionFds {
        tables: copy(tables.region()),
        state: copy(state.region()),
        secrets: Region::create_secret("secrets", 4096).unwrap(),
    };
    let wakes = Wakes::create(4).unwrap();
    let before = open_descriptors();
    publish_a_thousand(&tables, &state);
    adopt_fifty_times(&listener, &runtime_dir, &regions, &wakes);
    let after = open_descriptors();
    std::fs::remove_dir_all(&runtime_dir).unwrap();
    assert_eq!(after, before);
}
