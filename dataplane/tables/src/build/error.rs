//! Why a world cannot be compiled. Each of these is a mistake of the planner, not of the operator: a validated
//! configuration leads to none of them.

use crate::layout::{Address, SegmentIndex};
use core::fmt;

/// What a number names; for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A port.
    Port,
    /// An own address.
    OwnAddress,
    /// A segment.
    Segment,
    /// A route.
    Route,
    /// A neighbour.
    Neighbour,
    /// A policy rule.
    PolicyRule,
    /// A NAT rule.
    NatRule,
    /// A pool of NAT addresses.
    Pool,
    /// A tunnel.
    Tunnel,
    /// A bundle of tunnels.
    Bundle,
    /// A security association.
    Sa,
    /// A traffic selector.
    Selector,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Port => "port",
            Kind::OwnAddress => "own address",
            Kind::Segment => "segment",
            Kind::Route => "route",
            Kind::Neighbour => "neighbour",
            Kind::PolicyRule => "policy rule",
            Kind::NatRule => "NAT rule",
            Kind::Pool => "pool",
            Kind::Tunnel => "tunnel",
            Kind::Bundle => "bundle",
            Kind::Sa => "SA",
            Kind::Selector => "selector",
        })
    }
}

/// Why [`World::build`](super::World::build) refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// More records than an index can name.
    TooMany {
        /// Of what.
        kind: Kind,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A record names another that does not exist (or whose slot is free).
    Unknown {
        /// The record that names it …
        by: Kind,
        /// … at this place.
        at: usize,
        /// What it names …
        kind: Kind,
        /// … by this number.
        index: u32,
    },
    /// A field holds a value that means nothing.
    Field {
        /// The record …
        by: Kind,
        /// … at this place.
        at: usize,
        /// The field's name.
        field: &'static str,
    },
    /// Two routes of one segment have the same prefix.
    DuplicateRoute {
        /// The segment.
        segment: SegmentIndex,
        /// The prefix …
        prefix: Address,
        /// … and its length in its own family.
        length: u8,
    },
    /// Two records answer to the same key, so that a lookup could find only one.
    Duplicate {
        /// Of what.
        kind: Kind,
        /// Place of the first.
        first: usize,
        /// Place of the second.
        second: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::TooMany { kind, count, most } => {
                write!(f, "{count} records of kind {kind}, the most is {most}")
            }
            BuildError::Unknown { by, at, kind, index } => {
                write!(f, "{by} {at} names {kind} {index}, which does not exist")
            }
            BuildError::Field { by, at, field } => write!(f, "{by} {at} has a meaningless {field}"),
            BuildError::DuplicateRoute {
                segment,
                prefix,
                length,
            } => {
                write!(f, "segment {} has two routes to {prefix}/{length}", segment.0)
            }
            BuildError::Duplicate { kind, first, second } => {
                write!(f, "{kind} {first} and {kind} {second} have the same key")
            }
        }
    }
}

impl core::error::Error for BuildError {}
