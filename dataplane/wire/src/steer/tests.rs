//! A few anchors; the full table and the comparison with BPF are in `bpf/tests/`.

use super::*;

fn udp_v4(destination: [u8; 4], destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 9, 9, 9, 9, 9, 8, 0];
    let total = (28 + payload.len()) as u16;
    frame.extend([
        0x45,
        0,
        (total >> 8) as u8,
        total as u8,
        0,
        0,
        0,
        0,
        64,
        UDP,
        0,
        0,
        198,
        51,
        100,
        9,
    ]);
    frame.extend(destination);
    frame.extend([0x10, 0x00]);
    frame.extend(destination_port.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

#[test]
fn ike_is_the_kernels_only_at_an_own_address() {
    let config = config::example();
    assert_eq!(
        steer(&config, 1, &udp_v4([192, 0, 2, 1], 500, &[1; 28])),
        Verdict::PassIke
    );
    assert_eq!(
        steer(&config, 1, &udp_v4([198, 51, 100, 1], 500, &[1; 28])),
        Verdict::WorkTransit
    );
    assert_eq!(
        steer(&config, 1, &udp_v4([192, 0, 2, 1], 4500, &[0; 28])),
        Verdict::PassIke
    );
    assert_eq!(
        steer(&config, 1, &udp_v4([192, 0, 2, 1], 4500, &[9; 28])),
        Verdict::WorkEspUdp
    );
    assert_eq!(
        steer(&config, 1, &udp_v4([192, 0, 2, 1], 4500, &[0xff])),
        Verdict::DropKeepalive
    );
}

#[test]
fn every_truncation_has_a_verdict() {
    let config = config::example();
    let frame = udp_v4([192, 0, 2, 1], 25000, &[7; 16]);
    assert_eq!(steer(&config, 1, &frame), Verdict::WorkNat);
    for length in 0..frame.len() {
        let verdict = steer(&config, 1, &frame[..length]);
        let expected = if length < 14 {
            Verdict::DropTruncated
        } else {
            Verdict::WorkMalformed
        };
        assert_eq!(verdict, expected, "at {length} bytes");
    }
}

#[test]
fn names_are_unique_and_say_the_action() {
    for verdict in Verdict::ALL {
        let prefix = match verdict.action() {
            Action::Pass => "pass-",
            Action::Work => "work-",
            Action::Drop => "drop-",
        };
        assert!(verdict.name().starts_with(prefix), "{verdict:?}");
        let same = Verdict::ALL
            .iter()
            .filter(|other| other.name() == verdict.name())
            .count();
        assert_eq!(same, 1, "{verdict:?}");
    }
}

/// The committed corpus, each frame cut at every length, and seeded mutations of each.
#[test]
fn no_frame_panics() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/steer");
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus is committed") {
        let seed = std::fs::read(entry.expect("readable").path()).expect("readable");
        seeds += 1;
        for length in 0..=seed.len() {
            fuzz_steer(&seed[..length]);
        }
        for _ in 0..1000 {
            let mut mutated = seed.clone();
            for _ in 0..=next(4) {
                let at = next(mutated.len());
                mutated[at] = next(256) as u8;
            }
            fuzz_steer(&mutated);
        }
    }
    assert!(seeds >= 8);
}
