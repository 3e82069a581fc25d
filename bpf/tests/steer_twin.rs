//! The Rust twin against the table, and the two lists of verdicts against each other. Needs no root.

mod cases;

use std::collections::BTreeSet;
use tombolo_bpf::{Action, Verdict};
use tombolo_wire::steer::{steer, steer_known, steer_port};

#[test]
fn the_twin_gives_every_packet_of_the_table_its_verdict() {
    let config = cases::config(1);
    let table = cases::table();
    assert!(table.len() >= 80);
    for case in &table {
        assert_eq!(steer(&config, 1, &case.frame), case.expected, "{}", case.name);
    }
    let seen: BTreeSet<_> = table.iter().map(|case| case.expected).collect();
    let missing: Vec<_> = Verdict::ALL.iter().filter(|verdict| !seen.contains(verdict)).collect();
    assert!(missing.is_empty(), "no packet for {missing:?}");
}

#[test]
fn what_is_for_the_kernel_of_a_vlan_port_goes_through_a_worker_who_finds_the_same() {
    let config = cases::config(1);
    let mut through_a_worker = 0;
    let frames = cases::table().into_iter().map(|case| case.frame);
    for frame in frames.chain(cases::mutations(5000)) {
        let (Some(port), verdict) = steer_port(&config, 1, &frame) else {
            continue;
        };
        assert_eq!(steer_known(&config, port, &frame), verdict, "{frame:02x?}");
        let redirected = verdict.action() == Action::Pass && port.action(verdict) == Action::Work;
        assert_eq!(redirected, verdict.action() == Action::Pass && port.vlan != 0);
        through_a_worker += u32::from(redirected);
    }
    assert!(through_a_worker > 100, "only {through_a_worker}");
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = cases::table().into_iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases::table().len());
}

#[test]
fn an_unknown_device_has_no_port() {
    let config = cases::config(1);
    for frame in cases::mutations(500) {
        let verdict = steer(&config, 2, &frame);
        assert!(
            matches!(verdict, Verdict::DropUnknownPort | Verdict::DropTruncated),
            "{verdict:?}"
        );
    }
}

#[test]
fn both_lists_of_verdicts_are_the_same() {
    let header = include_str!("../src/verdict.h");
    let list = header
        .split("enum verdict {")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
        .expect("the enum");
    let in_c: Vec<_> = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "VERDICT_COUNT")
        .collect();
    let screaming = |verdict: &Verdict| {
        let name = format!("{verdict:?}");
        let words = name.char_indices().map(|(at, c)| {
            if at > 0 && c.is_uppercase() {
                format!("_{c}")
            } else {
                c.to_string()
            }
        });
        words.collect::<String>().to_uppercase()
    };
    let in_rust: Vec<_> = Verdict::ALL.iter().map(screaming).collect();
    assert_eq!(in_c, in_rust);
    let last = |action| {
        Verdict::ALL
            .iter()
            .rfind(|verdict| verdict.action() == action)
            .map(screaming)
            .expect("some")
    };
    assert!(header.contains(&format!("VERDICT_PASS_LAST {}\n", last(tombolo_bpf::Action::Pass))));
    assert!(header.contains(&format!("VERDICT_WORK_LAST {}\n", last(tombolo_bpf::Action::Work))));
}
