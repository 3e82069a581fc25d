//! Any payload that can be parsed, for property tests.

use super::*;
use crate::selector::Selector;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}

fn id_body() -> impl Strategy<Value = IdBody> {
    (any::<u8>(), any::<[u8; 3]>(), bytes(40)).prop_map(|(kind, reserved, data)| IdBody { kind, reserved, data })
}

fn cert_body() -> impl Strategy<Value = CertBody> {
    (any::<u8>(), bytes(300)).prop_map(|(encoding, data)| CertBody { encoding, data })
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let v4 = any::<[u32; 2]>().prop_map(|[one, two]| {
        (
            Ipv4Addr::from_bits(one.min(two)).into(),
            Ipv4Addr::from_bits(one.max(two)).into(),
        )
    });
    let v6 = any::<[u128; 2]>().prop_map(|[one, two]| {
        (
            Ipv6Addr::from_bits(one.min(two)).into(),
            Ipv6Addr::from_bits(one.max(two)).into(),
        )
    });
    let range = (prop_oneof![v4, v6], any::<(u8, u16, u16)>());
    prop_oneof![
        4 => range.prop_map(|((first, last), (protocol, first_port, last_port)): ((IpAddr, IpAddr), _)| {
            TrafficSelector::Range(Selector { first, last, protocol, first_port, last_port })
        }),
        1 => (9u8.., any::<u8>(), bytes(20)).prop_map(|(kind, protocol, data)| TrafficSelector::Unknown { kind, protocol, data }),
    ]
}

/// Attributes that are not understood: another type, or the key length in the long form.
fn unknown_attributes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(Vec::new()),
        1 => any::<[u8; 2]>().prop_map(|value| [&[0x80, 15][..], &value].concat()),
        1 => any::<[u8; 3]>().prop_map(|value| [&[0, 14, 0, 3][..], &value].concat()),
    ]
}

fn transform() -> impl Strategy<Value = Transform> {
    (any::<(u8, u16)>(), option::of(any::<u16>()), unknown_attributes()).prop_map(
        |((kind, id), key_length, unknown)| Transform {
            kind,
            id,
            key_length,
            unknown,
        },
    )
}

fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
    let spi = prop_oneof![
        Just((protocol::IKE, Vec::new())),
        any::<[u8; 8]>().prop_map(|spi| (protocol::IKE, spi.to_vec())),
        any::<[u8; 4]>().prop_map(|spi| (protocol::ESP, spi.to_vec())),
        (4u8.., bytes(20)),
    ];
    (1u8..200, vec((spi, vec(transform(), 0..12)), 1..6)).prop_map(|(start, list)| {
        let numbered = (start..).zip(list);
        numbered
            .map(|(number, ((protocol, spi), transforms))| Proposal {
                number,
                protocol,
                spi,
                transforms,
            })
            .collect()
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    prop_oneof![
        Just(Delete::Ike),
        vec(any::<u32>(), 0..5).prop_map(Delete::Esp),
        vec(any::<u32>(), 0..5).prop_map(Delete::Ah),
    ]
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<(u8, u16)>(), bytes(8), bytes(60)).prop_map(|((protocol, kind), spi, data)| Notify {
        protocol,
        spi,
        kind,
        data,
    })
}

/// A payload that may be sealed.
pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        proposals().prop_map(Payload::SecurityAssociation),
        (any::<u16>(), bytes(300)).prop_map(|(group, data)| Payload::KeyExchange(KeyExchange { group, data })),
        id_body().prop_map(Payload::IdInitiator),
        id_body().prop_map(Payload::IdResponder),
        cert_body().prop_map(Payload::Certificate),
        cert_body().prop_map(Payload::CertificateRequest),
        (any::<u8>(), bytes(100)).prop_map(|(method, data)| Payload::Authentication(AuthBody { method, data })),
        vec(any::<u8>(), NONCE_BYTES_MIN..=NONCE_BYTES_MAX)
            .prop_map(|bytes| Payload::Nonce(Nonce::new(bytes).unwrap())),
        notify().prop_map(Payload::Notify),
        delete().prop_map(Payload::Delete),
        bytes(40).prop_map(Payload::VendorId),
        vec(selector(), 0..6).prop_map(Payload::SelectorsInitiator),
        vec(selector(), 0..6).prop_map(Payload::SelectorsResponder),
        (prop_oneof![1u8..33, 47u8..53, 54u8..], bytes(60)).prop_map(|(kind, data)| Payload::Unknown { kind, data }),
    ]
}

pub(crate) fn payloads() -> impl Strategy<Value = Vec<Payload>> {
    vec(payload(), 0..12)
}

/// A sealed payload.
pub(crate) fn sealed() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (any::<u8>(), bytes(200)).prop_map(|(first, body)| Payload::Encrypted(Encrypted { first, body })),
        (any::<u8>(), any::<[u16; 2]>(), bytes(200)).prop_map(|(first, [one, two], body)| {
            let (number, total) = (one.min(two).max(1), one.max(two).max(1));
            Payload::EncryptedFragment(EncryptedFragment {
                first,
                number,
                total,
                body,
            })
        }),
    ]
}

pub(crate) fn header() -> impl Strategy<Value = Header> {
    (1u64.., any::<u64>(), any::<u8>(), any::<(bool, bool)>(), any::<u32>()).prop_map(
        |(initiator_spi, responder_spi, exchange, (initiator, response), message_id)| {
            let flags = Flags { initiator, response };
            Header::new(
                initiator_spi,
                responder_spi,
                Exchange::from_number(exchange),
                flags,
                message_id,
            )
        },
    )
}
