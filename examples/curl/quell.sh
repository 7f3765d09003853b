# A client of quell's API with curl (7.84 or newer) and jq, sourced by the scripts beside it.
# shellcheck shell=bash disable=SC2034 # what an answer is left in is read by those scripts
set -euo pipefail

: "${QUELL_URL:?set it to where quell is, such as http://localhost:8080}"
: "${QUELL_TOKEN:?set it to an API secret or a JWT}"

# As a file, since everybody on the machine can read the arguments of a program.
authorization() { printf 'Authorization: Bearer %s\n' "$QUELL_TOKEN"; }

# call METHOD PATH [CURL-ARGUMENT...]: leaves the answer in $status, $etag and $body; fails unless it is a success.
# 429 and 503 are tried again: to mute twice does no harm, and If-Match keeps a change from being made twice.
call() {
    local method=$1 path=$2 attempt output retry_after
    shift 2
    for attempt in 1 2 3 4 5; do
        output=$(curl -sS --max-time 45 -X "$method" -H @<(authorization) \
            -w '\n%{http_code}|%header{etag}|%header{retry-after}' "$@" "$QUELL_URL$path") || return
        body=${output%$'\n'*}
        IFS='|' read -r status etag retry_after <<<"${output##*$'\n'}"
        case $status in
            2*) return ;;
            429 | 503) [ "$attempt" = 5 ] || wait_for "$(problem)" "$retry_after" ;;
            *) break ;;
        esac
    done
    problem >&2
    return 1
}

# pages PATH KEY [NAME=VALUE...]: prints the items of all pages of a list, one a line.
pages() {
    local path=$1 key=$2 cursor='' condition
    local query=()
    for condition in "${@:3}"; do
        query+=(--data-urlencode "$condition")
    done
    while true; do
        call GET "$path" -G "${query[@]}" ${cursor:+--data-urlencode "cursor=$cursor"}
        jq -c --arg key "$key" '.[$key][]' <<<"$body"
        cursor=$(jq -r '.next_cursor // empty' <<<"$body")
        [ -n "$cursor" ] || return 0
    done
}

# problem: prints what $status and $body say. A proxy before quell may answer something else than JSON.
problem() {
    printf '%s %s\n' "$status" "$(jq -r '"\(.code): \(.error)"' <<<"$body" 2>/dev/null || head -c 200 <<<"$body")"
}

# wait_for WHY SECONDS: a proxy may say a date, or nothing.
wait_for() {
    local seconds=1
    [[ ! $2 =~ ^[0-9]+$ ]] || seconds=$2
    echo "$1; again in $seconds s" >&2
    sleep "$seconds"
}

# encode NAME: a name of a room or of a participant as a part of a path.
encode() { jq -rn --arg name "$1" '$name | @uri'; }

# actions: prints a line for each action of the audit that it reads.
actions() {
    jq --unbuffered -r '[.started_at, .action_id, .action, .outcome, .room_name, .identity, .track_sid,
        .on_behalf_of // .actor // .policy_name // .origin] | map(. // "-") | join(" ")'
}
