//! Reads LiveKit's answers as they come, in bounded memory: of a list of any length only one element is kept, and
//! what clients say of their own tracks is cut. LiveKit has no limit for a track's name and some more, and a long one
//! must not keep the track, or who publishes it, from being read.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>.

use std::collections::VecDeque;

use quell_policy::limits::TRACK_NAME_BYTES_MAX;

/// LiveKit's limits are 512 KiB of metadata and 64 KiB of attributes, unless its settings say otherwise. A room or
/// participant with more than this is left out.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
const VARINT_BYTES_MAX: usize = 10;

/// A kind of message: which of its fields are messages of interest, and what becomes of its other texts.
#[derive(Debug)]
pub(super) struct Shape {
    /// By their numbers.
    messages: &'static [(u64, &'static Shape)],
    /// The list's elements, which are handed out one by one.
    is_list: bool,
    /// The fields that are of use, where others are left out: what clients send can have any number of them.
    used: Option<&'static [u64]>,
    /// The most bytes of another text, where longer ones are left out; a message without this is too large then.
    text_bytes_max: Option<usize>,
    /// Texts of which the start is kept.
    cut: &'static [u64],
}

const MESSAGE: Shape = Shape {
    messages: &[],
    is_list: false,
    used: None,
    text_bytes_max: None,
    cut: &[],
};
const TRACK: Shape = Shape {
    // `sid`, `type`, `name`, `muted`, `source`, `mime_type`
    used: Some(&[1, 2, 3, 4, 9, 11]),
    text_bytes_max: Some(TRACK_NAME_BYTES_MAX),
    // `name`
    cut: &[3],
    ..MESSAGE
};
/// `ParticipantInfo`.
pub(super) const PARTICIPANT: Shape = Shape {
    // `tracks`
    messages: &[(4, &TRACK)],
    // `sid`, `identity`, `state`, `metadata`, `joined_at`, `name`, `permission`, `is_publisher`, `kind`, `attributes`,
    // `kind_details`
    used: Some(&[1, 2, 3, 4, 5, 6, 9, 11, 13, 14, 15, 18]),
    ..MESSAGE
};
/// `ListParticipantsResponse`.
pub(super) const PARTICIPANTS: Shape = Shape {
    messages: &[(1, &PARTICIPANT)],
    is_list: true,
    ..MESSAGE
};
/// `ListRoomsResponse`.
pub(super) const ROOMS: Shape = Shape {
    messages: &[(1, &MESSAGE)],
    is_list: true,
    ..MESSAGE
};
/// `MuteRoomTrackResponse`.
pub(super) const MUTED: Shape = Shape {
    messages: &[(1, &TRACK)],
    ..MESSAGE
};

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

/// A message that has begun and is not read to its end.
#[derive(Debug)]
struct Open {
    shape: &'static Shape,
    /// Its field in the message around it.
    number: u64,
    /// Where it begins and ends, in bytes of the answer.
    begin: usize,
    end: usize,
    /// What is kept of it: a message of the same kind.
    kept: Vec<u8>,
    is_oversized: bool,
}

/// An answer that is read as it comes.
#[derive(Debug)]
pub(super) struct Answer {
    /// Bytes that have come and are not read yet.
    buffer: Vec<u8>,
    /// How much of the buffer is read.
    read: usize,
    /// The same, of the whole answer.
    position: usize,
    /// How many of the bytes that come next are left out.
    skip: usize,
    /// The message that is read, in those around it.
    open: Vec<Open>,
    elements: VecDeque<Vec<u8>>,
    oversized: Vec<Oversized>,
}

impl Answer {
    pub(super) fn new(shape: &'static Shape) -> Self {
        let answer = Open {
            shape,
            number: 0,
            begin: 0,
            end: usize::MAX,
            kept: Vec::new(),
            is_oversized: false,
        };
        Self {
            buffer: Vec::new(),
            read: 0,
            position: 0,
            skip: 0,
            open: vec![answer],
            elements: VecDeque::new(),
            oversized: Vec::new(),
        }
    }

    /// Reads what has come.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), &'static str> {
        self.buffer.drain(..self.read);
        self.read = 0;
        let skipped = self.skip.min(chunk.len());
        self.skip -= skipped;
        self.buffer
            .extend_from_slice(chunk.get(skipped..).unwrap_or_default());
        while self.field()? {}
        Ok(())
    }

    /// The next element of a list that has come whole.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.elements.pop_front()
    }

    /// What is left of an answer that has come whole, and what elements were left out. Where an answer that is no list
    /// is too large, it is left out itself.
    pub(super) fn end(mut self) -> Result<(Vec<u8>, Vec<Oversized>), &'static str> {
        let answer = self.open.pop().filter(|_| self.open.is_empty());
        let Some(answer) = answer.filter(|_| self.skip == 0 && self.read == self.buffer.len())
        else {
            return Err("it ends in the middle");
        };
        if answer.is_oversized {
            self.oversized.push(oversized(&answer.kept, self.position));
        }
        Ok((answer.kept, self.oversized))
    }

    /// Reads a field, or the end of a message; false: more is to come.
    fn field(&mut self) -> Result<bool, &'static str> {
        // There is always the answer itself.
        let Some(open) = self.open.last_mut() else {
            return Ok(false);
        };
        if open.end == self.position {
            self.close();
            return Ok(true);
        }
        let Some(field) = field(&self.buffer, self.read)? else {
            return Ok(false);
        };
        let left = open.end - self.position;
        let (number, content, bytes) = match field {
            Field::Scalar { number, end } => {
                let raw = self.buffer.get(self.read..end);
                let Some(raw) = raw else { return Ok(false) };
                if raw.len() > left {
                    return Err(PAST_ITS_END);
                }
                if open.shape.uses(number) {
                    open.keep(&[raw]);
                }
                self.advance(end - self.read);
                return Ok(true);
            }
            Field::Delimited { number, at, bytes } => (number, at, bytes),
        };
        let head = content - self.read;
        if head.checked_add(bytes).is_none_or(|whole| whole > left) {
            return Err(PAST_ITS_END);
        }
        let shapes = open.shape.messages;
        if let Some((_, shape)) = shapes.iter().find(|(it, _)| *it == number) {
            self.advance(head);
            let begin = self.position;
            self.open.push(Open {
                shape,
                number,
                begin,
                end: begin + bytes,
                kept: Vec::new(),
                is_oversized: false,
            });
            return Ok(true);
        }
        let is_unused = !open.shape.uses(number);
        let kept_max = open.shape.text_bytes_max.unwrap_or(MESSAGE_BYTES_MAX);
        if bytes <= kept_max && !is_unused {
            let end = content + bytes;
            let Some(raw) = self.buffer.get(self.read..end) else {
                return Ok(false);
            };
            open.keep(&[raw]);
            self.advance(end - self.read);
            return Ok(true);
        }
        if open.shape.cut.contains(&number) {
            let Some(start) = self.buffer.get(content..content + kept_max) else {
                return Ok(false);
            };
            let start = whole_chars(start);
            open.keep(&[&delimited(number, start.len()), start]);
        } else if !is_unused && open.shape.text_bytes_max.is_none() {
            open.is_oversized = true;
        }
        self.advance(head + bytes);
        Ok(true)
    }

    /// Goes on behind so many bytes, of which not all may have come.
    fn advance(&mut self, bytes: usize) {
        let come = self.buffer.len() - self.read;
        self.position += bytes;
        self.skip += bytes.saturating_sub(come);
        self.read += bytes.min(come);
    }

    /// Ends the innermost message.
    fn close(&mut self) {
        let Some(ended) = self.open.pop() else {
            return;
        };
        let Some(around) = self.open.last_mut() else {
            return;
        };
        if !around.shape.is_list {
            around.is_oversized |= ended.is_oversized;
            around.keep(&[&delimited(ended.number, ended.kept.len()), &ended.kept]);
        } else if ended.is_oversized {
            let bytes = ended.end - ended.begin;
            self.oversized.push(oversized(&ended.kept, bytes));
        } else {
            self.elements.push_back(ended.kept);
        }
    }
}

impl Shape {
    fn uses(&self, number: u64) -> bool {
        self.used.is_none_or(|used| used.contains(&number))
    }
}

impl Open {
    fn keep(&mut self, parts: &[&[u8]]) {
        // Of a list itself, nothing is of interest.
        if self.shape.is_list || self.is_oversized {
            return;
        }
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.kept.len() + bytes > MESSAGE_BYTES_MAX {
            self.is_oversized = true;
            return;
        }
        for part in parts {
            self.kept.extend_from_slice(part);
        }
    }
}

const PAST_ITS_END: &str = "a field does not end with its message";

/// One field of a message, as far as it has come.
enum Field {
    /// A text, bytes or a message of `bytes`, whose content begins at `at`.
    Delimited {
        number: u64,
        at: usize,
        bytes: usize,
    },
    /// Anything else, which ends at `end`.
    Scalar { number: u64, end: usize },
}

/// The head of a text, or of a message.
fn delimited(number: u64, bytes: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(2 * VARINT_BYTES_MAX);
    for number in [number << 3 | 2, u64::try_from(bytes).unwrap_or(u64::MAX)] {
        prost::encoding::encode_varint(number, &mut head);
    }
    head
}

/// The start of it that ends with a character.
fn whole_chars(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Ok(_) => text,
        Err(error) => text.get(..error.valid_up_to()).unwrap_or_default(),
    }
}

fn field(bytes: &[u8], at: usize) -> Result<Option<Field>, &'static str> {
    let Some((tag, at)) = varint(bytes, at)? else {
        return Ok(None);
    };
    let number = tag >> 3;
    Ok(match tag & 7 {
        0 => varint(bytes, at)?.map(|(_, end)| Field::Scalar { number, end }),
        1 => Some(Field::Scalar {
            number,
            end: at + 8,
        }),
        2 => match varint(bytes, at)? {
            Some((bytes, at)) => Some(Field::Delimited {
                number,
                at,
                bytes: usize::try_from(bytes).map_err(|_| "an element has no end")?,
            }),
            None => None,
        },
        5 => Some(Field::Scalar {
            number,
            end: at + 4,
        }),
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
    use livekit_protocol::{
        ListParticipantsResponse, ListRoomsResponse, MuteRoomTrackResponse, ParticipantInfo, Room,
        TrackInfo, VideoLayer,
    };
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

    fn in_pieces(
        shape: &'static Shape,
        bytes: &[u8],
        sizes: &[usize],
        mut each: impl FnMut(Vec<u8>),
    ) -> Result<(Vec<u8>, Vec<Oversized>), &'static str> {
        let (mut answer, mut rest) = (Answer::new(shape), bytes);
        for size in sizes.iter().cycle() {
            let (piece, left) = rest.split_at((*size).min(rest.len()));
            answer.push(piece)?;
            while let Some(element) = answer.next() {
                each(element);
            }
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        answer.end()
    }

    /// What is read of `bytes` that come in pieces of these sizes, over and over.
    fn read(bytes: &[u8], sizes: &[usize]) -> Result<(Vec<Room>, Vec<Oversized>), &'static str> {
        let mut rooms = Vec::new();
        let (_, left_out) = in_pieces(&ROOMS, bytes, sizes, |room| {
            rooms.push(Room::decode(room.as_slice()).unwrap());
        })?;
        Ok((rooms, left_out))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_list_is_read_the_same_in_whatever_pieces_it_comes(
            metadata in prop::collection::vec(prop_oneof![0_usize..300, Just(MESSAGE_BYTES_MAX + 1)], 0..8),
            sizes in prop::collection::vec(1_usize..70_000, 1..4),
            cut in 1_usize..9,
        ) {
            let all: Vec<_> = (0_usize..).zip(&metadata).map(|(n, bytes)| room(&n.to_string(), *bytes)).collect();
            let bytes = ListRoomsResponse { rooms: all.clone() }.encode_to_vec();
            let (rooms, left_out) = read(&bytes, &sizes).unwrap();
            let (fit, large): (Vec<_>, Vec<_>) = all.into_iter().partition(|room| room.encoded_len() <= MESSAGE_BYTES_MAX);
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

    fn padded(name: usize, metadata: usize) -> ParticipantInfo {
        let track = |sid: &str, name: usize| TrackInfo {
            sid: sid.to_owned(),
            name: "é".repeat(name / 2),
            stream: "s".repeat(name),
            layers: vec![VideoLayer::default(); name],
            muted: true,
            ..TrackInfo::default()
        };
        ParticipantInfo {
            sid: "PA_1".to_owned(),
            identity: "ann".to_owned(),
            tracks: vec![track("TR_1", name), track("TR_2", 8), track("TR_3", name)],
            metadata: "m".repeat(metadata),
            is_publisher: true,
            ..ParticipantInfo::default()
        }
    }

    #[test]
    fn whoever_pads_its_tracks_is_read_all_the_same() {
        let padded_by = |name| padded(name, 512 << 10);
        let small = |name| {
            let mut small = padded_by(name);
            for track in &mut small.tracks {
                (track.stream, track.layers) = (String::new(), Vec::new());
            }
            small
        };
        let cut = small(4 << 10);
        for sizes in [&[1 << 14][..], &[1000, 1, 70_000], &[usize::MAX]] {
            let long = padded_by(3 << 20).encode_to_vec();
            let (kept, left_out) = in_pieces(&PARTICIPANT, &long, sizes, drop).unwrap();
            assert_eq!(left_out, []);
            let read = ParticipantInfo::decode(kept.as_slice()).unwrap();
            assert!(read == cut);
            let two = ListParticipantsResponse {
                participants: vec![padded_by(3 << 20), padded(0, 4 << 20), padded_by(8)],
            };
            let mut all = Vec::new();
            let (_, left_out) = in_pieces(&PARTICIPANTS, &two.encode_to_vec(), sizes, |element| {
                all.push(ParticipantInfo::decode(element.as_slice()).unwrap());
            })
            .unwrap();
            assert!(all == [cut.clone(), small(8)]);
            let left_out: Vec<_> = left_out.iter().map(|it| (&*it.sid, &*it.name)).collect();
            assert_eq!(left_out, [("PA_1", "ann")]);
            let muted = MuteRoomTrackResponse {
                track: padded_by(3 << 20).tracks.pop(),
            };
            let (kept, _) = in_pieces(&MUTED, &muted.encode_to_vec(), sizes, drop).unwrap();
            let track = MuteRoomTrackResponse::decode(kept.as_slice())
                .unwrap()
                .track;
            assert_eq!(track.as_ref(), cut.tracks.last());
        }
        let too_large = padded(0, 4 << 20).encode_to_vec();
        let (_, left_out) = in_pieces(&PARTICIPANT, &too_large, &[4096], drop).unwrap();
        assert_eq!(left_out.len(), 1);
    }
}
