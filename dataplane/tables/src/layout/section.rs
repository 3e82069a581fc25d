//! The sections of a generation.

/// Names a section; the value is its place in the generation's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum SectionId {
    /// `[PortRecord]`
    Ports,
    /// `[OwnAddressRecord]`
    OwnAddresses,
    /// `[SegmentRecord]`
    Segments,
    /// Longest-prefix-match nodes for IPv4, all segments (format: `build::routes`).
    Routes4,
    /// The same for IPv6.
    Routes6,
    /// `[NeighbourRecord]`, indices stable.
    Neighbours,
    /// Open-addressing index from (port, address) to neighbour (format: `build::neighbours`).
    NeighbourIndex,
    /// `[PolicyRuleRecord]` in the operator's order.
    PolicyRules,
    /// Compiled policy: from (from, to) segment to its rules (format: `build::policy`).
    PolicyIndex,
    /// `[NatRuleRecord]` in the operator's order.
    NatRules,
    /// `[PoolRecord]`
    Pools,
    /// `[TunnelRecord]`, indices stable.
    Tunnels,
    /// `[BundleRecord]`
    Bundles,
    /// `[SaRecord]`, indices stable.
    Sas,
    /// `[SelectorRecord]` that `SaRecord`s refer to.
    Selectors,
    /// Open-addressing index from (SPI, local address) to inbound SA (format: `build::tunnels`).
    SpiIndex,
    /// UTF-8 names, for people: JSON written by the planner, never read by a worker.
    Names,
    /// What to capture: one `u64`, a bit per port; zero when nobody captures.
    Capture,
}

/// How many sections a generation has.
pub const SECTION_COUNT: usize = 18;

impl SectionId {
    /// All sections, in directory order.
    pub const ALL: [SectionId; SECTION_COUNT] = [
        SectionId::Ports,
        SectionId::OwnAddresses,
        SectionId::Segments,
        SectionId::Routes4,
        SectionId::Routes6,
        SectionId::Neighbours,
        SectionId::NeighbourIndex,
        SectionId::PolicyRules,
        SectionId::PolicyIndex,
        SectionId::NatRules,
        SectionId::Pools,
        SectionId::Tunnels,
        SectionId::Bundles,
        SectionId::Sas,
        SectionId::Selectors,
        SectionId::SpiIndex,
        SectionId::Names,
        SectionId::Capture,
    ];
}
