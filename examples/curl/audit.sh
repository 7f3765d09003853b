#!/usr/bin/env bash
# Actions of the audit, the newest first.
#
#   audit.sh [CONDITION=VALUE...]    such as: audit.sh room_name=webinar-1 since=1d
# shellcheck source=examples/curl/quell.sh
source "$(dirname "$0")/quell.sh"

pages /v1/audit actions "$@" | actions
