//! Malformed packets of every kind into every port: after each, no panic, books that balance, all frames accounted for, and
//! nothing of a protected prefix in clear.

use tombolo_sim::frames::{Kind, every_kind};
use tombolo_sim::prey::{Arrival, Prey};
use tombolo_sim::random::Random;
use tombolo_sim::worlds::TunnelKind;
use tombolo_tables::fate::DropReason;

const PORTS: [u8; 3] = [0, 1, 2];

fn prey() -> (Prey, Vec<Kind>) {
    let mut prey = Prey::new(TunnelKind::PLAIN);
    let kinds = every_kind(prey.gateway());
    (prey, kinds)
}

/// The same with an IP length that knows of the cut: the fault is left to the header behind.
fn with_length(cut: &[u8]) -> Vec<u8> {
    let mut frame = cut.to_vec();
    if frame.len() >= 34 && frame[12..14] == [8, 0] {
        let length = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
    } else if frame.len() >= 54 && frame[12..14] == [0x86, 0xdd] {
        let length = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&length.to_be_bytes());
    }
    frame
}

#[test]
fn truncated_at_every_byte() {
    let (mut prey, kinds) = prey();
    for kind in &kinds {
        for length in 0..=kind.frame.len() {
            let cut = &kind.frame[..length];
            prey.bite(Arrival::Wire(kind.port), cut);
            prey.bite(Arrival::Wire((kind.port + 1) % 3), cut);
            for port in PORTS {
                prey.bite_deep(Arrival::Wire(port), cut);
            }
            prey.bite_deep(Arrival::Sealed, cut);
            let consistent = with_length(cut);
            prey.bite_deep(Arrival::Wire(kind.port), &consistent);
            prey.bite_deep(Arrival::Sealed, &consistent);
        }
        prey.gateway().sleep(10);
    }
    let drops = prey.gateway().drops();
    for reason in [
        DropReason::EthernetTruncated,
        DropReason::IpMalformed,
        DropReason::L4Malformed,
        DropReason::ExtensionHeaders,
        DropReason::EspTooShort,
        DropReason::EspAuth,
        DropReason::FragmentOverlap,
        DropReason::NotIp,
        DropReason::ClearFromUnderlay,
        DropReason::WrongMac,
    ] {
        assert!(drops.contains_key(&reason), "{reason:?} never happened: {drops:?}");
    }
}

#[test]
fn every_length_and_offset_field_lies() {
    let (mut prey, kinds) = prey();
    for kind in &kinds {
        // Every byte of the headers takes the values at which a length, an offset or a type turns over.
        for place in 12..kind.frame.len().min(14 + 40 + 40) {
            for value in [0, 1, 4, 5, 0x3f, 0x40, 0x45, 0x46, 0x4f, 0x60, 0x7f, 0x80, 0xfe, 0xff] {
                let mut frame = kind.frame.clone();
                frame[place] = value;
                prey.bite_deep(Arrival::Wire(kind.port), &frame);
                prey.bite_deep(Arrival::Sealed, &frame);
            }
        }
        prey.gateway().sleep(10);
    }
}

#[test]
fn flipped_bits() {
    let (mut prey, kinds) = prey();
    let mut random = Random::new(0x666c_6970);
    for round in 0..30_000 {
        let kind = &kinds[random.below(kinds.len())];
        let mut frame = kind.frame.clone();
        for _ in 0..=random.below(3) {
            let place = random.below(frame.len());
            frame[place] ^= 1 << random.below(8);
        }
        let port = random.of(&PORTS);
        let arrival = random.of(&[
            Arrival::Wire(kind.port),
            Arrival::Wire(kind.port),
            Arrival::Wire(port),
            Arrival::Kernel(port),
            Arrival::Sealed,
        ]);
        if random.once_in(3) {
            prey.bite(arrival, &frame);
        } else {
            prey.bite_deep(arrival, &frame);
        }
        if round % 100 == 0 {
            prey.gateway().sleep(random.bits() % 20_000);
        }
        if random.once_in(500) {
            prey.change();
        }
    }
}

#[test]
fn random_bytes() {
    let (mut prey, _) = prey();
    let mut random = Random::new(0x7261_6e64);
    for round in 0..30_000 {
        let mut frame: Vec<u8> = (0..random.below(200)).map(|_| random.bits() as u8).collect();
        // Half of them claim to be IP, so that more than the link header is read.
        if frame.len() > 14 && random.once_in(2) {
            let v6 = random.once_in(2);
            frame[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
            frame[14] = if v6 { 0x60 } else { 0x45 };
        }
        let arrival = random.of(&[
            Arrival::Wire(0),
            Arrival::Wire(1),
            Arrival::Wire(2),
            Arrival::Kernel(2),
            Arrival::Sealed,
        ]);
        prey.bite_deep(arrival, &frame);
        if round % 100 == 0 {
            prey.gateway().sleep(100);
        }
    }
}

#[test]
fn grown_and_spliced() {
    let (mut prey, kinds) = prey();
    let mut random = Random::new(0x7370_6c69);
    for _ in 0..10_000 {
        let head = &kinds[random.below(kinds.len())];
        let tail = &kinds[random.below(kinds.len())].frame;
        let mut frame = head.frame[..random.below(head.frame.len())].to_vec();
        frame.extend_from_slice(&tail[random.below(tail.len())..]);
        if random.once_in(4) {
            frame.resize(frame.len() + random.below(1500), 0x41);
        }
        let arrival = random.of(&[Arrival::Wire(head.port), Arrival::Wire(2), Arrival::Sealed]);
        prey.bite_deep(arrival, &frame);
    }
}

#[test]
fn with_a_tunnel_in_udp() {
    let mut prey = Prey::new(TunnelKind {
        udp: true,
        ..TunnelKind::PLAIN
    });
    let kinds = every_kind(prey.gateway());
    for kind in &kinds {
        for length in 0..=kind.frame.len() {
            prey.bite_deep(Arrival::Wire(kind.port), &kind.frame[..length]);
        }
    }
}
