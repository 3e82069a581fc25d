//! How long large tables take to compile and to publish, and what they occupy: `cargo run --release --example growth`.

#![forbid(unsafe_code)]

use std::net::Ipv4Addr;
use std::time::Instant;
use tombolo_tables::build::{Route, World};
use tombolo_tables::layout::{NextHop, SaRecord, SectionId, SegmentIndex, SegmentRecord, TunnelRecord, sa_flag};
use tombolo_tables::publish::{Publisher, TablesRegion};
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::state::{Limits, State, StateSpec};
use zerocopy::FromZeros;

/// Bytes of the tables region.
const REGION: usize = 256 << 20;
/// How often each step is timed.
const REPETITIONS: usize = 7;

fn main() {
    let tables = Region::create("growth", REGION, HugePages::WhereReserved).expect("there is memory");
    let tables = TablesRegion::create(tables).expect("it is large enough");
    let spec = StateSpec::new(Limits {
        workers: 1,
        ports: 1,
        ..Limits::default()
    });
    let state = Region::create("growth-state", spec.bytes(), HugePages::Never).expect("there is memory");
    let state = State::create(state, &spec).expect("it is large enough");
    let mut publisher = Publisher::open(&tables, &state).expect("nobody else publishes");
    for count in [1, 100_000, 1_000_000] {
        let mut world = World {
            segments: vec![SegmentRecord::new_zeroed()],
            ..World::default()
        };
        world.routes = (0..count).map(route).collect();
        measure(
            &format!("{count} IPv4 routes"),
            &world,
            SectionId::Routes4,
            &mut publisher,
        );
        world.routes.push(route(count));
        measure("and one more", &world, SectionId::Routes4, &mut publisher);
    }
    let mut world = World {
        tunnels: vec![TunnelRecord::new_zeroed()],
        ..World::default()
    };
    world.sas = (1..=60_000).map(sa).collect();
    measure("60000 SAs", &world, SectionId::Sas, &mut publisher);
    world.sas.push(sa(60_001));
    measure("and one more", &world, SectionId::Sas, &mut publisher);
}

/// Different /24 routes, spread over the unicast addresses.
fn route(number: u32) -> Route {
    let place = number.wrapping_mul(0x9e37_79b1) & 0x3f_ffff;
    Route {
        segment: SegmentIndex(0),
        prefix: Ipv4Addr::from(0x2000_0000 + (place << 8)).into(),
        length: 24,
        v6: false,
        next_hop: [
            NextHop::Discard,
            NextHop::Unreachable,
            NextHop::Segment(SegmentIndex(0)),
        ][number as usize % 3],
    }
}

fn sa(number: u32) -> SaRecord {
    SaRecord {
        spi: 255 + number,
        cipher: tombolo_tables::layout::cipher::AES_256_GCM,
        flags: sa_flag::INBOUND,
        replay_window: 64,
        ..SaRecord::new_zeroed()
    }
}

/// Builds and publishes the world some times, each time as if anew, and prints the medians.
fn measure(what: &str, world: &World, section: SectionId, publisher: &mut Publisher<'_>) {
    let (mut compiled, mut published) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for number in 0..REPETITIONS {
        let start = Instant::now();
        let sections = world.build().expect("the world is consistent");
        compiled.push(start.elapsed());
        bytes = sections.get(section).len();
        let start = Instant::now();
        publisher.publish(&sections).expect("it has room");
        published.push(start.elapsed());
        if number + 1 < REPETITIONS {
            let nothing = World::default().build().expect("nothing is consistent");
            publisher.publish(&nothing).expect("it has room");
            publisher.reclaim();
        }
    }
    compiled.sort_unstable();
    published.sort_unstable();
    println!(
        "{what}: compiled in {:.1?} (least {:.1?}), published in {:.1?} (least {:.1?}), {bytes} bytes",
        compiled[REPETITIONS / 2],
        compiled[0],
        published[REPETITIONS / 2],
        published[0],
    );
}
