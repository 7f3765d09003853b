//! Fields of protobuf's wire format: <https://protobuf.dev/programming-guides/encoding/>.

const VARINT_BYTES_MAX: usize = 10;

/// One field of a message, as far as it has come.
pub(super) enum Field {
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
pub(super) fn delimited(number: u64, bytes: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(2 * VARINT_BYTES_MAX);
    for number in [number << 3 | 2, u64::try_from(bytes).unwrap_or(u64::MAX)] {
        prost::encoding::encode_varint(number, &mut head);
    }
    head
}

/// The field that begins at `at`; none where not enough of it has come.
pub(super) fn field(bytes: &[u8], at: usize) -> Result<Option<Field>, &'static str> {
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
