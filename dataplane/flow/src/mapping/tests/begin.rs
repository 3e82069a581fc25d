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
    let mut heading = beginnings.aim(inside.segment, inside.address, inside.port, inside.pool);
    beginnings.approach(local, &mut heading);
    let bound = beginnings.bind(local, &heading, pool, now)?;
    beginnings.show(&bound);
    Ok(bound.binding)
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
    let headings = wanted.map(|wanted| {
        let mut heading = beginnings.aim(wanted.segment, wanted.address, wanted.port, wanted.pool);
        beginnings.approach(&mut local, &mut heading);
        heading
    });
    let bound = headings.map(|heading| beginnings.bind(&mut local, &heading, &POOL, 5).unwrap());
    let outside = |bound: &Bound<u32>| (bound.binding.address, bound.binding.port);
    assert_eq!(shown(&mappings, outside(&bound[1])), None, "not yet");
    for (bound, wanted) in bound.iter().zip(wanted) {
        beginnings.show(bound);
        assert_eq!(shown(&mappings, outside(bound)), Some(wanted));
    }
    assert_eq!(bound[0].binding, known);
    assert_eq!(bound[1].binding, bound[2].binding);
    assert_eq!(bound[1].binding.address, bound[3].binding.address, "paired pooling");
    let sessions = |bound: &Bound<u32>| mappings.view(bound.binding.mapping).unwrap().sessions;
    assert_eq!(bound.each_ref().map(sessions), [2, 2, 2, 1, 1]);
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
