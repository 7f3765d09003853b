//! What an owner's policies read of texts for one track at most: counted when policies are written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::limits::{TEXT_WORK_BYTES_MAX, TRACK_NAME_BYTES_MAX};

/// A fact that holds texts, with the most bytes that LiveKit lets all of them have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextFact {
    /// All attributes of a participant.
    Attributes,
    /// A participant's metadata.
    ParticipantMetadata,
    /// A room's metadata.
    RoomMetadata,
    /// A track's name.
    TrackName,
    /// Names, identities and SIDs.
    Names,
}

impl TextFact {
    const ALL: [Self; 5] = [
        Self::Attributes,
        Self::ParticipantMetadata,
        Self::RoomMetadata,
        Self::TrackName,
        Self::Names,
    ];

    /// The fact of this field.
    pub(crate) fn of_field(name: &str) -> Self {
        let of_name = |fact: &Self| fact.as_str() == name;
        Self::ALL.into_iter().find(of_name).unwrap_or(Self::Names)
    }

    /// The field's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attributes => "participant.attributes",
            Self::ParticipantMetadata => "participant.metadata",
            Self::RoomMetadata => "room.metadata",
            Self::TrackName => "track.name",
            Self::Names => "names",
        }
    }

    /// The most bytes of all of its texts together.
    #[must_use]
    pub fn bytes_max(self) -> u64 {
        match self {
            Self::Attributes => 64 << 10,
            Self::ParticipantMetadata | Self::RoomMetadata => 512 << 10,
            Self::TrackName => u64::try_from(TRACK_NAME_BYTES_MAX).unwrap_or(u64::MAX),
            Self::Names => 4 << 10,
        }
    }
}

/// Something that policies read of texts, once in a decision however many of them do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextRead {
    /// Looks in a fact for all needles of this length.
    Needles {
        /// The fact.
        of: TextFact,
        /// The length.
        bytes: u16,
    },
    /// Counts the characters of a fact's texts.
    Size {
        /// The fact.
        of: TextFact,
    },
    /// Compares two texts that are no literals.
    Pair {
        /// The one that is read whole.
        of: TextFact,
        /// The test, as an expression writes it.
        test: Box<str>,
    },
}

impl TextRead {
    fn of(&self) -> TextFact {
        match self {
            Self::Needles { of, .. } | Self::Size { of } | Self::Pair { of, .. } => *of,
        }
    }
}

/// As it is stored.
impl fmt::Display for TextRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.of().as_str();
        match self {
            Self::Needles { bytes, .. } => write!(f, "contains {of} {bytes}"),
            Self::Size { .. } => write!(f, "size {of}"),
            Self::Pair { test, .. } => write!(f, "pair {of} {test}"),
        }
    }
}

/// It was written by a version that reads something else of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this version does not read texts in this way")]
pub struct UnknownRead;

impl FromStr for TextRead {
    type Err = UnknownRead;

    fn from_str(stored: &str) -> Result<Self, UnknownRead> {
        let mut words = stored.splitn(3, ' ');
        let mut next = || words.next();
        let (kind, of) = (next(), next().unwrap_or_default());
        let of = TextFact::ALL.into_iter().find(|fact| fact.as_str() == of);
        let of = of.ok_or(UnknownRead)?;
        match (kind, next()) {
            (Some("contains"), Some(bytes)) => {
                let bytes = bytes.parse().map_err(|_| UnknownRead)?;
                Ok(Self::Needles { of, bytes })
            }
            (Some("size"), None) => Ok(Self::Size { of }),
            (Some("pair"), Some(test)) => {
                let test = test.into();
                Ok(Self::Pair { of, test })
            }
            _ => Err(UnknownRead),
        }
    }
}

/// What some policies read of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextWork(BTreeSet<TextRead>);

impl TextWork {
    /// The most bytes that a decision reads by them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|read| read.of().bytes_max()).sum()
    }

    /// Why one owner may not have policies that read all of this; none where it may.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let bytes = self.bytes();
        (bytes > TEXT_WORK_BYTES_MAX).then(|| {
            format!(
                "with this, the policies of this owner read up to {} of texts for one track, and the limit is {}: {}. \
                 Use fewer lengths of text in `contains` (all texts of one length count once for each fact), or \
                 `==`, `in`, `startsWith`, `endsWith` and `match.attributes` with plain values, which are not counted",
                mebibytes(bytes),
                mebibytes(TEXT_WORK_BYTES_MAX),
                self.in_words(),
            )
        })
    }

    /// The largest parts, the largest first.
    fn in_words(&self) -> String {
        let mut parts: BTreeMap<(TextFact, u8), u64> = BTreeMap::new();
        for read in &self.0 {
            let kind = match read {
                TextRead::Needles { .. } => 0,
                TextRead::Size { .. } => 1,
                TextRead::Pair { .. } => 2,
            };
            *parts.entry((read.of(), kind)).or_default() += 1;
        }
        let mut parts: Vec<_> = parts
            .into_iter()
            .map(|((of, kind), count)| (count * of.bytes_max(), of, kind, count))
            .collect();
        parts.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
        let texts: Vec<_> = parts
            .into_iter()
            .map(|(bytes, of, kind, count)| {
                let (of, bytes) = (of.as_str(), mebibytes(bytes));
                match kind {
                    0 => format!(
                        "{bytes} by `contains` in {of} with texts of {count} different lengths"
                    ),
                    1 => format!("{bytes} by size() of {of}"),
                    _ => format!("{bytes} by {count} comparisons of {of} with other fields"),
                }
            })
            .collect();
        texts.join("; ")
    }

    /// As it is stored.
    pub fn to_stored(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    /// What is stored. What only newer versions read is left out.
    pub fn from_stored<'s>(stored: impl IntoIterator<Item = &'s str>) -> Self {
        stored
            .into_iter()
            .filter_map(|read| read.parse().ok())
            .collect()
    }

    /// Whether something of it is not in `other`.
    #[must_use]
    pub fn has_more_than(&self, other: &Self) -> bool {
        !self.0.is_subset(&other.0)
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<TextRead> for TextWork {
    fn from_iter<I: IntoIterator<Item = TextRead>>(reads: I) -> Self {
        Self(reads.into_iter().collect())
    }
}

impl Extend<TextRead> for TextWork {
    fn extend<I: IntoIterator<Item = TextRead>>(&mut self, reads: I) {
        self.0.extend(reads);
    }
}

impl IntoIterator for TextWork {
    type Item = TextRead;
    type IntoIter = std::collections::btree_set::IntoIter<TextRead>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Rounded up to a tenth.
fn mebibytes(bytes: u64) -> String {
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
