//! Fragments of one message, until it is whole (RFC 7383 §2.6).

use crate::secret::Secret;
use crate::wire::MESSAGE_BYTES_MAX;
use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most fragments of a message.
pub const FRAGMENTS_MAX: u16 = 64;

/// The unfinished messages of one peer: one of its requests and one of its responses, which may come at the same time. Only what was
/// verified gets in.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassembly {
    request: Unfinished,
    response: Unfinished,
}

/// The fragments of one message. Another message throws them away: with a window of one, their time is over.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Unfinished {
    message_id: u32,
    /// Of this many.
    total: u16,
    /// Kind of the first payload, from the first fragment.
    first: u8,
    pieces: BTreeMap<u16, Secret>,
}

/// Which fragment it is.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) message_id: u32,
    pub(super) response: bool,
    pub(super) number: u16,
    pub(super) total: u16,
}

impl Piece {
    /// More fragments than anybody needs.
    pub(super) fn exceeds(&self) -> bool {
        self.total > FRAGMENTS_MAX
    }
}

/// All fragments, joined.
pub(super) struct Whole {
    pub(super) first: u8,
    pub(super) plain: Vec<u8>,
}

/// Together they pass 64 KiB.
#[derive(Debug)]
pub(super) struct TooLong;

impl Reassembly {
    /// Whether it is new: not there yet, and not of a coarser cut than what is there (RFC 7383 §2.6).
    pub(super) fn wants(&self, piece: Piece) -> bool {
        let unfinished = if piece.response { &self.response } else { &self.request };
        unfinished.wants(piece)
    }

    /// Keeps a wanted and verified fragment.
    pub(super) fn add(&mut self, piece: Piece, first: u8, plain: Vec<u8>) -> Result<Option<Whole>, TooLong> {
        let unfinished = if piece.response {
            &mut self.response
        } else {
            &mut self.request
        };
        unfinished.add(piece, first, plain)
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.request.bytes() + self.response.bytes()
    }
}

impl Unfinished {
    fn wants(&self, piece: Piece) -> bool {
        let other = self.pieces.is_empty() || piece.message_id != self.message_id || piece.total > self.total;
        other || (piece.total == self.total && !self.pieces.contains_key(&piece.number))
    }

    /// A larger total is a new try of the sender with smaller fragments: the old ones are of no use.
    fn add(&mut self, piece: Piece, first: u8, plain: Vec<u8>) -> Result<Option<Whole>, TooLong> {
        if piece.message_id != self.message_id || piece.total != self.total {
            *self = Unfinished {
                message_id: piece.message_id,
                total: piece.total,
                ..Unfinished::default()
            };
        }
        if piece.number == 1 {
            self.first = first;
        }
        self.pieces.insert(piece.number, Secret::new(plain));
        if self.bytes() > MESSAGE_BYTES_MAX {
            *self = Unfinished::default();
            return Err(TooLong);
        }
        Ok((self.pieces.len() == usize::from(self.total)).then(|| self.take()))
    }

    fn bytes(&self) -> usize {
        self.pieces.values().map(Secret::len).sum()
    }

    fn take(&mut self) -> Whole {
        let Unfinished { first, pieces, .. } = core::mem::take(self);
        let mut plain = Vec::with_capacity(pieces.values().map(Secret::len).sum());
        pieces
            .values()
            .for_each(|piece| plain.extend_from_slice(piece.expose()));
        Whole { first, plain }
    }
}

impl fmt::Debug for Reassembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (request, response) = (&self.request, &self.response);
        let (some, total) = (request.pieces.len(), request.total);
        write!(
            f,
            "Reassembly(request {some}/{total}, response {}/{})",
            response.pieces.len(),
            response.total
        )
    }
}
