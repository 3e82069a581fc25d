//! The program in the kernel against the table and its twin, by BPF_PROG_TEST_RUN. Needs root.
//!
//! A redirect into an empty map answers XDP_DROP, so the verdict is read from the counters.

mod cases;

use libbpf_rs::ProgramInput;
use std::collections::BTreeSet;
use tombolo_bpf::{Action, PORT_UNKNOWN, SteerConfig, Steering, Verdict};
use tombolo_wire::steer::{steer, steer_port};

/// The loopback device: it exists in every namespace, and nothing is attached to it.
const LOOPBACK: u32 = 1;
/// Most mutated frames.
const MUTATIONS: usize = 20_000;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

fn skipped(name: &str) -> bool {
    let skip = std::env::var("TOMBOLO_SKIP_ROOT").is_ok_and(|value| value == "1");
    if skip {
        println!("NOT RUN: {name}: TOMBOLO_SKIP_ROOT=1");
    }
    skip
}

fn loaded(config: &SteerConfig) -> Steering {
    let mut steering = Steering::load().expect("this test needs root");
    steering.update(config).expect("the maps take the configuration");
    steering
}

/// `struct xdp_md` for a frame that came in on queue 0 of `ifindex`.
fn context(frame: &[u8], ifindex: u32) -> Vec<u8> {
    [0, frame.len() as u32, 0, ifindex, 0, 0]
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect()
}

/// Runs the program on a frame; its return value, and the verdict that it counted and for whom. A redirect must find no
/// socket.
fn run(steering: &mut Steering, frame: &[u8]) -> (u16, Verdict) {
    let rows = [0, 1, PORT_UNKNOWN];
    for row in rows {
        steering.reset_verdicts(row).expect("writable");
    }
    let mut context = context(frame, LOOPBACK);
    let input = ProgramInput {
        context_in: Some(&mut context),
        data_in: Some(frame),
        repeat: 1,
        ..ProgramInput::default()
    };
    let returned = steering
        .program_mut()
        .test_run(input)
        .expect("the kernel runs it")
        .return_value;
    let mut counted = Vec::new();
    let mut redirected = 0;
    for row in rows {
        let verdicts = steering.verdicts(row).expect("readable");
        counted.extend(verdicts.nonzero().map(|(verdict, count)| (row, verdict, count)));
        redirected += verdicts.no_socket();
    }
    let [(row, verdict, 1)] = counted[..] else {
        panic!("exactly one verdict, but {counted:?}")
    };
    let action = cases::config(LOOPBACK)
        .ports
        .iter()
        .find(|port| port.index == row)
        .map_or(Action::Drop, |port| port.action(verdict));
    let expected = match action {
        Action::Pass => (XDP_PASS, 0),
        Action::Work => (XDP_DROP, 1),
        Action::Drop => (XDP_DROP, 0),
    };
    assert_eq!(
        (returned, redirected),
        expected,
        "{verdict:?} of port {row}: {frame:02x?}"
    );
    (row, verdict)
}

#[test]
fn root_the_program_gives_every_packet_of_the_table_its_verdict() {
    if skipped("root_the_program_gives_every_packet_of_the_table_its_verdict") {
        return;
    }
    let mut steering = loaded(&cases::config(LOOPBACK));
    for case in cases::table() {
        assert_eq!(run(&mut steering, &case.frame).1, case.expected, "{}", case.name);
    }
}

#[test]
fn root_program_and_twin_agree_on_mutations() {
    if skipped("root_program_and_twin_agree_on_mutations") {
        return;
    }
    let config = cases::config(LOOPBACK);
    let mut steering = loaded(&config);
    let mut seen = BTreeSet::new();
    for (number, frame) in cases::mutations(MUTATIONS).enumerate() {
        let (port, verdict) = steer_port(&config, LOOPBACK, &frame);
        let (row, in_kernel) = run(&mut steering, &frame);
        assert_eq!(in_kernel, verdict, "mutation {number}: {frame:02x?}");
        assert_eq!(row, port.map_or(PORT_UNKNOWN, |port| port.index), "mutation {number}");
        seen.insert(verdict);
    }
    assert_eq!(
        seen.len(),
        Verdict::ALL.len(),
        "mutations reach every verdict, but only {seen:?}"
    );
}

#[test]
fn root_an_update_changes_exactly_the_difference() {
    if skipped("root_an_update_changes_exactly_the_difference") {
        return;
    }
    let first = cases::config(LOOPBACK);
    let mut steering = loaded(&first);
    let mut second = first.clone();
    second.ports[0].own_addresses.truncate(1);
    second.ports[0].nat_ports = None;
    second.ports.remove(1);
    second.services.clear();
    second.wireguard_ports = vec![51821];
    second.host_ports = (1024, 2048);
    for config in [&second, &first, &SteerConfig::default(), &second] {
        steering.update(config).expect("the maps take it");
        steering.update(config).expect("and once more, with nothing to do");
        for case in cases::table() {
            assert_eq!(
                run(&mut steering, &case.frame).1,
                steer(config, LOOPBACK, &case.frame),
                "{}",
                case.name
            );
        }
    }
    let mut impossible = first.clone();
    impossible.ports[1].index = PORT_UNKNOWN;
    assert!(steering.update(&impossible).is_err());
    let frame = &cases::table()[0].frame;
    assert_eq!(
        run(&mut steering, frame).1,
        steer(&second, LOOPBACK, frame),
        "a refused change changes nothing"
    );
}
