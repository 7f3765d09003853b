#!/usr/bin/env bash
# Actions as they are committed, each once, through cuts and restarts: FILE keeps the place.
#
#   stream.sh FILE
# shellcheck source=examples/curl/quell.sh
source "$(dirname "$0")/quell.sh"
file=${1:?a file}
# Every 15 s at the latest something comes.
silence_seconds_max=45

curl=''
trap '[ -z "$curl" ] || kill "$curl" 2>/dev/null' EXIT
wait=1
while true; do
    resume=()
    [ ! -e "$file" ] || resume=(-H "Last-Event-ID: $(<"$file")")
    # What curl says at the end is set off by a CR, which is in no event: it may come in the middle of one.
    exec {events}< <(exec curl -sSN --connect-timeout 10 -H @<(authorization) "${resume[@]}" \
        -w '\r%{http_code}|%header{retry-after}\n' "$QUELL_URL/v1/audit/stream")
    curl=$!
    id='' data='' status=000 body='' retry_after=''
    while IFS= read -r -t "$silence_seconds_max" -u "$events" line; do
        case $line in
            *$'\r'*)
                body=${line%$'\r'*}
                IFS='|' read -r status retry_after <<<"${line##*$'\r'}"
                ;;
            'id: '*) id=${line#id: } ;;
            'data: '*) data=${line#data: } ;;
            '')
                # An event is whole at its empty line. The place moves on once its action is handled.
                [ -z "$data" ] || actions <<<"$data"
                if [ -n "$id" ]; then
                    printf %s "$id" >"$file.new"
                    mv "$file.new" "$file"
                fi
                id='' data='' wait=1
                ;;
        esac
    done
    exec {events}<&-
    kill "$curl" 2>/dev/null || true
    curl=''
    case $status in
        429 | 503) wait_for "$(problem)" "$retry_after" ;;
        4*) problem >&2 && exit 1 ;;
        *)
            wait_for "the stream ended ($status)" "$wait"
            wait=$((wait < 30 ? wait * 2 : 30))
            ;;
    esac
done
