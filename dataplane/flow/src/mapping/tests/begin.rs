//! Mappings that begin in words end as those that are bound.

use super::*;

/// All steps for one of UDP.
pub(super) fn bind(
    mappings: &Mappings<'_, u32>,
    ports: &Ports<'_>,
    local: &mut WorkerLocal,
    inside: &Inside<u32>,
    pool: &PoolView<u32>,
    now: u32,
) -> Result<Binding<u32>, BindError> {
    let beginnings = mappings.beginnings(ports, inside.protocol).expect("it has ports");
    let mut heading = Heading::default();
    beginnings.aim(&mut heading, inside.segment, inside.address, inside.port, inside.pool);
    beginnings.approach(local, &mut heading);
    beginnings.bind(local, &mut heading, pool, now)?;
    beginnings.show(&heading);
    let (mapping, (address, port)) = (heading.mapping(), heading.outside());
    Ok(Binding { mapping, address, port })
}

#[test]
fn beginnings_that_go_in_steps_together_end_as_if_one_came_after_the_other() {
    let parts = Parts::new(64);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    let known = bind(&mappings, &ports, &mut local, &inside(1, 6), &POOL, 5).unwrap();
    // One that is there, two of one endpoint, another endpoint of the host, another host.
    let wanted = [inside(1, 6), inside(1, 7), inside(1, 7), inside(1, 8), inside(2, 7)];
    let beginnings = mappings.beginnings(&ports, protocol::UDP).unwrap();
    let mut headings = wanted.map(|wanted| {
        let mut heading = Heading::default();
        beginnings.aim(&mut heading, wanted.segment, wanted.address, wanted.port, wanted.pool);
        beginnings.approach(&mut local, &mut heading);
        heading
    });
    for heading in &mut headings {
        beginnings.bind(&mut local, heading, &POOL, 5).unwrap();
    }
    assert_eq!(shown(&mappings, headings[1].outside()), None, "not yet");
    for (heading, wanted) in headings.iter().zip(wanted) {
        beginnings.show(heading);
        assert_eq!(shown(&mappings, heading.outside()), Some(wanted));
    }
    let made = headings.map(|heading| heading.mapping());
    assert_eq!(made[0], known.mapping);
    assert_eq!(made[1], made[2]);
    assert_eq!(headings[1].outside().0, headings[3].outside().0, "paired pooling");
    let sessions = |mapping| mappings.view(mapping).unwrap().sessions;
    assert_eq!(made.map(sessions), [2, 2, 2, 1, 1]);
    assert_eq!(check(&mappings, &ports), 4);
    assert_eq!(ports.taken(0, protocol::UDP) + ports.taken(1, protocol::UDP), 4);
}

#[test]
fn what_cannot_begin_holds_nothing() {
    let parts = Parts::new(16);
    let (mappings, ports) = parts.open();
    let mut local = WorkerLocal::new(0, 1, 1);
    let quota = PoolView {
        sessions_per_host_max: 2,
        ..POOL
    };
    for port in 0..2 {
        assert!(bind(&mappings, &ports, &mut local, &inside(1, port), &quota, 0).is_ok());
    }
    let used = mappings.table().used();
    for port in 2..1_000 {
        let refused = bind(&mappings, &ports, &mut local, &inside(1, port), &quota, 0);
        assert_eq!(refused, Err(BindError::HostQuota));
    }
    let elsewhere = PoolView {
        first: 0x0102_0304,
        count: 1,
        row: 1,
        ..POOL
    };
    let moved = bind(&mappings, &ports, &mut local, &inside(1, 7), &elsewhere, 0).unwrap();
    assert_eq!(moved.address, elsewhere.first);
    let host = (0..mappings.entries()).filter_map(|entry| mappings.view(entry));
    let sessions: Vec<_> = host
        .filter(|view| view.inside.protocol == 0)
        .map(|view| view.sessions)
        .collect();
    assert_eq!(sessions, [3]);
    assert_eq!(mappings.table().used(), used + 1, "no entry is lost");
}
