//! Reads LiveKit's answers as they come, in bounded memory: of a list of any length only one element is kept, and
//! what clients say of their own tracks is cut. LiveKit has no limit for a track's name and some more, and a long one
//! must not keep the track, or who publishes it, from being read.

mod wire;

use std::collections::VecDeque;

use quell_policy::limits::TRACK_NAME_BYTES_MAX;

use wire::{Field, delimited, field};

/// LiveKit's limits are 512 KiB of metadata and 64 KiB of attributes, unless its settings say otherwise. A room or
/// participant with more than this is left out.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

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

    /// Goes on behind the next `bytes`, of which not all may have come.
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

/// The start of it that ends with a character.
fn whole_chars(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Ok(_) => text,
        Err(error) => text.get(..error.valid_up_to()).unwrap_or_default(),
    }
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
mod tests;
