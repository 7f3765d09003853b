//! How much a decision may do.

use crate::limits::TEXT_WORK_BYTES_MAX;
use crate::text::{TextLimit, TextReader};
use crate::tri::Tri;

/// What one owner's policies may read of texts in a decision. Those that were refused when written cannot come to so
/// much, unless texts are longer than LiveKit lets them be.
pub(super) const TEXT_BYTES_MAX: u64 = 2 * TEXT_WORK_BYTES_MAX;

/// How much may still be done for a decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How many policies may be asked.
    pub(super) policies: usize,
    /// What may be read of texts; what is beyond that ends the decision.
    text_bytes: u64,
    /// What all tenants' policies may read together where the room's tenant is unknown. What is beyond that is
    /// unknown as well, which it is mostly in any case.
    unseen_text_bytes: u64,
}

impl Effort {
    /// All that an owner's policies may do.
    pub(crate) const UNLIMITED: Self = Self {
        policies: usize::MAX,
        text_bytes: u64::MAX,
        unseen_text_bytes: TEXT_BYTES_MAX,
    };

    /// What takes about a millisecond.
    pub(crate) const INLINE: Self = Self {
        policies: 512,
        text_bytes: 256 << 10,
        unseen_text_bytes: TEXT_BYTES_MAX,
    };

    /// What an owner's policies may read, of which it is known whether they see the room.
    pub(super) fn text_limit(&self, seen: Tri) -> TextLimit {
        TextLimit::Bytes(match seen {
            Tri::True => self.text_bytes.min(TEXT_BYTES_MAX),
            Tri::Unknown | Tri::False => self.text_bytes.min(self.unseen_text_bytes),
        })
    }

    /// Takes off what was read; none where that is more than there was.
    pub(super) fn pay(&mut self, seen: Tri, texts: &TextReader<'_>) -> Option<()> {
        let is_ended =
            texts.is_exceeded() && self.text_limit(seen) == TextLimit::Bytes(self.text_bytes);
        if is_ended {
            return None;
        }
        let read = texts.read_bytes();
        if self.text_bytes != u64::MAX {
            self.text_bytes = self.text_bytes.saturating_sub(read);
        }
        if seen != Tri::True {
            self.unseen_text_bytes = self.unseen_text_bytes.saturating_sub(read);
        }
        Some(())
    }
}
