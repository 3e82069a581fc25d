//! Development only: whole gateways in one thread, over ports in memory, with a virtual clock.

#![forbid(unsafe_code)]

pub mod frames;
pub mod fuzz;
pub mod gateway;
pub mod lab;
pub mod model;
pub mod packets;
pub mod prey;
pub mod random;
pub mod worlds;
