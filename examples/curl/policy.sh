#!/usr/bin/env bash
# The life of a policy: created in dry run, changed by two people at once, deleted.
#
#   policy.sh NAME
# shellcheck source=examples/curl/quell.sh
source "$(dirname "$0")/quell.sh"
name=${1:?a name}

# change JQ-EDIT [ETAG POLICY]: edits the policy as it is now, or as it was read earlier.
change() {
    local edit=$1 seen=${2:-} policy=${3:-} attempt
    for attempt in 1 2 3 4 5; do
        if [ -z "$seen" ]; then
            call GET "/v1/policies/$name"
            seen=$etag policy=$(jq -c .policy <<<"$body")
        fi
        if call PUT "/v1/policies/$name" -H "If-Match: $seen" --json "$(jq -c "$edit" <<<"$policy")"; then
            jq -r '"changed \(.name): revision \(.revision)"' <<<"$body"
            return
        fi
        [ "$status" = 412 ] || exit 1
        # Somebody else changed it meanwhile: the edit is made to what is there now, so that theirs stays.
        seen=
    done
    exit 1
}

call POST /v1/policies --json "$(jq -n --arg name "$name" '{name: $name, description: "Only hosts may speak in webinars",
    match: {room: "webinar-*", type: "AUDIO"}, unless: {identity: "host-*"}, effect: "mute", mode: "dry_run"}')"
jq -r '"created \(.name): revision \(.revision)"' <<<"$body"

call GET "/v1/policies/$name"
seen=$etag policy=$(jq -c .policy <<<"$body")
change '.priority = 200' # a colleague is faster
change '.mode = "enforce"' "$seen" "$policy"

call GET "/v1/policies/$name"
call DELETE "/v1/policies/$name" -H "If-Match: $etag"
echo "deleted $name"
