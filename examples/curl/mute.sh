#!/usr/bin/env bash
# Who is there, and a mute by track and by source.
#
#   mute.sh ROOM IDENTITY
# shellcheck source=examples/curl/quell.sh
source "$(dirname "$0")/quell.sh"
room=${1:?a room} identity=${2:?the identity of a participant}

pages /v1/rooms rooms | jq -r '"\(.room_name) \(.room_sid)"'

tracks=$(pages "/v1/rooms/$(encode "$room")" participants |
    jq -c '.identity as $identity | .tracks[] | {identity: $identity, source, track_sid, muted}')
jq -r '"\(.identity) \(.source) \(.track_sid) \(if .muted then "muted" else "heard" end)"' <<<"$tracks"

track=$(jq -rn --arg identity "$identity" \
    'first(inputs | select(.identity == $identity and .source == "MICROPHONE")).track_sid // empty' <<<"$tracks")
if [ -z "$track" ]; then
    echo "$identity has no microphone in $room" >&2
    exit 1
fi

# By track, for a moderator of yours: the audit names her, and why.
mute=$(jq -n --arg room "$room" --arg identity "$identity" --arg track "$track" \
    '{room_name: $room, participant_identity: $identity, track_sid: $track, muted: true}')
call POST /livekit/participant/mute -H 'X-Actor: moderator-7' -H 'X-Reason: shouts' --json "$mute"
jq -r '"muted \(.track_sid)"' <<<"$body"

# By source: all microphones. "muted": false lets speak again.
call POST "/v1/rooms/$(encode "$room")/participants/$(encode "$identity")/mute" \
    --json '{"source": "MICROPHONE", "muted": true}'
jq -r '.tracks[] | "muted \(.track_sid)"' <<<"$body"
