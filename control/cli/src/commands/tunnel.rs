//! `tombolo tunnel`: orders to tunnels that IKEv2 keys.

use super::{print, print_json};
use crate::arguments;
use crate::client::Client;
use crate::failure::Failure;
use hyper::Method;
use tombolo_api::{TunnelCommand, TunnelOrder, path};

pub(super) fn run(client: &Client, command: &arguments::TunnelCommand, json: bool) -> Result<(), Failure> {
    let (tunnel, command, done) = match command {
        arguments::TunnelCommand::Up { tunnel } => (tunnel, TunnelCommand::Up, "negotiates now"),
        arguments::TunnelCommand::Down { tunnel } => (tunnel, TunnelCommand::Down, "goes down and stays down"),
        arguments::TunnelCommand::Rekey { tunnel, ike, child } => {
            let command = match (ike, child) {
                (true, _) => TunnelCommand::RekeyIke,
                (false, true) => TunnelCommand::RekeyChildren,
                (false, false) => TunnelCommand::Rekey,
            };
            (tunnel, command, "replaces its SAs now")
        }
    };
    let order = TunnelOrder {
        tunnel: tunnel.clone(),
        command,
    };
    let body = serde_json::to_vec(&order).map_err(|error| Failure::local("request", error))?;
    let order: TunnelOrder = client.request(Method::POST, path::TUNNEL, body)?;
    if json {
        return print_json(&order);
    }
    print(&format!("{tunnel} {done}; `tombolo show tunnels` says how it is\n"))
}
