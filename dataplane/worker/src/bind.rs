//! From a decision to a session: the mapping of a translated source is taken first, then the session that holds it.

use crate::state::SharedState;
use crate::time::Now;
use crate::tuple::Tuple;
use tombolo_flow::decide::Mapped;
use tombolo_flow::mapping::Address as InsideAddress;
use tombolo_flow::{
    Aim, Aimed, BindError, Binding, Bound, Ended, Hit, InsertError, Inserted, Inside, Key4, Key6, Mappings, NO_MAPPING,
    NewSession, PoolView, Sessions, WorkerLocal,
};
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{Address, PoolIndex, SegmentIndex};
use tombolo_tables::view::Tables;

/// How often a re-decision meets an older one of another worker before it takes what is there.
const REDECISIONS_MAX: usize = 4;

/// The outside endpoint of a translated source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Outside address.
    pub address: Address,
    /// Outside port or ICMP id.
    pub port: u16,
    /// For `NewSession::mapping`.
    pub mapping: u32,
}

/// The tables of one family.
pub trait Family: Tuple {
    /// Its sessions.
    fn sessions<'a, 's>(state: &'a SharedState<'s>) -> &'a Sessions<'s, Self>;
    /// Its mappings.
    fn mappings<'a, 's>(state: &'a SharedState<'s>) -> &'a Mappings<'s, Self::Address>;
    /// A table address of this family; none if it is of the other.
    fn address(address: Address) -> Option<Self::Address>;
    /// As the tables hold it.
    fn to_address(address: Self::Address) -> Address;
}

impl Family for Key4 {
    fn sessions<'a, 's>(state: &'a SharedState<'s>) -> &'a Sessions<'s, Self> {
        state.sessions4()
    }

    fn mappings<'a, 's>(state: &'a SharedState<'s>) -> &'a Mappings<'s, u32> {
        &state.flows().mappings4
    }

    fn address(address: Address) -> Option<u32> {
        address.is_v4().then(|| u32::from_be_bytes(address.v4_bytes()))
    }

    fn to_address(address: u32) -> Address {
        core::net::Ipv4Addr::from(address).into()
    }
}

impl Family for Key6 {
    fn sessions<'a, 's>(state: &'a SharedState<'s>) -> &'a Sessions<'s, Self> {
        state.sessions6()
    }

    fn mappings<'a, 's>(state: &'a SharedState<'s>) -> &'a Mappings<'s, [u8; 16]> {
        &state.flows().mappings6
    }

    fn address(address: Address) -> Option<[u8; 16]> {
        (!address.is_v4()).then_some(address.0)
    }

    fn to_address(address: [u8; 16]) -> Address {
        Address(address)
    }
}

/// Takes a reference on the mapping of `first`'s source towards `pool`. A flow that is decided again keeps the mapping it has:
/// its host's quota is not asked a second time.
pub fn outside<K: Family>(
    state: &SharedState<'_>,
    local: &mut WorkerLocal,
    tables: &Tables<'_>,
    pool: PoolIndex,
    first: &K,
    stale: Option<&Hit<K>>,
    now: Now,
) -> Result<Outside, DropReason> {
    let view = pool_view::<K>(tables, pool).ok_or(DropReason::NatUntranslatable)?;
    let kept = stale.and_then(|hit| keep(K::mappings(state), hit.mapping, pool, &view, now));
    if let Some(bound) = kept {
        return Ok(Outside {
            address: K::to_address(bound.address),
            port: bound.port,
            mapping: bound.mapping,
        });
    }
    let wanted = Wanted::new(state, tables, pool, first)?;
    let bound = wanted.bind(state, local, now)?;
    Ok(show::<K>(state, &bound))
}

/// A mapping that is wanted, in the steps of [`Mappings::aim`], so that a batch of them waits for memory together.
pub struct Wanted<K: Family> {
    aimed: Aimed<K::Address>,
    pool: PoolView<K::Address>,
}

impl<K: Family> Wanted<K> {
    /// The mapping of `first`'s source towards `pool`.
    #[inline(always)]
    pub fn new(state: &SharedState<'_>, tables: &Tables<'_>, pool: PoolIndex, first: &K) -> Result<Self, DropReason> {
        let view = pool_view::<K>(tables, pool).ok_or(DropReason::NatUntranslatable)?;
        let (address, port) = first.source();
        let inside = Inside {
            segment: first.segment(),
            protocol: first.protocol(),
            address,
            port,
            pool: pool.0,
        };
        Ok(Wanted {
            aimed: K::mappings(state).aim(&inside),
            pool: view,
        })
    }

    /// Asks for what the next step reads.
    #[inline]
    pub fn ask(&self, state: &SharedState<'_>) {
        K::mappings(state).ask(&self.aimed);
    }

    /// Asks for what the first step led to.
    #[inline]
    pub fn approach(&self, state: &SharedState<'_>) {
        K::mappings(state).approach(&self.aimed);
    }

    /// Takes the reference; [`show`] is still to come.
    #[inline(never)]
    pub fn bind(
        &self,
        state: &SharedState<'_>,
        local: &mut WorkerLocal,
        now: Now,
    ) -> Result<Bound<K::Address>, DropReason> {
        K::mappings(state)
            .bind_aimed(&state.flows().ports, local, &self.aimed, &self.pool, now.seconds())
            .map_err(reason)
    }
}

/// The outside endpoint that was taken.
#[inline]
pub fn taken<K: Family>(bound: &Bound<K::Address>) -> Outside {
    let bound = &bound.binding;
    Outside {
        address: K::to_address(bound.address),
        port: bound.port,
        mapping: bound.mapping,
    }
}

/// Makes it known, for hairpins.
#[inline]
pub fn show<K: Family>(state: &SharedState<'_>, bound: &Bound<K::Address>) -> Outside {
    let _ = K::mappings(state).show(bound);
    taken::<K>(bound)
}

/// Who has the outside endpoint.
pub fn behind<K: Family>(state: &SharedState<'_>, protocol: u8, address: Address, port: u16) -> Option<Mapped> {
    let inside = K::mappings(state).behind(protocol, K::address(address)?, port)?;
    Some(Mapped {
        segment: SegmentIndex(inside.segment),
        address: K::to_address(inside.address),
        port: inside.port,
        pool: PoolIndex(inside.pool),
    })
}

fn keep<A: InsideAddress>(
    mappings: &Mappings<'_, A>,
    mapping: u32,
    pool: PoolIndex,
    view: &PoolView<A>,
    now: Now,
) -> Option<Binding<A>> {
    let known = (mapping != NO_MAPPING).then(|| mappings.view(mapping)).flatten()?;
    if known.inside.pool == pool.0 && view.row_of(known.address) == Some(known.row) {
        mappings.rebind(mapping, now.seconds())
    } else {
        None
    }
}

/// A pool as the mappings of one family know it; none if it is of the other.
#[inline]
pub(crate) fn pool_view<K: Family>(tables: &Tables<'_>, index: PoolIndex) -> Option<PoolView<K::Address>> {
    let pool = tables.pool(index)?;
    Some(PoolView {
        first: K::address(pool.first)?,
        count: pool.count,
        port_first: pool.port_first,
        port_last: pool.port_last,
        sessions_per_host_max: pool.sessions_per_host_max,
        row: pool.row,
    })
}

fn reason(error: BindError) -> DropReason {
    match error {
        BindError::PoolExhausted | BindError::TableFull => DropReason::NatExhausted,
        BindError::HostQuota => DropReason::NatHostQuota,
        BindError::Untranslatable | BindError::PoolInvalid => DropReason::NatUntranslatable,
    }
}

/// Makes the session, or replaces `stale` by it. If another worker was first, its session counts.
pub fn session<K: Family>(
    state: &SharedState<'_>,
    local: &mut WorkerLocal,
    new: &NewSession<K>,
    aim: Aim,
    stale: Option<&Hit<K>>,
    now: Now,
) -> Result<Hit<K>, DropReason> {
    let (sessions, mappings) = (K::sessions(state), K::mappings(state));
    let mut old = stale.copied();
    for _ in 0..REDECISIONS_MAX {
        let release = |ended: Ended<K>| release_ended(mappings, &ended, now);
        let inserted = match &old {
            Some(old) => sessions.supersede(local, old, new, now.seconds(), release),
            None => sessions.insert_aimed(local, new, aim, now.seconds()),
        };
        match inserted {
            Ok(Inserted::New(hit)) => return Ok(hit),
            Ok(Inserted::Existing(hit)) if hit.epochs == new.epochs => {
                give_back(mappings, new.mapping, now);
                return Ok(hit);
            }
            // Somebody else's older decision: ours takes its place.
            Ok(Inserted::Existing(hit)) => old = Some(hit),
            Err(error) => {
                give_back(mappings, new.mapping, now);
                return Err(insert_reason(error));
            }
        }
    }
    give_back(mappings, new.mapping, now);
    Err(DropReason::StateInvalid)
}

/// Ends a session whose flow may no longer pass.
pub fn forget<K: Family>(state: &SharedState<'_>, local: &mut WorkerLocal, hit: &Hit<K>, now: Now) {
    if let Some(ended) = K::sessions(state).remove(local, hit.session, hit.version) {
        release_ended(K::mappings(state), &ended, now);
    }
}

fn release_ended<K: Family>(mappings: &Mappings<'_, K::Address>, ended: &Ended<K>, now: Now) {
    give_back(mappings, ended.mapping, now);
}

fn give_back<A: InsideAddress>(mappings: &Mappings<'_, A>, mapping: u32, now: Now) {
    if mapping != NO_MAPPING {
        mappings.release(mapping, now.seconds());
    }
}

fn insert_reason(error: InsertError) -> DropReason {
    match error {
        InsertError::TableFull => DropReason::SessionTableFull,
        InsertError::TupleTaken | InsertError::NotSyn | InsertError::KeysEqual => DropReason::StateInvalid,
    }
}
