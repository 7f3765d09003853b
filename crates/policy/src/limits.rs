//! What documents may hold at most.

/// The most bytes of a file or of a request.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The most policies that are loaded at once.
pub const POLICIES_MAX: usize = 10_000;
/// The largest priority; the smallest is 0.
pub const PRIORITY_MAX: u16 = 9_999;
/// The priority of a policy that names none.
pub const PRIORITY_DEFAULT: u16 = 100;

/// The most bytes of texts that one owner's policies read for one track, where LiveKit's largest texts are read.
pub const TEXT_WORK_BYTES_MAX: u64 = 8 << 20;
/// The most bytes of a track's name that are a fact: LiveKit has no limit for it, and the client chooses it.
pub const TRACK_NAME_BYTES_MAX: usize = 4 << 10;

/// The most entries of a list, or of a map of attributes.
pub(super) const LIST_ITEMS_MAX: usize = 100;
/// The most characters of text of any number of lines.
pub(super) const PROSE_CHARS_MAX: usize = 2_000;
/// The most characters of a policy's name.
pub(super) const NAME_CHARS_MAX: usize = 128;
/// The most characters of an attribute's name, and of its value.
pub(super) const ATTRIBUTE_CHARS_MAX: usize = 1_000;
/// The most characters of a cron line: all minutes, one by one, and some more.
pub(super) const CRON_CHARS_MAX: usize = 256;
