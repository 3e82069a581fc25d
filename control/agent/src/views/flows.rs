//! Policy and NAT.

use super::{port_name, prefix, protocol_name, range, segment_name};
use tombolo_api::{Nat, NatPool, NatRule, PolicyRule};
use tombolo_tables::build::World;
use tombolo_tables::layout::{NatRuleRecord, PolicyRuleRecord, PoolRecord, nat_kind, rule_action};

/// Policy rules; `names` are the operator's, by place, as far as there are any.
pub fn policy(world: &World, names: &[String]) -> Vec<PolicyRule> {
    let rule = |(index, record): (u32, &PolicyRuleRecord)| PolicyRule {
        rule: index,
        name: names
            .get(index as usize)
            .cloned()
            .unwrap_or_else(|| format!("#{index}")),
        from: segment_name(world, record.from),
        to: segment_name(world, record.to),
        source: prefix(record.source, record.source_length),
        destination: prefix(record.destination, record.destination_length),
        protocol: protocol_name(record.protocol),
        source_ports: range(record.source_port_first, record.source_port_last),
        destination_ports: range(record.destination_port_first, record.destination_port_last),
        action: match record.action {
            rule_action::ALLOW => "allow".into(),
            rule_action::DENY => "deny".into(),
            rule_action::REJECT => "reject".into(),
            other => format!("#{other}"),
        },
    };
    (0..).zip(&world.policy_rules).map(rule).collect()
}

/// NAT rules and pools.
pub fn nat(world: &World) -> Nat {
    let rule = |(index, record): (u32, &NatRuleRecord)| NatRule {
        rule: index,
        kind: match record.kind {
            nat_kind::SOURCE_POOL | nat_kind::SOURCE_PORT_ADDRESS => "source".into(),
            nat_kind::DESTINATION => "destination".into(),
            nat_kind::EXEMPT => "exempt".into(),
            other => format!("#{other}"),
        },
        from: segment_name(world, record.from),
        to: segment_name(world, record.to),
        source: of_family(record.family, prefix(record.match_source, record.match_source_length)),
        destination: of_family(
            record.family,
            prefix(record.match_destination, record.match_destination_length),
        ),
        protocol: protocol_name(record.protocol),
        ports: range(record.match_port_first, record.match_port_last),
        translation: translation(world, record),
    };
    Nat {
        rules: (0..).zip(&world.nat_rules).map(rule).collect(),
        pools: (0..).zip(&world.pools).map(pool).collect(),
    }
}

/// A rule without prefixes is two, one per family: says which one this is.
fn of_family(family: u8, prefix: String) -> String {
    match (family, prefix.as_str()) {
        (4, "any") => "0.0.0.0/0".into(),
        (6, "any") => "::/0".into(),
        _ => prefix,
    }
}

fn translation(world: &World, record: &NatRuleRecord) -> String {
    match record.kind {
        nat_kind::SOURCE_PORT_ADDRESS => "address of the egress port".into(),
        nat_kind::SOURCE_POOL => match world.pools.get(record.pool as usize) {
            Some(pool) if pool.port != u16::MAX => format!("address of {}", port_name(world, pool.port)),
            Some(pool) if pool.count == 1 => pool.first.to_string(),
            Some(pool) => format!("{} and {} more", pool.first, pool.count.saturating_sub(1)),
            None => format!("pool #{}", record.pool),
        },
        nat_kind::DESTINATION if record.to_port_first != 0 => {
            format!("{} port {}", record.to_address, record.to_port_first)
        }
        nat_kind::DESTINATION => record.to_address.to_string(),
        nat_kind::EXEMPT => "unchanged".into(),
        other => format!("#{other}"),
    }
}

fn pool((index, record): (u32, &PoolRecord)) -> NatPool {
    NatPool {
        pool: index,
        first: record.first.to_string(),
        addresses: u64::from(record.count),
        port_first: record.port_first,
        port_last: record.port_last,
        sessions_per_host_max: record.sessions_per_host_max,
    }
}

#[cfg(test)]
mod tests {
    use super::of_family;

    #[test]
    fn a_rule_for_any_address_says_of_which_family() {
        assert_eq!(of_family(4, "any".into()), "0.0.0.0/0");
        assert_eq!(of_family(6, "any".into()), "::/0");
        assert_eq!(of_family(4, "10.0.0.0/8".into()), "10.0.0.0/8");
    }
}
