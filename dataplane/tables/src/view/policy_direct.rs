//! The row of a value through a direct table: loads only, no search. The format is in [`build::policy_format`](crate::build).

use super::policy_rows::RowsOfFlow;
use super::query::PolicyQuery;
use crate::build::policy_format::{BLOCK, Chunk, DIRECT, Field};
use core::hint::select_unpredictable;

pub(super) type Block = [u16; 256];

/// The row for a value of a field of so many bits.
pub(super) fn row<const BITS: u32>(direct: &[u16], first: u32, value: u32) -> Option<u32> {
    let field = Field { first, count: DIRECT };
    match BITS {
        32 => OfAddress::of(direct, field)?.row(value),
        16 => OfPort::of(direct, field)?.row(value as u16),
        _ => {
            let classes = direct.get(first as usize..)?.first_chunk::<256>()?;
            Some(classes[value as u8 as usize].into())
        }
    }
}

/// The classes of all protocols.
pub(super) fn of_protocols(direct: &[u16], field: Field) -> Option<&Block> {
    let classes = (field.count == DIRECT).then(|| direct.get(field.first as usize..))??;
    classes.first_chunk()
}

/// The direct tables of a chunk of IPv4 rules that has them for all fields.
pub(super) struct DirectFields<'g> {
    source: OfAddress<'g>,
    destination: OfAddress<'g>,
    protocol: &'g Block,
    source_port: OfPort<'g>,
    destination_port: OfPort<'g>,
    no_source_port: u32,
    no_destination_port: u32,
}

impl<'g> DirectFields<'g> {
    pub(super) fn of(direct: &'g [u16], chunk: &Chunk) -> Option<Self> {
        (chunk.protocol.count == DIRECT).then_some(())?;
        Some(DirectFields {
            source: OfAddress::of(direct, chunk.source)?,
            destination: OfAddress::of(direct, chunk.destination)?,
            protocol: direct.get(chunk.protocol.first as usize..)?.first_chunk()?,
            source_port: OfPort::of(direct, chunk.source_port)?,
            destination_port: OfPort::of(direct, chunk.destination_port)?,
            no_source_port: chunk.no_source_port,
            no_destination_port: chunk.no_destination_port,
        })
    }

    /// The flow's five rows, counted within the chunk.
    #[inline(always)]
    pub(super) fn rows(
        &self,
        contexts: &[u16],
        query: &PolicyQuery,
        source: u32,
        destination: u32,
    ) -> Option<RowsOfFlow> {
        let class = self.protocol[usize::from(query.protocol)];
        Some([
            self.source.row(source)?,
            self.destination.row(destination)?,
            u32::from(*contexts.get(usize::from(class))?),
            match query.source_port() {
                Some(port) => self.source_port.row(port)?,
                None => self.no_source_port,
            },
            match query.destination_port() {
                Some(port) => self.destination_port.row(port)?,
                None => self.no_destination_port,
            },
        ])
    }
}

pub(super) struct OfAddress<'g> {
    table: &'g [u16; 1 << 16],
    blocks: &'g [Block],
}

impl<'g> OfAddress<'g> {
    pub(super) fn of(direct: &'g [u16], field: Field) -> Option<Self> {
        let from = (field.count == DIRECT).then(|| direct.get(field.first as usize..))??;
        let (table, blocks) = from.split_first_chunk()?;
        let blocks = blocks.as_chunks().0;
        Some(OfAddress { table, blocks })
    }

    /// Whether there is a third step cannot be foretold: it is always taken, and without effect where the row was known.
    #[inline(always)]
    pub(super) fn row(&self, value: u32) -> Option<u32> {
        let block = self.blocks.get(usize::from(self.table[(value >> 16) as usize]))?;
        let entry = block[(value >> 8) as usize % 256];
        let deeper = entry & BLOCK != 0;
        // Left to itself the compiler makes a branch of it.
        let block = self
            .blocks
            .get(select_unpredictable(deeper, usize::from(entry & !BLOCK), 0))?;
        Some(u32::from(select_unpredictable(
            deeper,
            block[value as usize % 256],
            entry,
        )))
    }
}

struct OfPort<'g> {
    table: &'g Block,
    blocks: &'g [Block],
}

impl<'g> OfPort<'g> {
    fn of(direct: &'g [u16], field: Field) -> Option<Self> {
        let from = (field.count == DIRECT).then(|| direct.get(field.first as usize..))??;
        let (table, blocks) = from.split_first_chunk()?;
        let blocks = blocks.as_chunks().0;
        Some(OfPort { table, blocks })
    }

    #[inline(always)]
    fn row(&self, value: u16) -> Option<u32> {
        let block = self.blocks.get(usize::from(self.table[usize::from(value >> 8)]))?;
        Some(u32::from(block[usize::from(value) % 256]))
    }
}
