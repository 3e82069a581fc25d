//! What an SA's selectors let out of a tunnel (RFC 4301 §5.2), with the express lane and without.

use std::collections::BTreeMap;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{from_host, host, sealed_by};
use tombolo_sim::worlds::{PROD, Side, TunnelKind, UPLINK, demo};
use tombolo_tables::fate::DropReason;

/// A port that does not exist: nothing is copied, and yet somebody captures, so everything takes the general journey.
const CAPTURE_NOTHING: u64 = 1 << 63;

#[test]
fn selectors_for_all_of_one_family_let_nothing_of_the_other_out() {
    for (lane, carried) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut world = demo(Side::A, TunnelKind::PLAIN);
        world.capture = if lane { 0 } else { CAPTURE_NOTHING };
        let of_family = world.selectors.iter().find(|one| one.remote_first.is_v4() != carried);
        let all = *of_family.expect("one of each family");
        world.selectors.fill(all);
        let mut a = SimGateway::new(&world, SMALL, 1);
        for (number, v6) in [(1, false), (2, true)] {
            let inner = from_host(Side::B, PROD, host(Side::A, PROD, v6).ip).udp(1, 2, b"in");
            let sealed = sealed_by(Side::B, PROD, number, &inner[14..]);
            let arrived = a.pass(UPLINK as u8, &sealed, PROD as u8);
            let expected = usize::from(v6 == carried);
            assert_eq!(arrived.len(), expected, "lane {lane}, selectors v6 {carried}, v6 {v6}");
        }
        assert_eq!(a.drops(), BTreeMap::from([(DropReason::EspSelectors, 1)]));
        a.assert_books();
    }
}
