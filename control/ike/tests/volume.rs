//! Child SAs are replaced by what passed through them: bytes, packets, and before their sequence numbers end (RFC 4303 §3.3.3).

mod lab;

use lab::network::Hostility;
use lab::{Lab, connection};
use std::collections::BTreeMap;
use tombolo_ike::What;

/// What has been sealed with each outbound SPI of a side.
type Sealed = BTreeMap<u32, (u64, u64)>;

struct Traffic {
    lab: Lab,
    sealed: [Sealed; 2],
}

impl Traffic {
    fn new(bytes_max: u64, packets_max: u64, esn: bool) -> Traffic {
        let hostility = Hostility {
            delay_ms: 5,
            ..Hostility::default()
        };
        let connections = [0, 1].map(|side| {
            let mut connection = connection(side);
            let child = &mut connection.children[0];
            // Only the first gateway has limits of its own.
            if side == 0 {
                (child.bytes_max, child.packets_max) = (bytes_max, packets_max);
            }
            child.proposals[0].esn = vec![esn];
            vec![connection]
        });
        let mut lab = Lab::new(1, connections, hostility);
        lab.run(lab.now + 1000);
        lab.is_single().unwrap();
        Traffic {
            lab,
            sealed: Default::default(),
        }
    }

    /// So many packets of a side, sealed with what it has, and counted as workers count them.
    fn send(&mut self, side: usize, packets: u64, bytes: u64) {
        let sender = self.lab.hosts[side]
            .installed
            .iter()
            .find(|sa| sa.sends)
            .unwrap()
            .outbound;
        let sum = self.sealed[side].entry(sender).or_default();
        *sum = (sum.0 + packets, sum.1 + bytes);
        let (now, last) = (self.lab.clock(), Some(lab::heard(self.lab.now)));
        let sum = *sum;
        let there = &mut self.lab.hosts[1 - side].endpoint;
        there.handle_traffic(now, sender, last, sum.0, sum.1);
        self.lab.settle(1 - side);
        // All counters are told now and then, those of SAs that are not used any more as well.
        for (spi, (packets, bytes)) in self.sealed[side].clone() {
            self.lab.hosts[side]
                .endpoint
                .handle_sealed(now, "t", spi, packets, bytes);
        }
        self.lab.settle(side);
        self.lab.run(self.lab.now + 100);
    }

    fn rekeyed(&self) -> usize {
        let news = self.lab.hosts[0].news.iter();
        news.filter(|news| matches!(news.what, What::ChildRekeyed { .. }))
            .count()
    }

    /// Most that one SPI of a side sealed.
    fn most(&self, side: usize) -> (u64, u64) {
        let sums = || self.sealed[side].values();
        (
            sums().map(|sum| sum.0).max().unwrap_or(0),
            sums().map(|sum| sum.1).max().unwrap_or(0),
        )
    }
}

#[test]
fn a_child_is_replaced_after_its_bytes() {
    for side in 0..2 {
        let mut traffic = Traffic::new(1_000_000, 0, true);
        for _ in 0..100 {
            traffic.send(side, 10, 50_000);
        }
        // 5 MB, each SA between 0.9 and 1 MB and one step more.
        assert!((4..=6).contains(&traffic.rekeyed()), "{}", traffic.rekeyed());
        assert!(traffic.most(side).1 <= 1_100_000, "{:?}", traffic.sealed);
        traffic.lab.run(traffic.lab.now + 70_000);
        traffic.lab.is_single().unwrap();
    }
}

#[test]
fn a_child_is_replaced_after_its_packets() {
    for side in 0..2 {
        let mut traffic = Traffic::new(0, 10_000, true);
        for _ in 0..100 {
            traffic.send(side, 500, 500);
        }
        assert!((4..=6).contains(&traffic.rekeyed()), "{}", traffic.rekeyed());
        assert!(traffic.most(side).0 <= 11_000, "{:?}", traffic.sealed);
    }
}

#[test]
fn a_fresh_child_is_not_charged_with_what_went_through_the_old_one() {
    let mut traffic = Traffic::new(1_000_000, 0, true);
    // All from the side with the limit; the other one never says anything.
    for _ in 0..19 {
        traffic.send(0, 10, 50_000);
    }
    let before = traffic.rekeyed();
    assert_eq!(before, 1, "just now");
    for _ in 0..15 {
        traffic.send(0, 10, 50_000);
    }
    assert_eq!(
        traffic.rekeyed(),
        before,
        "750 kB of the new one, 950 kB of the old one"
    );
}

#[test]
fn sequence_numbers_do_not_wrap() {
    for side in 0..2 {
        let mut traffic = Traffic::new(0, 0, false);
        for _ in 0..200 {
            traffic.send(side, 1 << 28, 1 << 38);
        }
        let (most, _) = traffic.most(side);
        assert!(
            most < u64::from(u32::MAX),
            "{most} packets with 32-bit sequence numbers"
        );
        assert!((10..=40).contains(&traffic.rekeyed()), "{}", traffic.rekeyed());
    }
    let mut traffic = Traffic::new(0, 0, true);
    for _ in 0..200 {
        traffic.send(0, 1 << 28, 1 << 38);
    }
    assert_eq!(traffic.rekeyed(), 0, "64 bits do not end");
}
