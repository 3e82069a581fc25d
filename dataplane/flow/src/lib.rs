//! Sessions, NAT, TCP state and the decision for a new flow: pure logic over shared words and one generation of tables.

#![forbid(unsafe_code)]

pub mod decide;
