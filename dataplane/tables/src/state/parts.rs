//! The parts of the state region, and the geometry they were sized by.

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// A part of the state region; the value is its place in the directory.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum StatePart { $($(#[$doc])* $name),+ }

        impl StatePart {
            /// All parts, in directory order.
            pub const ALL: &'static [StatePart] = &[$(StatePart::$name),+];

            /// Its name, as status shows it.
            pub fn name(self) -> &'static str {
                match self { $(StatePart::$name => stringify!($name)),+ }
            }
        }
    };
}

parts! {
    /// A slot per worker: [`super::WorkerSlot`].
    Workers,
    /// Worker × port × `COUNTERS_PER_PORT`: [`crate::counters`].
    Counters,
    /// Buckets and entries of IPv4 sessions (format: flow).
    Sessions4,
    /// The same for IPv6.
    Sessions6,
    /// Words shared by the session tables: hash keys, heads of free lists (format: flow).
    SessionsShared,
    /// NAT mappings of inside IPv4 endpoints (format: flow).
    Mappings4,
    /// The same for IPv6.
    Mappings6,
    /// Words shared by the mapping tables (format: flow).
    MappingsShared,
    /// Port ownership per pool address (format: flow).
    PoolPorts,
    /// Sessions that each inside host holds (format: flow).
    HostQuota,
    /// Which outside address an inside host was given (format: flow).
    AddressPairs,
    /// Outbound sequence numbers: eight words per SA (format: tunnel).
    Sequences,
    /// Replay windows per SA (format: tunnel).
    Replay,
    /// Where a tunnel's peer was last seen (format: tunnel).
    Endpoints,
    /// Path MTU of each tunnel (format: worker).
    TunnelMtu,
    /// Counters per tunnel (format: worker).
    TunnelCounters,
    /// Counters per SA (format: worker).
    SaCounters,
    /// What the dataplane says about each port: mode, sockets (format: daemon).
    PortStatus,
    /// A ring of events per worker: [`crate::events`].
    Events,
    /// A ring of captured packets per worker: [`crate::capture`].
    CaptureRing,
}

/// What a gateway is sized for; stored in the header, so that both processes compute the same geometry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Worker slots.
    pub workers: u32,
    /// Ports.
    pub ports: u32,
    /// IPv4 sessions.
    pub sessions4: u32,
    /// IPv6 sessions.
    pub sessions6: u32,
    /// NAT mappings (IPv4).
    pub mappings: u32,
    /// Outside addresses of all pools together.
    pub pool_addresses: u32,
    /// Inside hosts that are counted for quotas.
    pub hosts: u32,
    /// Tunnels.
    pub tunnels: u32,
    /// Security associations, both directions.
    pub sas: u32,
}

/// Words that [`Limits`] take in the header.
pub(super) const LIMIT_WORDS: usize = 9;

impl Limits {
    /// As stored in the header.
    pub(super) fn to_words(self) -> [u64; LIMIT_WORDS] {
        let Limits {
            workers,
            ports,
            sessions4,
            sessions6,
            mappings,
            pool_addresses,
            hosts,
            tunnels,
            sas,
        } = self;
        [
            workers,
            ports,
            sessions4,
            sessions6,
            mappings,
            pool_addresses,
            hosts,
            tunnels,
            sas,
        ]
        .map(u64::from)
    }

    /// The inverse; `None` if a word does not fit.
    pub(super) fn from_words(words: [u64; LIMIT_WORDS]) -> Option<Limits> {
        let mut narrow = [0u32; LIMIT_WORDS];
        for (to, from) in narrow.iter_mut().zip(words) {
            *to = u32::try_from(from).ok()?;
        }
        let [
            workers,
            ports,
            sessions4,
            sessions6,
            mappings,
            pool_addresses,
            hosts,
            tunnels,
            sas,
        ] = narrow;
        Some(Limits {
            workers,
            ports,
            sessions4,
            sessions6,
            mappings,
            pool_addresses,
            hosts,
            tunnels,
            sas,
        })
    }
}
