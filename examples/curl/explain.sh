#!/usr/bin/env bash
# Why a participant's tracks are muted, or are not.
#
#   explain.sh ROOM IDENTITY
# shellcheck source=examples/curl/quell.sh
source "$(dirname "$0")/quell.sh"
room=${1:?a room} identity=${2:?the identity of a participant}

call POST /v1/explain --json "$(jq -n --arg room "$room" --arg identity "$identity" '{room: $room, identity: $identity}')"
jq -r '.tracks[] | "\(.facts.track.source) \(.facts.track.sid): \(.summary)",
    (.candidates[] | "  \(.policy.name): \(.outcome)"
        + if .failed then "; \(.failed.clause): expected \(.failed.expected), actual \(.failed.actual)" else "" end)' <<<"$body"
