//! Traffic selectors (RFC 7296 §3.13).

use super::error::{Fault, TooLarge};
use super::reader::Reader;
use super::writer;
use crate::selector::Selector;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use serde::{Deserialize, Serialize};

/// TS_IPV4_ADDR_RANGE.
const IPV4_RANGE: u8 = 7;
/// TS_IPV6_ADDR_RANGE.
const IPV6_RANGE: u8 = 8;

/// One selector of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficSelector {
    /// Addresses, protocol and ports.
    Range(Selector),
    /// A type that is not spoken here; it selects nothing.
    Unknown {
        /// Its type.
        kind: u8,
        /// The octet behind the type: the IP protocol in the types that there are.
        protocol: u8,
        /// Everything behind the length.
        data: Vec<u8>,
    },
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<TrafficSelector>, Fault> {
    let mut reader = Reader::new(body);
    let [count, _, _, _] = reader.array()?;
    let mut selectors = Vec::new();
    for _ in 0..count {
        let [kind, protocol] = reader.array().map_err(|_| Fault::Count)?;
        let length = reader.u16()?;
        selectors.push(parse_one(kind, protocol, reader.framed(length, 4)?)?);
    }
    reader.end()?;
    Ok(selectors)
}

fn parse_one(kind: u8, protocol: u8, mut reader: Reader<'_>) -> Result<TrafficSelector, Fault> {
    if kind != IPV4_RANGE && kind != IPV6_RANGE {
        let data = reader.rest().to_vec();
        return Ok(TrafficSelector::Unknown { kind, protocol, data });
    }
    let (first_port, last_port) = (reader.u16()?, reader.u16()?);
    let (first, last) = if kind == IPV4_RANGE {
        (v4(&mut reader)?, v4(&mut reader)?)
    } else {
        (v6(&mut reader)?, v6(&mut reader)?)
    };
    reader.end()?;
    // Ports may be the wrong way round: 65535 to 0 is OPAQUE (RFC 7296 §3.13.1).
    if first > last {
        return Err(Fault::Range);
    }
    Ok(TrafficSelector::Range(Selector {
        first,
        last,
        protocol,
        first_port,
        last_port,
    }))
}

fn v4(reader: &mut Reader<'_>) -> Result<IpAddr, Fault> {
    reader.array::<4>().map(|bytes| Ipv4Addr::from(bytes).into())
}

fn v6(reader: &mut Reader<'_>) -> Result<IpAddr, Fault> {
    reader.array::<16>().map(|bytes| Ipv6Addr::from(bytes).into())
}

pub(super) fn write(selectors: &[TrafficSelector], out: &mut Vec<u8>) -> Result<(), TooLarge> {
    out.extend_from_slice(&[writer::count(selectors.len())?, 0, 0, 0]);
    for selector in selectors {
        match selector {
            TrafficSelector::Range(range) => write_range(range, out)?,
            TrafficSelector::Unknown { kind, protocol, data } => {
                writer::framed(out, &[*kind, *protocol, 0, 0], 2, |out| {
                    out.extend_from_slice(data);
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}

fn write_range(range: &Selector, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    let kind = if range.first.is_ipv4() { IPV4_RANGE } else { IPV6_RANGE };
    writer::framed(out, &[kind, range.protocol, 0, 0], 2, |out| {
        out.extend_from_slice(&range.first_port.to_be_bytes());
        out.extend_from_slice(&range.last_port.to_be_bytes());
        for address in [range.first, range.last] {
            match address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            }
        }
        Ok(())
    })
}
