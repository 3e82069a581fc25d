//! What workers and the kernel get for the demo's gateways, as text. `UPDATE_GOLDEN=1` writes the files anew.

mod support;

use std::fmt::Write;
use std::path::Path;
use tombolo_planner::Plan;

fn text(plan: &Plan) -> String {
    let mut text = tombolo_tables::dump::world(&plan.world).unwrap();
    let kernel = &plan.kernel;
    writeln!(text, "\n# actions").unwrap();
    plan.actions
        .iter()
        .for_each(|action| writeln!(text, "{action:?}").unwrap());
    writeln!(text, "\n# kernel: addresses").unwrap();
    for wanted in &kernel.addresses {
        writeln!(text, "{} {}/{}", wanted.device, wanted.address, wanted.prefix_length).unwrap();
    }
    writeln!(text, "\n# kernel: rules").unwrap();
    for rule in &kernel.rules {
        writeln!(
            text,
            "{}: from {}/{} table {}",
            rule.priority, rule.source, rule.source_length, rule.table
        )
        .unwrap();
    }
    writeln!(text, "\n# kernel: routes").unwrap();
    for route in &kernel.routes {
        let (prefix, length) = (route.prefix, route.prefix_length);
        let source = route
            .source
            .map(|source| format!(" source {source}"))
            .unwrap_or_default();
        writeln!(
            text,
            "table {}: {prefix}/{length} {:?} on {}{source}",
            route.table, route.target, route.device
        )
        .unwrap();
    }
    writeln!(text, "\n# kernel: neighbours").unwrap();
    kernel
        .neighbours
        .iter()
        .for_each(|host| writeln!(text, "{} {}", host.device, host.address).unwrap());
    writeln!(text, "\n# kernel: TAPs").unwrap();
    kernel.taps.iter().for_each(|tap| {
        let arp = if tap.arp { " arp" } else { "" };
        writeln!(text, "{} {} mtu {}{arp}", tap.port, tap.device, tap.mtu).unwrap()
    });
    writeln!(text, "\n# kernel: settings").unwrap();
    kernel
        .sysctls
        .iter()
        .for_each(|sysctl| writeln!(text, "{} = {}", sysctl.path, sysctl.value.replace('\t', " ")).unwrap());
    writeln!(text, "\n# warnings").unwrap();
    plan.warnings
        .iter()
        .for_each(|warning| writeln!(text, "{warning}").unwrap());
    text
}

fn compare(name: &str, config: &str) {
    let found = text(&support::first(config));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let place = found
        .lines()
        .zip(golden.lines())
        .position(|(found, golden)| found != golden);
    if let Some(line) = place {
        let show = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
        panic!(
            "{name}:{}\n  golden: {}\n  found:  {}",
            line + 1,
            show(&golden),
            show(&found)
        );
    }
    assert_eq!(found.len(), golden.len(), "{name}: one is longer");
}

#[test]
fn gateway_a() {
    compare("gw-a.txt", support::GATEWAY_A);
}

#[test]
fn gateway_b() {
    compare("gw-b.txt", support::GATEWAY_B);
}
