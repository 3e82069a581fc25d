//! IKE, ESP, WireGuard, fragments.

use super::build::*;
use super::*;
use Verdict::*;

pub(crate) fn tunnels() -> Vec<Case> {
    let to_4500 = |payload: &[u8]| frame(&ip(OWN, UDP, &udp(4500, 4500, payload)));
    let padded = [to_4500(&[]), vec![0; 18]].concat();
    let to_wireguard = |payload: &[u8]| frame(&ip(OWN, UDP, &udp(50000, 51820, payload)));
    cases([
        ("IKE", frame(&ip(OWN, UDP, &udp(500, 500, &[1; 28]))), PassIke),
        (
            "IKE over IPv6",
            frame(&ip(OWN6, UDP, &udp(500, 500, &[1; 28]))),
            PassIke,
        ),
        (
            "IKE through us",
            frame(&ip(FAR, UDP, &udp(500, 500, &[1; 28]))),
            WorkTransit,
        ),
        ("IKE on 4500", to_4500(&[0, 0, 0, 0, 1, 2, 3]), PassIke),
        (
            "IKE on 4500 over IPv6",
            frame(&ip(OWN6, UDP, &udp(4500, 4500, &[0; 40]))),
            PassIke,
        ),
        (
            "IKE on 4500 through us",
            frame(&ip(FAR6, UDP, &udp(4500, 4500, &[0; 40]))),
            WorkTransit,
        ),
        ("ESP in UDP", to_4500(&[0, 0, 1, 0, 0, 0, 0, 1]), WorkEspUdp),
        (
            "ESP in UDP through us",
            frame(&ip(FAR, UDP, &udp(4500, 4500, &[1; 40]))),
            WorkTransit,
        ),
        (
            "ESP in UDP over IPv6",
            frame(&ip(OWN6, UDP, &udp(4500, 4500, &[9; 40]))),
            WorkEspUdp,
        ),
        ("keepalive", to_4500(&[0xff]), DropKeepalive),
        (
            "keepalive with padding",
            [to_4500(&[0xff]), vec![0; 17]].concat(),
            DropKeepalive,
        ),
        (
            "keepalive through us",
            frame(&ip(FAR, UDP, &udp(4500, 4500, &[0xff]))),
            WorkTransit,
        ),
        ("one byte that is no keepalive", to_4500(&[0xfe]), WorkEspUdp),
        ("four 0xff bytes", to_4500(&[0xff; 4]), WorkEspUdp),
        ("half a marker", to_4500(&[0, 0]), WorkEspUdp),
        ("empty, padded with zeros", padded, WorkEspUdp),
        ("ESP", frame(&ip(OWN, ESP, &[7; 40])), WorkEsp),
        ("ESP over IPv6", frame(&ip(OWN6, ESP, &[7; 40])), WorkEsp),
        ("ESP through us", frame(&ip(FAR, ESP, &[7; 40])), WorkTransit),
        ("ESP without a byte", frame(&ip(OWN, ESP, &[])), WorkEsp),
        ("WireGuard initiation", to_wireguard(&[1; 148]), PassWireGuard),
        ("WireGuard response", to_wireguard(&[2, 0, 0, 0, 5]), PassWireGuard),
        ("WireGuard cookie", to_wireguard(&[3, 0, 0, 0, 5]), PassWireGuard),
        ("WireGuard data", to_wireguard(&[4; 32]), WorkWireGuard),
        ("WireGuard type 0", to_wireguard(&[0; 32]), WorkWireGuard),
        ("WireGuard, one byte", to_wireguard(&[1]), WorkWireGuard),
        (
            "WireGuard through us",
            frame(&ip(FAR, UDP, &udp(50000, 51820, &[1; 148]))),
            WorkTransit,
        ),
        (
            "TCP on the WireGuard port",
            frame(&ip(OWN, TCP, &tcp(1, 51820))),
            PassHostReply,
        ),
        (
            "first fragment of ESP",
            frame(&fragment(ip(OWN, ESP, &[7; 40]), 0x2000)),
            WorkFragment,
        ),
        (
            "later fragment",
            frame(&fragment(ip(OWN, UDP, &[7; 40]), 0x00b9)),
            WorkFragment,
        ),
        (
            "fragment of SSH",
            frame(&fragment(ip(OWN, TCP, &tcp(1, 22)), 0x2000)),
            WorkFragment,
        ),
        (
            "do not fragment is no fragment",
            frame(&fragment(ip(OWN, TCP, &tcp(1, 22)), 0x4000)),
            PassSsh,
        ),
        (
            "IPv6 fragment",
            frame(&ip(OWN6, 44, &[17, 0, 0, 1, 0, 0, 0, 9, 1, 1])),
            WorkFragment,
        ),
        (
            "fragment through us",
            frame(&fragment(ip(FAR, UDP, &[7; 40]), 0x00b9)),
            WorkTransit,
        ),
        (
            "IPv6 destination options",
            frame(&ip(OWN6, 60, &[17, 0, 1, 4, 0, 0, 0, 0])),
            WorkOwn,
        ),
    ])
}
