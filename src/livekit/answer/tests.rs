use livekit_protocol::{
    ListParticipantsResponse, ListRoomsResponse, MuteRoomTrackResponse, ParticipantInfo, Room,
    SimulcastCodecInfo, TrackInfo,
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
        codecs: vec![SimulcastCodecInfo::default(); name],
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
            (track.stream, track.codecs) = (String::new(), Vec::new());
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
