# The tools that are not crates of this project, and the one place that pins them; the clients'
# Python packages are pinned in tests/e2e/requirements.txt, TypeScript in examples/typescript/package-lock.json.
# shellcheck shell=bash disable=SC2034 # read by the scripts that source this file
livekit_version=1.13.5
sqlx_version=0.9.0
deny_version=0.20.2
deb_version=3.8.0

# Tools go to a cache, so that `cargo clean` and a second clone keep them.
tools_dir=${QUELL_TOOLS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/quell}
livekit_server=$tools_dir/bin/livekit-server-$livekit_version
promtool=$tools_dir/bin/promtool
prometheus=$tools_dir/bin/prometheus
typescript_dir=$tools_dir/typescript
