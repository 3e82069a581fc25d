//! Where workers followed peers behind NATs to.

use tombolo_tables::layout::{Address, TunnelRecord, tunnel_flag};
use tombolo_tables::state::{State, StatePart};
use tombolo_tunnel::endpoint::Endpoint;

/// Address and UDP port that tunnel number `at` is sealed for instead of those of its record; none if these hold.
pub fn followed(state: &State, at: usize, record: &TunnelRecord) -> Option<(Address, u16)> {
    if record.flags & tunnel_flag::FOLLOWS == 0 {
        return None;
    }
    let seen = Endpoint::at(state.part(StatePart::Endpoints), at)?.read()?;
    let seen = (Address(seen.address), seen.port);
    // As workers do: what is of another family is no peer of this tunnel.
    (seen.0.is_v4() == record.local.is_v4() && seen != (record.remote, record.remote_port)).then_some(seen)
}
