//! Reads a protobuf message that is one list, element by element, as it comes: of a list of any length, only
//! one element is in memory.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>.

/// LiveKit's limits are 512 KiB of metadata and 64 KiB of attributes; an element with more than this is left out.
const ELEMENT_BYTES_MAX: usize = 1 << 20;
/// Of an element that is left out, this much is looked at for its name.
const HEAD_BYTES: usize = 4 << 10;
/// The list's field, in all of LiveKit's lists.
const LIST: u64 = 1;
const VARINT_BYTES_MAX: usize = 10;

/// An element that is too large to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversized {
    /// Its first two texts: of a room its SID and its name, of a participant its SID and its identity; empty
    /// where they do not stand at its start.
    pub sid: String,
    /// See `sid`.
    pub name: String,
    /// Its size.
    pub bytes: usize,
}

/// Bytes that have come and are not read yet.
#[derive(Debug, Default)]
pub(super) struct Elements {
    buffer: Vec<u8>,
    /// How much of the buffer is read.
    read: usize,
    /// How many of the bytes that come are left out.
    skip: usize,
    oversized: Vec<Oversized>,
}

/// One field of a message, as far as it has come.
enum Field {
    /// A text, bytes or a message of `bytes`, whose content begins at `at`.
    Delimited {
        number: u64,
        at: usize,
        bytes: usize,
    },
    /// Anything else, which ends at `end`.
    Scalar { end: usize },
}

impl Elements {
    /// Adds what has come.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        let skipped = self.skip.min(chunk.len());
        self.skip -= skipped;
        self.buffer
            .extend_from_slice(chunk.get(skipped..).unwrap_or_default());
    }

    /// The next element that has come whole; none: more is to come, or it is the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, &'static str> {
        loop {
            let Some(field) = field(&self.buffer, self.read)? else {
                return Ok(None);
            };
            match field {
                Field::Scalar { end } if end <= self.buffer.len() => self.read = end,
                Field::Scalar { .. } => return Ok(None),
                Field::Delimited { number, at, bytes }
                    if number == LIST && bytes <= ELEMENT_BYTES_MAX =>
                {
                    let end = at.saturating_add(bytes);
                    if end > self.buffer.len() {
                        return Ok(None);
                    }
                    self.read = end;
                    return Ok(self.buffer.get(at..end));
                }
                Field::Delimited { number, at, bytes } => {
                    if number == LIST {
                        let head = at.saturating_add(HEAD_BYTES);
                        let Some(head) = self.buffer.get(at..head) else {
                            return Ok(None);
                        };
                        self.oversized.push(oversized(head, bytes));
                    }
                    let come = self.buffer.len() - at;
                    self.skip = bytes.saturating_sub(come);
                    self.read = at + bytes.min(come);
                }
            }
        }
    }

    /// What was left out of a list that has come whole.
    pub(super) fn end(self) -> Result<Vec<Oversized>, &'static str> {
        if self.skip > 0 || self.read < self.buffer.len() {
            return Err("it ends in the middle");
        }
        Ok(self.oversized)
    }
}

fn field(bytes: &[u8], at: usize) -> Result<Option<Field>, &'static str> {
    let Some((tag, at)) = varint(bytes, at)? else {
        return Ok(None);
    };
    let number = tag >> 3;
    Ok(match tag & 7 {
        0 => varint(bytes, at)?.map(|(_, end)| Field::Scalar { end }),
        1 => Some(Field::Scalar { end: at + 8 }),
        2 => match varint(bytes, at)? {
            Some((bytes, at)) => Some(Field::Delimited {
                number,
                at,
                bytes: usize::try_from(bytes).map_err(|_| "an element has no end")?,
            }),
            None => None,
        },
        5 => Some(Field::Scalar { end: at + 4 }),
        _ => return Err("it is no protobuf message"),
    })
}

/// The number that begins at `at`, and where it ends; none where it has not come whole.
fn varint(bytes: &[u8], at: usize) -> Result<Option<(u64, usize)>, &'static str> {
    let mut number = 0_u64;
    let rest = bytes.get(at..).unwrap_or_default();
    for (place, byte) in rest.iter().take(VARINT_BYTES_MAX).enumerate() {
        number |= u64::from(byte & 0x7f)
            .checked_shl(u32::try_from(place * 7).unwrap_or(u32::MAX))
            .unwrap_or_default();
        if byte & 0x80 == 0 {
            return Ok(Some((number, at + place + 1)));
        }
    }
    if rest.len() >= VARINT_BYTES_MAX {
        return Err("a number has no end");
    }
    Ok(None)
}

fn oversized(head: &[u8], bytes: usize) -> Oversized {
    let mut texts = [String::new(), String::new()];
    let mut at = 0;
    for (text, wanted) in texts.iter_mut().zip(1..) {
        let Ok(Some(Field::Delimited {
            number,
            at: from,
            bytes,
        })) = field(head, at)
        else {
            break;
        };
        let Some(content) = head.get(from..from.saturating_add(bytes)) else {
            break;
        };
        if number != wanted {
            break;
        }
        *text = String::from_utf8_lossy(content).into_owned();
        at = from + bytes;
    }
    let [sid, name] = texts;
    Oversized { sid, name, bytes }
}

#[cfg(test)]
mod tests {
    use livekit_protocol::{ListRoomsResponse, Room};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn room(name: &str, metadata: usize) -> Room {
        Room {
            sid: format!("RM_{name}"),
            name: name.to_owned(),
            metadata: "x".repeat(metadata),
            ..Room::default()
        }
    }

    /// What is read of `bytes` that come in pieces of these sizes, over and over.
    fn read(bytes: &[u8], sizes: &[usize]) -> Result<(Vec<Room>, Vec<Oversized>), &'static str> {
        let mut elements = Elements::default();
        let (mut rooms, mut rest) = (Vec::new(), bytes);
        for size in sizes.iter().cycle() {
            let (piece, left) = rest.split_at((*size).min(rest.len()));
            elements.push(piece);
            while let Some(element) = elements.next()? {
                rooms.push(Room::decode(element).unwrap());
            }
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        Ok((rooms, elements.end()?))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_list_is_read_the_same_in_whatever_pieces_it_comes(
            metadata in prop::collection::vec(prop_oneof![0_usize..300, Just(ELEMENT_BYTES_MAX + 1)], 0..8),
            sizes in prop::collection::vec(1_usize..70_000, 1..4),
            cut in 1_usize..9,
        ) {
            let all: Vec<_> = (0_usize..).zip(&metadata).map(|(n, bytes)| room(&n.to_string(), *bytes)).collect();
            let bytes = ListRoomsResponse { rooms: all.clone() }.encode_to_vec();
            let (rooms, left_out) = read(&bytes, &sizes).unwrap();
            let (fit, large): (Vec<_>, Vec<_>) = all.into_iter().partition(|room| room.encoded_len() <= ELEMENT_BYTES_MAX);
            prop_assert_eq!(rooms, fit);
            let large: Vec<_> = large
                .into_iter()
                .map(|room| Oversized { bytes: room.encoded_len(), sid: room.sid, name: room.name })
                .collect();
            prop_assert_eq!(left_out, large);
            if bytes.len() > cut {
                prop_assert!(read(&bytes[..bytes.len() - cut], &sizes).is_err());
            }
        }
    }

    #[test]
    fn fields_of_a_newer_livekit_pass_and_what_is_no_message_does_not() {
        let mut bytes = vec![0x10, 0x96, 0x01]; // 2: varint
        bytes.extend([0x19, 0, 0, 0, 0, 0, 0, 0, 0]); // 3: fixed64
        bytes.extend([0x22, 2, b'h', b'i']); // 4: text
        bytes.extend([0x2d, 0, 0, 0, 0]); // 5: fixed32
        let list = ListRoomsResponse {
            rooms: vec![room("a", 1)],
        };
        bytes.extend(list.encode_to_vec());
        for size in [1, 1000] {
            let (rooms, left_out) = read(&bytes, &[size]).unwrap();
            assert_eq!((rooms, left_out), (list.rooms.clone(), Vec::new()));
        }
        for (wrong, want) in [
            (vec![0x0b], "it is no protobuf message"),
            (vec![0xff; 11], "a number has no end"),
            (b"<html>".to_vec(), "it is no protobuf message"),
        ] {
            assert_eq!(read(&wrong, &[1000]), Err(want));
        }
    }
}
