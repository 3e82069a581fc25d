//! The journey of a packet, and the loop that drives it.
//!
//! Read [`journey`] first: it lists the stages in order, and [`express`] takes ahead of them what needs nothing unusual. `stages/` holds one file per stage; [`batch`] is what they work on,
//! [`gateway`] what they may reach, [`books`] where fates are counted. [`worker`] receives and sends, [`run`] is its thread's
//! loop. Everything in a packet is untrusted until the stage that checks it.

#![forbid(unsafe_code)]

pub mod address;
pub mod batch;
pub mod bind;
pub mod books;
pub mod capture;
pub mod events;
pub mod express;
pub mod gateway;
pub mod handover;
pub mod hold;
pub mod journey;
pub mod keys;
pub mod limits;
pub mod path;
pub mod ports;
pub mod replay;
pub mod run;
pub mod stages;
pub mod state;
pub mod steering;
pub mod time;
pub mod tuple;
pub mod worker;
