# Where the machine's own Postgres is. The order is that of `quell` itself (src/postgres).
# shellcheck shell=bash

# Prints the folder that holds initdb and postgres, or fails.
postgres_bin() {
    local dir
    if [ -n "${QUELL_PG_BIN:-}" ]; then
        [ -x "$QUELL_PG_BIN/initdb" ] && printf '%s\n' "$QUELL_PG_BIN"
        return
    fi
    if dir=$(command -v postgres); then
        # Debian's packages, and people, put links into the PATH: initdb is beside the real one.
        dir=$(dirname "$(readlink -f "$dir")")
        if [ -x "$dir/initdb" ]; then
            printf '%s\n' "$dir"
            return
        fi
    fi
    while read -r dir; do
        if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then
            printf '%s\n' "$dir"
            return
        fi
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr)
    return 1
}
