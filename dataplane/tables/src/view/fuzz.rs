//! Entry for fuzzing the view: bytes that claim to be sections must at worst be refused or give wrong answers.

use super::{PolicyQuery, Tables};
use crate::build::Sections;
use crate::layout::{
    Address, BundleIndex, NeighbourIndex, NextHop, PoolIndex, PortIndex, SECTION_COUNT, SaIndex, SectionId,
    SegmentIndex, TunnelIndex,
};
use tombolo_wire::Addresses;

/// Sections as one byte string: 18 lengths (`u32`, little endian), then the sections one behind the other.
pub fn to_bytes(sections: &Sections) -> Vec<u8> {
    let lengths = sections.all().map(|section| (section.len() as u32).to_le_bytes());
    [lengths.concat(), sections.all().concat()].concat()
}

/// Takes `data` for such a byte string (a length that it cannot fulfil is cut) and asks the view everything. Whether it
/// became a view at all.
pub fn fuzz_view(data: &[u8]) -> bool {
    let Some((lengths, mut rest)) = data.split_at_checked(4 * SECTION_COUNT) else {
        return false;
    };
    let mut sections = Sections::default();
    for (id, length) in SectionId::ALL.into_iter().zip(lengths.chunks_exact(4)) {
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let (section, behind) = rest.split_at(length.min(rest.len()));
        sections.set_bytes(id, section);
        rest = behind;
    }
    match Tables::from_sections(sections.all()) {
        Ok(tables) => {
            ask_everything(&tables);
            true
        }
        Err(_) => false,
    }
}

/// Addresses that the corpus knows and some that it does not.
const ADDRESSES4: [u32; 8] = [
    0,
    0x0a01_0001,
    0x0a01_000a,
    0x0a02_0909,
    0x0a02_0a0a,
    0xc000_0201,
    0xc633_6401,
    u32::MAX,
];

fn ask_everything(tables: &Tables<'_>) {
    let addresses6 = [0, 0xfd00_0002 << 96, 0xfd00_0001 << 96 | 1, u128::MAX].map(u128::to_be_bytes);
    for segment in [0, 1, 2, u16::MAX].map(SegmentIndex) {
        let mut hops = [u32::MAX; ADDRESSES4.len()];
        tables.routes4_batch(segment, &ADDRESSES4, &mut hops);
        for (address, hop) in ADDRESSES4.into_iter().zip(hops) {
            assert_eq!(tables.route4(segment, address), NextHop::from_bits(hop));
            ask_rules(
                tables,
                segment,
                Addresses::V4 {
                    source: 0x0a01_0001,
                    destination: address,
                },
            );
        }
        let mut hops = [u32::MAX; 4];
        tables.routes6_batch(segment, &addresses6, &mut hops);
        for (address, hop) in addresses6.into_iter().zip(hops) {
            assert_eq!(tables.route6(segment, &address), NextHop::from_bits(hop));
            tables.is_own(segment, Address(address));
            ask_rules(
                tables,
                segment,
                Addresses::V6 {
                    source: addresses6[2],
                    destination: address,
                },
            );
        }
    }
    for index in [0u16, 1, 2, 3, u16::MAX] {
        let (port, wide) = (PortIndex(index), u32::from(index));
        tables.port(port);
        tables.port_address(port, index == 0);
        tables.neighbour(NeighbourIndex(wide));
        tables.pool(PoolIndex(wide));
        tables.tunnel(TunnelIndex(wide));
        tables.bundle(BundleIndex(wide)).map(|bundle| bundle.member(wide));
        tables.sa(SaIndex(wide)).map(|sa| tables.selectors(sa));
        for address in ADDRESSES4 {
            let address = core::net::Ipv4Addr::from(address).into();
            tables.find_neighbour(port, address);
            tables.find_inbound_sa(0x1001 * wide, address);
        }
    }
    tables.names();
    tables.capture();
}

fn ask_rules(tables: &Tables<'_>, from: SegmentIndex, addresses: Addresses) {
    for (protocol, destination_port) in [(6, 80), (6, 8080), (17, u16::MAX), (1, 0x0800), (50, 0)] {
        let query = PolicyQuery {
            from,
            to: SegmentIndex(1 - from.0.min(1)),
            addresses,
            protocol,
            source_port: 0,
            destination_port,
        };
        tables.policy(&query);
        tables.source_nat(&query);
        tables.destination_nat(&query);
    }
}
