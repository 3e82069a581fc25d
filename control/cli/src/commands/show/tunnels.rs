//! `tombolo show tunnels`.

use super::or_none;
use crate::table::Table;
use tombolo_api as api;

pub(super) fn tunnels(tunnels: &Vec<api::Tunnel>) -> String {
    let mut table = Table::new(&["TUNNEL", "STATE", "SEGMENT", "LOCAL", "REMOTE", "ENCAPSULATION", "MTU"]);
    let mut sas = Table::new(&[
        "TUNNEL",
        "DIRECTION",
        "SPI",
        "CIPHER",
        "ESN",
        "SEQUENCE",
        "LEASED",
        "PACKETS",
        "BYTES",
        "IDLE s",
        "LOST",
        "LATE",
    ]);
    let mut negotiated = Table::new(&["TUNNEL", "IKE", "PEER", "AT", "SUITE", "NAT", "SINCE s"]);
    let mut reasons = String::new();
    for t in tunnels {
        let state = if t.up { "up" } else { "down" };
        table.row([
            &t.name,
            &state,
            &t.segment,
            &t.local,
            &t.remote,
            &t.encapsulation,
            &t.mtu,
        ]);
        if let Some(reason) = &t.reason {
            reasons += &format!("{}: {reason}\n", t.name);
        }
        if let Some(ike) = &t.ike {
            negotiated.row([
                &t.name,
                &ike.phase,
                &ike.peer.as_deref().unwrap_or("-"),
                &ike.at.as_deref().unwrap_or("-"),
                &ike.suite.as_deref().unwrap_or("-"),
                &ike.nat.as_deref().unwrap_or("-"),
                &ike.established_seconds
                    .map_or("-".into(), |seconds| seconds.to_string()),
            ]);
            if let Some(failure) = &ike.failure {
                reasons += &format!("{}: {failure}\n", t.name);
            }
        }
        for sa in &t.sas {
            let leased = sa.leased.map_or("-".into(), |leased| leased.to_string());
            let (spi, esn) = (format!("{:#010x}", sa.spi), if sa.esn { "yes" } else { "no" });
            let number = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
            let idle = number(sa.idle_seconds);
            let (lost, late) = (
                number(sa.lost),
                number(sa.reordered.map(|classes| classes.iter().sum())),
            );
            sas.row([
                &t.name,
                &sa.direction,
                &spi,
                &sa.cipher,
                &esn,
                &sa.sequence,
                &leased,
                &sa.packets,
                &sa.bytes,
                &idle,
                &lost,
                &late,
            ]);
        }
    }
    let ike = match tunnels.iter().any(|t| t.ike.is_some()) {
        true => format!("\n{}", or_none(negotiated)),
        false => String::new(),
    };
    format!("{}{reasons}{ike}\n{}{}", or_none(table), or_none(sas), late(tunnels))
}

/// How many packets of each inbound SA came late, and by how much; nothing where none did.
fn late(tunnels: &[api::Tunnel]) -> String {
    let mut table = Table::new(&[
        "TUNNEL",
        "SPI",
        "LATE BY 1",
        "2-3",
        "4-7",
        "8-15",
        "16-31",
        "32-63",
        "64-127",
        "128+",
    ]);
    for t in tunnels {
        for sa in &t.sas {
            let Some([a, b, c, d, e, f, g, h]) = sa
                .reordered
                .filter(|classes| classes.iter().any(|packets| *packets > 0))
            else {
                continue;
            };
            table.row([&t.name, &format!("{:#010x}", sa.spi), &a, &b, &c, &d, &e, &f, &g, &h]);
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!("\n{table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(reordered: Option<[u64; 8]>) -> api::Tunnel {
        let sa = api::Sa {
            direction: "inbound".into(),
            spi: 0xc0de,
            cipher: "aes-256-gcm".into(),
            esn: true,
            sequence: 900,
            leased: None,
            replay_window: Some(64),
            packets: 880,
            bytes: 88_000,
            idle_seconds: Some(0),
            authentic: Some(881),
            lost: Some(19),
            reordered,
        };
        api::Tunnel {
            name: "west".into(),
            up: true,
            reason: None,
            segment: "prod".into(),
            local: "192.0.2.1".into(),
            remote: "198.51.100.1".into(),
            encapsulation: "none".into(),
            mtu: 1400,
            sas: vec![sa],
            ike: None,
        }
    }

    #[test]
    fn packets_that_came_late_are_shown_by_how_late_they_were() {
        let shown = tunnels(&vec![tunnel(Some([7, 0, 0, 5, 0, 0, 0, 1]))]);
        let expected = "
TUNNEL  SPI         LATE BY 1  2-3  4-7  8-15  16-31  32-63  64-127  128+
west    0x0000c0de          7    0    0     5      0      0       0     1
";
        assert!(shown.ends_with(expected), "{shown}");
        assert!(shown.contains("19    13\n"), "LOST and LATE of the SA: {shown}");
        for none in [Some([0; 8]), None] {
            assert!(!tunnels(&vec![tunnel(none)]).contains("LATE BY"));
        }
    }
}
